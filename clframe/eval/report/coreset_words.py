"""A coreset in sentences: the answer, and what speaks against it."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.eval.report import format as fmt
from clframe.selection.methods.auto_words import described

if TYPE_CHECKING:
    from clframe.selection import Coreset, Pool

WEAK = 0.2
"""A correlation of guess and loss below which guesses tell next to nothing."""
FEW = 5
"""Rows a stratum below which intervals are a little too narrow."""


def quantity(value: float) -> str:
    """A value in four digits.

    Example:
        >>> quantity(0.0123456), quantity(516.63), quantity(12345.6)
        ('0.01235', '516.6', '12,346')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def title(coreset: Coreset) -> str:
    """What it is.

    Example:
        >>> from clframe.selection import pool_of, select
        >>> title(select(pool_of(np.zeros((2000, 1))), 1000, "uniform"))
        '1,000 of 2,000 rows of pool'
    """
    m = coreset.manifest
    return f"{len(coreset):,} of {m['pool']['rows']:,} rows of {m['pool']['name']}"


def answer(coreset: Coreset) -> list[str]:
    r"""Sentences: the mean loss with its interval, the method and its reason, what the weights are like.

    Example:
        >>> from clframe.selection import pool_of, select
        >>> x = np.arange(1000.0)[:, None]
        >>> for line in answer(select(pool_of(x, loss=x[:, 0]), 100, "uniform")):
        ...     print(line.replace("\xa0", " "))
        The mean loss over the pool is 531.3, with a 95 % interval from 473.2 to 589.4 (± 10.9 %); 100 losses were looked at.
        Chosen by uniform.
        The weights are all equal: each row stands for 10.
    """
    m, facts = coreset.manifest, coreset.manifest["facts"]
    chosen = f"Chosen by {m['method']}"
    if facts.get("chosen"):
        chosen += f", which took {described(facts['chosen'])}: {facts.get('reason', '')}"
    twice = m["size"] - len(coreset) if random(coreset) and coreset.choice.count.max() > 1 else 0
    drawn = f" Of {m['size']:,} draws {twice:,} met a row again: it counts as often as it was drawn." if twice else ""
    if m.get("budget"):
        drawn += " They cost {spent:,.6g} of the {asked:,.6g} {column} that were asked for.".format(**m["budget"])
    return [_mean(coreset), chosen + "." + drawn, _weights(coreset)]


def _mean(coreset: Coreset) -> str:
    e, queries = coreset.mean_loss, coreset.manifest["queries"]
    if e is None and not random(coreset):
        return "There is no estimate of the mean loss: the choice is not random. Uniform and auto give one, with an interval."
    if e is None:
        return "There is no estimate of the mean loss: no losses were given."
    looked = f"{queries:,} losses were looked at"
    if not np.isfinite(e.half):
        return f"The mean loss over the pool is {quantity(e.mean)}, without an interval; {looked}."
    share = f" (±\u00a0{100 * e.half / e.mean:.3g}\u00a0%)" if e.mean else ""
    ends = f"from {quantity(e.low)} to {quantity(e.high)}"
    return f"The mean loss over the pool is {quantity(e.mean)}, with a 95 % interval {ends}{share}; {looked}."


def _weights(coreset: Coreset) -> str:
    m = coreset.manifest
    if equal(coreset):
        return f"The weights are all equal: each row stands for {coreset.weights[0]:.4g}."
    effective = f"The weights count as {m['effective_size']:,.0f} equal ones (effective size, of {len(coreset):,})"
    return f"{effective}; the largest is {m['largest_weight']:.3g} times the mean one."


def equal(coreset: Coreset) -> bool:
    """Whether all weights are equal."""
    return bool(np.allclose(coreset.weights, coreset.weights[0]))


def random(coreset: Coreset) -> bool:
    """Whether the choice is random: whether probabilities of the chosen rows are known."""
    return not bool(np.isnan(coreset.choice.expected).all())


def warnings(coreset: Coreset) -> list[str]:
    """What to know before it is used, from the manifest alone."""
    m, facts, found = coreset.manifest, coreset.manifest["facts"], []
    if coreset.mean_loss is not None and not np.isfinite(coreset.mean_loss.half):
        found.append("The interval has no ends: too few draws to tell how much they vary. Choose more rows.")
    tie = facts.get("correlation_of_guess_and_loss")
    if tie is not None and tie < WEAK:
        found.append(
            f"The correlation of guessed and real losses is {tie:.2f}: losses do not follow this embedding, and "
            "uniform with as many losses is at least as good. Use auto, or an embedding from nearer to the model's output."
        )
    strata = facts.get("strata") if coreset.mean_loss is not None else None
    if strata and strata > 1 and len(coreset) / strata < FEW:
        found.append(
            f"{len(coreset) / strata:.1f} rows a stratum are few to tell the variance within from: the interval is mostly too "
            "wide, and with very skewed losses a little too narrow. Fewer cells (--k) or more rows mend that."
        )
    if facts.get("negative_weights"):
        found.append(f"{facts['negative_weights']:,} weights are negative: good for estimates, not for training.")
    if m["effective_size"] < 0.5 * len(coreset):
        remedy = "A larger mixture of uniform evens them out." if random(coreset) else "Most rows hardly count in training, either."
        found.append(f"The weights are so unequal that the coreset counts as fewer than half of its rows. {remedy}")
    if facts.get("missing"):
        found.append(f"{facts['missing']:,} rows fewer than asked for: no further row made the choice better.")
    return found


def checked(coreset: Coreset, pool: Pool) -> tuple[list[str], list[str]]:
    """What the pool says of the coreset: remarks, and warnings."""
    found, m = [], coreset.manifest
    alike = sorted(pool.columns) == m["pool"]["columns"] and str(m["pool"].get("hash_of")).endswith(pool.hashed)
    if alike and pool.fingerprint() != m["pool"]["hash"]:
        found.append(
            f"The data is not what the coreset was chosen from: its hash is {pool.fingerprint()[:12]}, that in the manifest "
            f"{m['pool']['hash'][:12]}. Embeddings, ids, losses or classes changed since then."
        )
    e = coreset.mean_loss
    if "loss" not in pool.columns or e is None or not np.isfinite(e.half):
        return [], found
    truth = float(pool.numbers("loss", least=0.0).mean())
    if e.low <= truth <= e.high:
        return [f"The mean of all {pool.n:,} losses is {quantity(truth)}: inside the interval."], found
    outside = f"The mean of all {pool.n:,} losses is {quantity(truth)}: outside of the interval, as in 5 % of all draws."
    return [], [*found, outside]


def candidates(coreset: Coreset) -> list[list[str]]:
    """What auto compared: candidate, its variance over that of uniform in percent, how far below the usual one; the least first."""
    table: dict[str, dict[str, float]] = coreset.manifest["facts"].get("candidates") or {}
    uniform = table.get("uniform", {}).get("variance", 0.0)
    if not uniform:
        return []
    lines = []
    for name, one in sorted(table.items(), key=lambda item: item[1]["variance"]):
        sure = f"{one['less'] / one['error']:.1f}" if one["error"] else fmt.DASH
        lines.append([described(name), f"{100 * one['variance'] / uniform:.0f} %", sure])
    return lines


def command(coreset: Coreset, source: str, folder: str = "coreset") -> str:
    """What makes it again: a command, or a line of Python where the pool was not in files.

    Args:
        coreset: what was chosen.
        source: data and columns in words of the command line; "" where they are not known: then words in capitals stand for them.
        folder: where it was written.
    """
    m, method, size = coreset.manifest, written(coreset), asked(coreset)
    k, more = _cells(coreset)
    if not source and not _files(coreset):
        cells = f", kmeans=KMeans({more})" if more else f", k={k}" if k else ""
        return f"select({m['pool']['name']}, {repr(size) if m.get('budget') else size}, {method!r}, seed={m['seed']}{cells})"
    cells = f" --kmeans {shlex.quote(more)}" if more else f" --k {k}" if k else ""
    source = source or _source(coreset)
    chosen = f"--size {shlex.quote(size)} --method {shlex.quote(method)}{cells} --seed {m['seed']}"
    return f"clframe select {source} {chosen} --out {shlex.quote(folder)}"


def written(coreset: Coreset) -> str:
    """The method in words, with the options that are not the usual ones.

    Example:
        >>> from clframe.selection import pool_of, select
        >>> written(select(pool_of(np.zeros((9, 1))), 3, "sensitivity(lam=1.0, mixture=0.5)", loss=np.ones(9), k=2))
        'sensitivity(lam=1.0,mixture=0.5)'
    """
    m = coreset.manifest
    options = ",".join(f"{key}={value}" for key, value in _changed(m["method"], m["options"]).items())
    return f"{m['method']}({options})" if options else str(m["method"])


def asked(coreset: Coreset) -> str:
    """The size in words: rows, or what they may cost."""
    budget = coreset.manifest.get("budget")
    return f"{budget['asked']:.10g} {budget['column']}" if budget else str(coreset.manifest["size"])


def _files(coreset: Coreset) -> list[str]:
    """The files of the pool; none where it was in memory."""
    found = coreset.manifest["pool"]["source"]
    names = found if isinstance(found, list) else [str(found)]
    return names if names[0].endswith((".npy", ".parquet")) else []


def _source(coreset: Coreset) -> str:
    """Data and columns as far as the manifest has them."""
    about = coreset.manifest["pool"]
    embedding = about.get("column", "embedding")
    roles = [c for c in about["columns"] if c in ("loss", "proxy", "label")]
    others = ",".join(c for c in about["columns"] if c not in roles)
    words = _files(coreset) + ([] if embedding == "embedding" else [f"--embedding {shlex.quote(embedding)}"])
    words += [f"--{c} {c.upper()}" for c in roles] + ([f"--columns {others}"] if others else [])
    return " ".join(words + ([] if np.array_equal(coreset.ids, coreset.rows) else ["--id ID"]))


def _cells(coreset: Coreset) -> tuple[int, str]:
    """The number of cells, where it is not the usual one; all of the cells' options, where others are not."""
    from clframe.selection.clustering import KMeans

    made, usual = coreset.manifest["clustering"], KMeans()
    if made is None:
        return 0, ""
    k = 0 if made["k"] == usual.cells(coreset.manifest["pool"]["rows"]) else int(made["k"])
    set_by_hand = ("iterations", "points", "seeding", "spherical", "levels", "balanced")
    found = [f"{name}={made[name]}" for name in set_by_hand if name in made and made[name] != getattr(usual, name)]
    return k, ",".join([*([f"k={k}"] if k else []), *found]) if found else ""


def _changed(method: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a method that are not the usual ones; all of a method that is not one of clframe's."""
    from clframe.selection.methods import METHODS, REGISTRY

    usual = {f.name: f.default for f in fields(REGISTRY.load(method))} if method in METHODS else {}
    return {key: value for key, value in options.items() if key not in usual or usual[key] != value}
