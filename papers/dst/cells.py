"""The grid of the paper: initialisation, growth, density; and the defects of the released code."""

from __future__ import annotations

from dataclasses import dataclass

INITS = ("uniform", "erk")
DENSITIES = (0.2, 0.1, 0.05)
GROWTHS = ("random", "unfired", "gradient", "momentum", "adaptive")
DEFECTS = ("restore", "head", "lost")


@dataclass(frozen=True, order=True)
class Cell:
    """One way to train.

    Attributes:
        init: "uniform" or "erk".
        growth: as in `dst`.
        density: share of the masked weights that a task computes with.
    """

    init: str
    growth: str
    density: float

    @property
    def words(self) -> str:
        """The options of the strategy."""
        return f"density={self.density},init={self.init},growth={self.growth}"


WITH_DEFECTS: dict[Cell, tuple[tuple[str, ...], ...]] = {
    Cell("erk", "random", 0.05): (*((d,) for d in DEFECTS), DEFECTS),
    Cell("erk", "random", 0.2): (("restore",), ("head",)),
    Cell("uniform", "random", 0.05): (("restore",),),
}
"""Where the released code grows weights of earlier tasks, and where its head is frozen whole by the first task."""
