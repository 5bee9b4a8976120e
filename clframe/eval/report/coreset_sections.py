"""The sections of a coreset's page, as its template shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.eval.report import coreset_coverage as in_words
from clframe.eval.report import coreset_figures as figures
from clframe.eval.report import coreset_map as maps
from clframe.eval.report import coreset_words as words
from clframe.eval.report import format as fmt
from clframe.eval.report import html
from clframe.eval.report.coreset_samples import View
from clframe.eval.report.picture import Picture, picture
from clframe.selection.coverage import Coverage, classes, of_cells, of_column, of_strata

if TYPE_CHECKING:
    from clframe.selection import Coreset, Pool
    from clframe.selection.clustering import Clustering, KMeans
    from clframe.selection.trial import Comparison

PARTS = 30
"""Up to this many classes are drawn, and their table is open."""
LISTED = 8
"""Of more, so many are listed: those with the least coverage."""

Tell = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Shown:
    """What a page is made from, beside the coreset.

    Attributes:
        pool: what the coreset was chosen from.
        compared: trials of methods, as `clframe select compare --out` writes them.
        view: how samples are shown.
        k: cells of the coverage; 0: as many as the choice was made with, or the usual number.
        source: data and columns as they are given on the command line, for the command that makes the coreset again.
        folder: where the coreset is, for that command.
        tell: progress.
    """

    pool: Pool | None = None
    compared: Comparison | None = None
    view: View = field(default_factory=View)
    k: int = 0
    source: str = ""
    folder: str = "coreset"
    tell: Tell | None = None


def elsewhere(coreset: Coreset, compared: Comparison | None) -> list[str]:
    """A warning where trials are of a pool of another size."""
    if compared is None or compared.pool.get("rows") == coreset.manifest["pool"]["rows"]:
        return []
    rows = compared.pool.get("rows", 0)
    return [f"The comparison of methods is of another pool, {compared.pool.get('name')} of {rows:,} rows."]


def pareto(coreset: Coreset, compared: Comparison | None, dark: dict[str, str]) -> dict[str, Any] | None:
    """Figures and table of trials, with this coreset marked; None without trials.

    Raises:
        OptionError: see `coreset_figures.pareto_figure`.
    """
    if compared is None:
        return None
    e, own = coreset.mean_loss, {}
    lines = figures.drawn(compared)
    if e is not None and e.mean > 0 and np.isfinite(e.error) and e.error > 0:
        own = {by: (float(coreset.manifest[by]), e.error / e.mean) for by in figures.AXES}
    apart = any(abs(t.queries - t.size) > 0.02 * t.size for line in lines.values() for t in line)
    pictures = [
        picture(figures.pareto_figure(compared, by, own.get(by)), f"p{by}", f"Error against {name}", f"By {name}", dark)
        for by, name in figures.AXES.items()
        if by == "size" or apart
    ]
    silent = sorted({t.method for t in compared.trials} - set(lines))
    return {
        "pictures": pictures,
        "lines": _trials(compared),
        "repeats": compared.repeats,
        "silent": silent,
        "marked": bool(own),
    }


def _trials(compared: Comparison) -> list[list[str]]:
    found = []
    for t in compared.trials:
        if t.error is None or t.low is None or t.high is None or t.held is None:
            found.append([t.method, f"{t.size:,}", "no estimate", "", "", "", f"{t.queries:,.0f}"])
            continue
        ratio = compared.over_uniform(t)
        error = f"{100 * t.error:.3g} [{100 * t.low:.3g}, {100 * t.high:.3g}]"
        half = fmt.DASH if t.half is None else f"{100 * t.half:.3g}"
        against = fmt.DASH if ratio is None else f"{ratio:.2f}"
        found.append([t.method, f"{t.size:,}", error, against, half, f"{100 * t.held:.0f} %", f"{t.queries:,.0f}"])
    return found


def covered(coreset: Coreset, shown: Shown, dark: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Of each column of classes, and of the cells: words, picture, table."""
    names = classes(shown.pool)[0] if shown.pool is not None else []
    strata = of_strata(coreset.choice)
    if strata is not None and strata.name not in names:
        yield _part(strata, f"Strata by {strata.name}", "strata", dark)
    if shown.pool is None:
        return
    for i, name in enumerate(names):
        head = "Classes" if name == "label" else f"Column {name}"
        yield _part(of_column(coreset.choice, shown.pool, name), head, f"v{i}", dark)
    cells, how = _cells(coreset, shown.pool, shown)
    yield _part(of_cells(coreset.choice, shown.pool, cells), f"Cells: {how}", "cells", dark)


def _part(c: Coverage, head: str, key: str, dark: dict[str, str]) -> dict[str, Any]:
    few = len(c.parts) <= PARTS and c.name != "cell"
    fig = figures.shares_figure(c) if few else figures.coverage_figure(c)
    least = np.lexsort((-c.pool, c.coverage))[:LISTED]
    return {
        "head": head,
        "name": "around" if c.name == "cell" else c.name,
        "said": in_words.sentence(c),
        "picture": picture(fig, key, f"{head}: coverage", "", dark),
        "lines": in_words.rows(c, None if few else least),
        "bars": few,
        "listed": "" if few or len(c.parts) <= LISTED else f"The {LISTED} of {len(c.parts):,} that are covered least",
    }


def cells_of(coreset: Coreset, k: int = 0) -> KMeans:
    """How the cells of a coreset were made; the usual way, where it was chosen without.

    Args:
        coreset: what was chosen.
        k: another number of cells; 0: that of the coreset.
    """
    from clframe.selection.clustering import KMeans

    made = coreset.manifest["clustering"] or {}
    given = {f.name: made[f.name] for f in fields(KMeans) if f.name in made and f.name != "kernel"}
    return KMeans(**{**given, **({"k": k} if k else {})})


def _cells(coreset: Coreset, pool: Pool, shown: Shown) -> tuple[Clustering, str]:
    """Cells as the choice was made with, where it was made with some; and what they are."""
    from clframe.selection.clustering import cluster

    made, tell, how = coreset.manifest["clustering"], shown.tell, cells_of(coreset, shown.k)
    seed = coreset.manifest["seed"] if made is None else made["seed"]
    cells = cluster(pool, how, seed, tell=None if tell is None else lambda done, whole: tell("cells", done, whole))
    same = made is not None and np.isclose(cells.cost, made["cost"], rtol=1e-6)
    return cells, f"{cells.k:,} of k-means, {'those of the choice' if same else 'made for this page'}"


def mapped(coreset: Coreset, pool: Pool, dark: dict[str, str]) -> dict[str, Any] | None:
    """The map with what its caption says; None where there is none."""
    by = "label" if "label" in pool.columns else ""
    found = maps.embedding_map(coreset, pool, by)
    if found is None:
        return None
    drawn = picture(maps.map_figure(found), "map", "Map of the embedding", "", dark)
    told = f"coloured by {found.by}" if len(found.kinds) > 1 else ""
    many = f"; not coloured by {found.by}: more than {maps.KINDS} values" if by and not told else ""
    return {
        "picture": drawn,
        "share": f"{100 * found.share:.2g} %",
        "pool": f"{len(found.pool):,} of {pool.n:,}" if len(found.pool) < pool.n else f"all {pool.n:,}",
        "chosen": f"{len(found.chosen):,} of the {len(coreset):,}" if len(found.chosen) < len(coreset) else f"all {len(coreset):,}",
        "coloured": (f", {told}" if told else "") + many,
    }


def weighted(coreset: Coreset, dark: dict[str, str]) -> Picture | None:
    """The histogram; None where all weights are equal."""
    if words.equal(coreset):
        return None
    return picture(figures.weights_figure(coreset.weights), "weights", "Distribution of weights", "", dark)


def lineage(coreset: Coreset) -> html.Settings:
    """The manifest as a table, without what the method found."""
    kept = {key: value for key, value in coreset.manifest.items() if key not in ("facts", "mean_loss", "format")}
    return html.settings([{key: value for key, value in kept.items() if value is not None}], ["coreset"])


def facts(coreset: Coreset) -> html.Settings:
    """What the method found, as a table."""
    facts = {
        key: value
        for key, value in coreset.manifest["facts"].items()
        if key not in ("candidates", "of_strata") and value is not None
    }
    return html.settings([{"mean_loss": coreset.manifest.get("mean_loss"), **facts}], ["coreset"])
