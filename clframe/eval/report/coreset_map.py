"""A map of the embedding: the pool and what was chosen of it, in the two directions in which the pool varies most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clframe.eval.report import style
from clframe.eval.report.series import Floats
from clframe.seeding import seed_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from clframe.selection import Coreset, Pool

POOL, CHOSEN = 5_000, 1_500
"""Rows that are drawn at most; of more, so many are drawn at random."""
COLOURS = {
    "#0072b2": "#3b82e0",
    "#d55e00": "#ff8c42",
    "#1a7f37": "#2ea05a",
    "#c94fa5": "#f08fd2",
    "#c9a000": "#f2d13c",
    "#4fc3f7": "#8fe0ff",
    "#6f42c1": "#9b7bea",
    "#7a4a1f": "#a8754a",
    "#8bc34a": "#b7e86b",
    style.INK: "#f4f5f7",
    "#00a896": "#1fd6c1",
    "#d11149": "#ff5c7a",
}
"""Of each class in light and in dark mode, all of them far from each other to the eye."""
MARKERS = ("o", "s", "^", "D")
"""Shapes, in turn: colours that are alike to the colour-blind have different ones."""
KINDS = len(COLOURS)
"""Classes that are told apart."""


@dataclass(frozen=True)
class Map:
    """Where rows lie.

    Attributes:
        pool: some rows of the pool (p, 2).
        chosen: chosen rows (c, 2).
        weight: of these, over the mean weight (c,).
        kind: the class of each (c,), as a position in `kinds`.
        kinds: names of the classes; one, "", where there is none or too many.
        by: the column of the classes.
        share: of the variance of the pool, that these two directions have.
    """

    pool: Floats
    chosen: Floats
    weight: Floats
    kind: npt.NDArray[np.int64]
    kinds: list[str]
    by: str
    share: float


def embedding_map(coreset: Coreset, pool: Pool, by: str = "") -> Map | None:
    """Principal components of at most 5,000 rows of the pool, and the chosen rows in them.

    Args:
        coreset: what was chosen.
        pool: from what.
        by: a column of classes; by default the strata that the choice was made from.

    Returns:
        The map, or None where embeddings have one direction alone or do not vary.

    Raises:
        DataError: embeddings that are not finite.

    Example:
        >>> from clframe.selection import pool_of, select
        >>> pool = pool_of(np.random.default_rng(0).normal(size=(50, 2)))
        >>> found = embedding_map(select(pool, 10, "uniform"), pool)
        >>> found.pool.shape, found.chosen.shape, round(found.share, 6)
        ((50, 2), (10, 2), 1.0)
    """
    from sklearn.decomposition import PCA

    from clframe.selection.methods.parts import taken
    from clframe.selection.methods.uniform import smallest

    seed = seed_for(0, "map")
    x = taken(pool, smallest(pool.n, min(pool.n, POOL), seed))
    if min(x.shape) < 2 or not np.ptp(x, axis=0).any():
        return None
    some = smallest(len(coreset), min(len(coreset), CHOSEN), seed)
    fitted = PCA(2, random_state=seed % 2**31).fit(x)
    share = float(fitted.explained_variance_ratio_.sum())
    values = pool.column(by)[coreset.rows] if by else coreset.choice.stratum
    kinds, kind = np.unique(values, return_inverse=True)
    facts = coreset.manifest["facts"]
    strata = [] if by else list(facts.get("of_strata") or ())
    names = [strata[k] if strata else str(k) for k in kinds] if 1 < len(kinds) <= KINDS else [""]
    by = by or str(facts.get("by", "stratum"))
    kind = kind if len(names) > 1 else np.zeros(len(coreset), dtype=np.int64)
    chosen = fitted.transform(taken(pool, coreset.rows[some]))
    weight = coreset.weights / coreset.weights.mean()
    return Map(fitted.transform(x), chosen, weight[some], kind[some].astype(np.int64), names, by, share)


def map_figure(found: Map, width: float = style.WIDTH) -> Figure:
    """Grey: the pool. Coloured: what was chosen, with area in proportion to the weight.

    The pool is a picture inside the figure, so that the page stays small; chosen rows are drawn as such.
    """
    legend = len(found.kinds) > 1
    room = 20 + 6.2 * min(16, max(map(len, found.kinds))) if legend else 0
    fig = style.figure(width, 0.86 * width)
    fig.set_dpi(180)
    ax = style.axes(fig, left=6, right=6 + room, top=6, bottom=6)
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])
    every = np.concatenate([found.pool, found.chosen])
    low, high = every.min(axis=0), every.max(axis=0)
    ax.set_xlim(low[0] - 0.03 * (high - low)[0], high[0] + 0.03 * (high - low)[0])
    ax.set_ylim(low[1] - 0.03 * (high - low)[1], high[1] + 0.03 * (high - low)[1])
    grey: dict[str, Any] = {"color": "#8a9099", "alpha": 0.4, "markersize": 2, "markeredgewidth": 0}
    ax.plot(*found.pool.T, linestyle="none", marker="o", rasterized=True, **grey)
    sizes = _steps(found.weight)
    base = 5.0 if len(found.chosen) <= 300 else 4.0 if len(found.chosen) <= 800 else 3.2
    for i in range(len(found.kinds)):
        for size in np.unique(sizes):
            here = (found.kind == i) & (sizes == size)
            _marks(ax, *found.chosen[here].T, kind=i, size=base * float(size))
    for i, name in enumerate(found.kinds if legend else []):
        y = 1 - (i + 0.5) / KINDS
        _marks(ax, [1 + 10 / (width - 12 - room)], [y], kind=i, size=6, transform=ax.transAxes, clip_on=False)
        short = name if len(name) <= 16 else f"{name[:15]}…"
        place: dict[str, Any] = {"transform": ax.transAxes, "va": "center", "fontsize": 10, "parse_math": False}
        ax.text(1 + 18 / (width - 12 - room), y, short, color=style.SOFT, **place)
    return fig


def _marks(ax: Any, x: Any, y: Any, *, kind: int, size: float, **options: Any) -> None:
    look = {"marker": MARKERS[kind % len(MARKERS)], "markersize": size, "color": list(COLOURS)[kind], "alpha": 0.85}
    ax.plot(x, y, linestyle="none", markeredgewidth=0, **look, **options)


def _steps(weight: Floats) -> Floats:
    """Diameters, as the root of the weight, in steps of a fifth, within [0.4, 4]."""
    wide = np.sqrt(np.clip(weight, 0.16, 16))
    return np.asarray(1.2 ** np.round(np.log(wide) / np.log(1.2)), dtype=np.float64)
