"""Accuracies of the paper, ResNet-18, in percent: tables 1 and 2, mean and standard deviation over three seeds."""

from __future__ import annotations

from papers.dst.cells import DENSITIES, INITS, Cell

TABLES: dict[int, dict[str, tuple[str, ...]]] = {
    20: {
        "random": ("52.70 17.86", "69.91 5.05", "74.96 5.81", "63.42 10.23", "67.87 5.99", "63.24 8.25"),
        "unfired": ("46.67 18.03", "69.44 5.63", "76.15 3.09", "61.97 14.02", "66.51 6.92", "65.74 12.41"),
        "gradient": ("47.71 7.30", "70.17 6.65", "79.60 0.59", "56.77 11.37", "72.85 2.39", "74.23 1.92"),
        "momentum": ("50.01 11.12", "70.97 6.08", "79.12 0.97", "60.35 11.12", "73.57 1.96", "75.07 1.94"),
    },
    10: {
        "random": ("58.04 1.96", "75.09 0.91", "74.39 0.17", "74.61 0.44", "75.71 0.32", "65.81 0.37"),
        "unfired": ("56.03 0.57", "75.28 0.94", "74.38 0.22", "74.86 0.54", "75.33 0.33", "65.56 0.49"),
        "gradient": ("63.29 1.72", "76.63 0.41", "75.57 0.21", "70.63 1.91", "74.71 2.33", "74.81 0.37"),
        "momentum": ("62.92 1.12", "76.49 0.26", "75.40 0.44", "69.51 3.26", "73.73 2.43", "74.14 0.22"),
    },
}
"""Columns: uniform at .2, .1, .05, then ERK at the same."""


def accuracy(tasks: int, cell: Cell) -> tuple[float, float] | None:
    """Mean and standard deviation of a cell; None where the paper has no number.

    >>> accuracy(10, Cell("erk", "unfired", 0.2))
    (74.86, 0.54)
    """
    if cell.growth not in TABLES[tasks]:
        return None
    column = INITS.index(cell.init) * len(DENSITIES) + DENSITIES.index(cell.density)
    mean, sd = TABLES[tasks][cell.growth][column].split()
    return float(mean), float(sd)
