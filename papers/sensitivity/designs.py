"""Data for least squares: three designs made here, and data sets of files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clframe.errors import DataError
from clframe.seeding import rng
from papers.sensitivity.network import Numbers

ROWS, COLUMNS, CELLS = 20_000, 20, 50


class Design(NamedTuple):
    """Regressors (n, d), without a column of ones, and targets (n,)."""

    x: Numbers
    y: Numbers


def gauss() -> Design:
    """x of independent normal numbers."""
    return _linear(rng(0, "gauss").normal(size=(ROWS, COLUMNS)), "gauss")


def heavy() -> Design:
    """x of independent numbers of Student's t with 3 degrees of freedom."""
    return _linear(rng(0, "heavy").standard_t(3, size=(ROWS, COLUMNS)), "heavy")


def clustered() -> Design:
    """50 tight clusters, the i-th largest with a share in proportion to 1 / i^2: few rows lie in most directions."""
    random = rng(0, "clustered")
    share = 1 / np.arange(1, CELLS + 1) ** 2.0
    of = random.choice(CELLS, ROWS, p=share / share.sum())
    centres = 3 * random.normal(size=(CELLS, COLUMNS))
    return _linear(centres[of] + 0.1 * random.normal(size=(ROWS, COLUMNS)), "clustered")


def _linear(x: Numbers, name: str) -> Design:
    random = rng(0, name, "target")
    return Design(x, x @ random.normal(size=x.shape[1]) + random.normal(size=len(x)))


MADE: dict[str, Callable[[], Design]] = {"gauss": gauss, "heavy tails": heavy, "clusters": clustered}
UCI = ("protein", "kin40k", "pol", "elevators", "bike", "parkinsons")
FILES = (*UCI, "california", "gas", "gas, 20 components", "gas, 2565 rows")


def design(name: str, data_dir: str | None) -> Design:
    """A design by name; columns and targets of files are standardised, and constant columns left out.

    Raises:
        DataError: its file is not in the data folder.
    """
    if name in MADE:
        return MADE[name]()
    if name in UCI or name == "gas, 2565 rows":
        table = _array("uci_regression.npz", name.partition(",")[0], data_dir)
        return _standard(table[:, :-1], table[:, -1])
    if name == "california":
        return _standard(*(_array("california_housing.npz", key, data_dir) for key in ("x", "y")))
    gas = _standard(*(_array("gas_drift.npz", key, data_dir) for key in ("x", "concentration")))
    return gas if name == "gas" else Design(gas.x @ np.linalg.eigh(gas.x.T @ gas.x)[1][:, -COLUMNS:], gas.y)


def _standard(x: Numbers, y: Numbers) -> Design:
    x = x[:, x.std(0) > 0]
    return Design((x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std())


def _array(file: str, key: str, data_dir: str | None) -> Numbers:
    folder = data_dir or os.environ.get("CLFRAME_DATA")
    path = Path(folder or ".") / file
    if not path.is_file():
        raise DataError(f"{path} must be an .npz file with the arrays of papers/sensitivity/NOTES.md; got none. Give --data-dir.")
    with np.load(path, allow_pickle=False) as held:
        return np.asarray(held[key], dtype=np.float64)
