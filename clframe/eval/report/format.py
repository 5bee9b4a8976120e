"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clframe.eval.statistics import Summary

DASH = "–"
_ACRONYMS = ("acc", "aaa", "bwt", "fwt", "la", "lca", "amca")
_NAMES = {
    "forgetting_first_last": "forgetting",
    "min_acc": "min-ACC",
    "wc_acc": "WC-ACC",
    **{f"{kind}_{w}": f"{kind.upper()}{w}" for kind in ("wf", "wp") for w in (10, 100)},
}
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "−": "$-$",
}


def number(value: float | None, digits: int = 3) -> str:
    """A metric's value.

    Example:
        >>> number(0.87345), number(None), number(12345.6), number(-0.0001), number(2.498e13)
        ('0.873', '–', '12,346', '0.000', '2.50e+13')
    """
    if value is None or value != value:
        return DASH
    if abs(value) >= 1e9:
        return f"{value:.2e}".replace("-", "−")
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.{digits}f}".replace("-", "−") if round(value, digits) else f"{0:.{digits}f}"


def half_width(summary: Summary) -> float | None:
    """Half the width of the interval; None where there is none."""
    if summary.n < 2 or summary.low is None or summary.high is None:
        return None
    return (summary.high - summary.low) / 2


def summary(value: Summary) -> str:
    """Mean ± half the width of the interval; a single seed shows no ±."""
    half = half_width(value)
    return number(value.mean) if half is None or value.mean is None else f"{number(value.mean)} ± {number(half)}"


def scaled(value: float | None, unit: str = "") -> str:
    """Three digits with a decimal prefix.

    Example:
        >>> scaled(1_234_567, "B"), scaled(0, "B"), scaled(12.0), scaled(2.5e12)
        ('1.23 MB', '0 B', '12', '2.50 T')
    """
    if value is None:
        return DASH
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            scale = value / size
            return f"{scale:.{2 if scale < 10 else 1 if scale < 100 else 0}f} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


def seconds(value: float | None) -> str:
    """A duration.

    Example:
        >>> seconds(0.0123), seconds(9.87), seconds(754.0), seconds(8000.0), seconds(None)
        ('0.01 s', '9.9 s', '12 min 34 s', '2 h 13 min', '–')
    """
    if value is None:
        return DASH
    if value < 100:
        return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"
    whole = round(value)
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def ratio(value: float, cheapest: float) -> str:
    """How many times the cheapest; empty where the cheapest is free.

    Example:
        >>> ratio(3.0, 2.0), ratio(2.0, 2.0), ratio(1.0, 0.0)
        ('×1.5', '×1', '')
    """
    if cheapest <= 0:
        return ""
    times = value / cheapest
    return "×1" if round(times, 2) == 1 else f"×{times:.2g}" if times < 10 else f"×{times:,.0f}"


def interval(value: Summary) -> str:
    """What the interval is.

    Example:
        >>> from clframe.eval.statistics import summarise
        >>> interval(summarise([0.1, 0.2]))
        '95 % interval (t)'
    """
    return f"{100 * value.level:.3g} % interval ({value.method})"


def metric_name(name: str) -> str:
    """The printed name of a metric.

    Example:
        >>> metric_name("min_acc"), metric_name("wf_10"), metric_name("forgetting_first_last"), metric_name("gap_depth")
        ('min-ACC', 'WF10', 'forgetting', 'gap depth')
    """
    if name in _NAMES:
        return _NAMES[name]
    words = [w.upper() if w in _ACRONYMS else w for w in name.split("_")]
    return " ".join(words)


def plain(value: Any) -> str:
    """A value of a specification on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {plain(v)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as dotted keys and text.

    Example:
        >>> flat({"model": {"hidden": [400, 400]}, "lr": 0.1})
        {'model.hidden': '400, 400', 'lr': '0.1'}
    """
    result: dict[str, str] = {}
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            result |= flat(item, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = plain(item)
    return result


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped.

    Example:
        >>> tex("wc_acc ± 5%")
        'wc\\\\_acc $\\\\pm$ 5\\\\%'
    """
    return "".join(_TEX.get(c, c) for c in text)


def together(declared: Sequence[str]) -> list[str]:
    """Each sentence once, with all the frozen settings that it was said of.

    Example:
        >>> together(["gtep: other data; setting 1a", "gtep: other data; setting 2b", "by hand"])
        ['gtep: other data; settings 1a, 2b', 'by hand']
    """
    found: dict[str, list[str]] = {}
    for sentence in declared:
        what, _, setting = sentence.partition("; setting ")
        found.setdefault(what, []).extend([setting] if setting else [])
    return [w + (f"; setting{'s' * (len(hashes) > 1)} {', '.join(hashes)}" if hashes else "") for w, hashes in found.items()]
