"""How figures look: colours that survive colour blindness and dark mode, and SVG that is small and deterministic."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 400
"""Natural width of a small figure in CSS pixels: a phone shows it nearly unscaled."""

INK, SOFT, GRID, CELL = "#1f2328", "#6b7280", "#d9dce1", "#2563a8"
_LIGHT, _TURNING, _DARK = "#ffffff", "#fefefe", "#14181d"
_STRATEGY = ("#0072b2", "#d55e00", "#00835f", "#b8578f", "#a87000", "#3a86a8", "#5b5b5b")
_STRATEGY_DARK = ("#56a8e0", "#ff8c42", "#2fc79a", "#e39ac4", "#e6b045", "#86cfe8", "#b8b8b8")
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
_FONT_SIZE = 10.0

_fixed = {INK: "#e6e8eb", SOFT: "#9aa3af", GRID: "#3a3f47", CELL: "#5a9be0", _TURNING: _DARK}
_fixed.update(zip(_STRATEGY, _STRATEGY_DARK, strict=True))

Dash = str | tuple[int, tuple[float, ...]]


def strategy_style(position: int) -> tuple[str, Dash]:
    """Colour and dash of the strategy at this position: the same in every figure of a report.

    Example:
        >>> strategy_style(0), strategy_style(7)[0] == strategy_style(0)[0], strategy_style(7)[1] == strategy_style(0)[1]
        (('#0072b2', '-'), True, False)
    """
    turn, colour = divmod(position, len(_STRATEGY))
    return _STRATEGY[colour], _DASHES[turn % len(_DASHES)]


def experience_colours(count: int) -> list[str]:
    """Colours of the experiences in stream order: dark to light, so that neighbours in time are neighbours in colour."""
    return [light for light, _ in _experience_pairs(count)]


def on_experience(position: int, count: int) -> str:
    """Colour of text on the colour of an experience, legible in light and in dark mode."""
    place = position / max(count - 1, 1)
    return _LIGHT if place < 0.27 else _TURNING if place < 0.7 else _DARK


def dark_colours(experiences: int) -> dict[str, str]:
    """Colour in light mode -> colour in dark mode, for every colour that a figure may use."""
    return _fixed | dict(_experience_pairs(experiences))


def _experience_pairs(count: int) -> list[tuple[str, str]]:
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    viridis = colormaps["viridis"]
    at = [i / max(count - 1, 1) for i in range(count)]
    return [(to_hex(viridis(0.02 + 0.74 * a)), to_hex(viridis(0.34 + 0.62 * a))) for a in at]


def figure(width: float = WIDTH, height: float = 240) -> Figure:
    """An empty figure of this size in CSS pixels, without pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72))


def axes(fig: Figure, left: float = 34, right: float = 12, top: float = 12, bottom: float = 34) -> Axes:
    """Axes with these margins in pixels, a light grid and no box."""
    width, height = fig.get_size_inches() * 72
    ax = fig.add_axes((left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(SOFT)
        ax.spines[side].set_linewidth(0.8)
    ax.tick_params(colors=SOFT, labelsize=_FONT_SIZE, length=3, width=0.8, pad=3)
    ax.set_axisbelow(True)
    ax.patch.set_visible(False)
    return ax


def accuracy_axis(ax: Axes) -> None:
    """The y axis of every accuracy plot: 0 to 1, so that figures can be compared by eye."""
    ax.set_ylim(-0.02, 1.02)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    ax.grid(axis="y", color=GRID, linewidth=0.7)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in the same order, at least `gap` apart where [low, high] has the room.

    Example:
        >>> spread([0.5, 0.5], gap=0.1, low=0.0, high=1.0)
        [0.45, 0.55]
        >>> spread([0.0, 0.0, 0.0], gap=0.5, low=0.0, high=1.0)
        [0.0, 0.5, 1.0]
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    clusters: list[list[float]] = []  # [centre, members]
    for i in order:
        clusters.append([wanted[i], 1])
        while True:
            for c in clusters:
                half = gap * (c[1] - 1) / 2
                c[0] = min(max(c[0], low + half), high - half)
            if len(clusters) < 2 or clusters[-1][0] - clusters[-2][0] >= gap * (clusters[-1][1] + clusters[-2][1]) / 2 - 1e-12:
                break
            (a, m), (b, n) = clusters[-2:]
            clusters[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    placed = [round(c - gap * (m - 1) / 2 + gap * j, 9) for c, m in clusters for j in range(int(m))]
    result = [0.0] * len(wanted)
    for i, y in zip(order, placed, strict=True):
        result[i] = y
    return result


def end_labels(ax: Axes, ends: Sequence[tuple[float, str, str]], top: float = 1.0) -> None:
    """Names at the right ends of lines, moved apart, each tied to its line.

    Args:
        ax: axes with values from 0 to `top`, as accuracies from 0 to 1.
        ends: (last value, text, colour) of each line.
        top: see ax.
    """
    width, height = ax.get_window_extent().width, ax.get_window_extent().height
    pixel = 72 / ax.figure.dpi
    places = spread([round(y / top * 40) / 40 for y, _, _ in ends], gap=12 / (height * pixel), low=0.0, high=1.0)
    for place, (y, text, colour) in zip(places, ends, strict=True):
        ax.annotate(
            text,
            (1, y),
            xytext=(1 + 9 / (width * pixel), place * top),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            color=colour,
            fontsize=_FONT_SIZE,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 0},
            annotation_clip=False,
            parse_math=False,
        )


def short_names(names: Sequence[str], width: int = 16) -> list[str]:
    """Names short enough for a label and still all different.

    Example:
        >>> short_names(["er(size=500)", "lwf", "ewc(strength=100.0)"])
        ['er', 'lwf', 'ewc']
        >>> short_names(["er(size=500)", "er(size=50)"])
        ['er(size=500)', 'er(size=50)']
    """
    bases = [n.partition("(")[0] for n in names]
    short = [b if bases.count(b) == 1 else n for b, n in zip(bases, names, strict=True)]
    short = [s if len(s) <= width else f"{s[: width - 1]}…" for s in short]
    return [s if short.count(s) == 1 else f"{s[: width - 4]}… {i + 1}" for i, s in enumerate(short)]


def svg(fig: Figure, key: str, label: str, dark: dict[str, str]) -> str:
    """The figure as an inline SVG: the same bytes for the same figure, text as text, colours as CSS variables.

    Args:
        fig: the figure.
        key: makes the ids inside this figure different from those of other figures on the page.
        label: what a screen reader says.
        dark: see `dark_colours`.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    fig.patch.set_visible(False)
    buffer = io.StringIO()
    none = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": key, "svg.fonttype": "none", "svg.image_inline": True}):
        FigureCanvasSVG(fig).print_svg(buffer, metadata=none)  # type: ignore[no-untyped-call]
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    body = text[text.index(">") + 1 :]
    width, height = fig.get_size_inches() * 72
    return _small(f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{_escape(label)}">{body}', dark)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _small(text: str, dark: dict[str, str]) -> str:
    """Drop what a browser does not need; round to a hundredth of a pixel; colours become variables."""
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' id="(?!m|p|image|C)[^"]*"', "", text)
    text = re.sub(r'(?<=[\d "(-])(\d*\.\d\d)\d+', r"\1", text)
    text = re.sub(r"font: ((?:\d+ )?)([\d.]+px) [^;\"]*", _font, text)
    text = re.sub(r"((?:fill|stroke): )(#[0-9a-f]{6})", lambda m: m[1] + _variable(m[2], dark), text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _font(match: re.Match[str]) -> str:
    weight = f"; font-weight: {match[1].strip()}" if match[1] else ""
    return f"font-size: {match[2]}{weight}"


def _variable(colour: str, dark: dict[str, str]) -> str:
    return f"var(--c{colour[1:]},{colour})" if colour in dark else colour
