"""A uniform sample whose weights are calibrated, so that what is known of the whole pool comes out right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from clframe.errors import OptionError, bad_option
from clframe.seeding import seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws.draw import Numbers, Rows
from clframe.selection.estimate import Estimate
from clframe.selection.methods.uniform import smallest

KNOWN = ("proxy", "label", "distance")


@final
@dataclass(frozen=True)
class Greg:
    """m rows drawn uniformly, and weights that give back the totals of control variables x_i (generalised regression estimator).

        w_i = (n/m) (1 + x_i' A^-1 (t - that)),   t = sum_U x_i,   that = (n/m) sum_S x_i,   A = (n/m) sum_S x_i x_i'
        mean = sum_S w_i l_i / n,   error^2 = (1 - m/n) sum_S (g_i e_i / (1 - h_i))^2 / m^2
        e = residuals of l on x,   g_i = w_i m / n,   h_i = x_i' (X' X)^-1 x_i

    x_i holds 1 and, as far as the pool has them, the column "proxy", a 1 for the label, and the squared distance to the centre of
    the cell. Weights so computed add up to n, and to the number of rows of each label. Some can be negative where the sample is
    small.

    Args:
        controls: which to take, joined by "+": "proxy", "label", "distance"; "auto" takes the first two as far as they are columns.

    Raises:
        OptionError: an unknown control; no column for it; more controls than a fifth of the rows.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> pool = pool_of(np.zeros((100, 1)), label=[0] * 70 + [1] * 30)
        >>> choice = Greg()(Ask(pool, size=20, seed=0))
        >>> choice.weight[pool.columns["label"][choice.rows] == 0].sum().round(6).item()
        70.0

    Reference: Cassel, Särndal, Wretman, 1976; Deville, Särndal, "Calibration estimators in survey sampling", 1992; the error:
        Särndal, Swensson, Wretman, 1989, with 1 - h_i as in HC3 (MacKinnon, White, 1985), as residuals of a fit are too small.
    """

    controls: str = "auto"

    def __post_init__(self) -> None:
        unknown = [c for c in self.controls.split("+") if c not in KNOWN and self.controls != "auto"]
        if unknown:
            raise bad_option("controls", f"auto, or some of {', '.join(KNOWN)} joined by +", unknown[0], "Give controls=auto.")

    def __call__(self, ask: Ask) -> Choice:
        """Choose."""
        n, m = ask.pool.n, ask.size
        rows = smallest(n, m, seed_for(ask.seed, "uniform"))
        x, totals, names = controls(ask, self.controls, rows)
        weight, kept = calibrated(x, totals, n)
        expected, ones = np.full(m, m / n), np.ones(m, dtype=np.int64)
        estimate = None if ask.losses is None else regressed(ask.losses(rows), x[:, kept], weight, n)
        facts: dict[str, Any] = {"controls": [names[i] for i in kept], "negative_weights": int((weight < 0).sum())}
        return Choice(rows, weight, expected, ones, 0 * ones, np.ones(m), estimate, facts)


def controls(ask: Ask, asked: str, rows: Rows) -> tuple[Numbers, Numbers, list[str]]:
    """x of the sample (m, c), its sum over the pool (c,), and names."""
    have = [c for c in ("proxy", "label") if c in ask.pool.columns]
    chosen = have if asked == "auto" else asked.split("+")
    sample, totals, names = [np.ones(len(rows))], [float(ask.pool.n)], ["1"]
    if "proxy" in chosen:
        proxy = ask.pool.numbers("proxy")
        sample, totals, names = [*sample, proxy[rows]], [*totals, float(proxy.sum())], [*names, "proxy"]
    if "distance" in chosen:
        far = ask.clustering.distance
        sample, totals, names = [*sample, far[rows].astype(float)], [*totals, ask.clustering.cost], [*names, "distance"]
    if "label" in chosen:
        values, of = np.unique(ask.pool.column("label"), return_inverse=True)
        of = of.reshape(-1)
        if len(values) > len(rows) // 5:
            rule = f"few enough labels for {len(rows)} rows, at most a fifth of them"
            raise OptionError(f"controls must be {rule}; got {len(values)} labels. Give controls=proxy, or a larger size.")
        counts = np.bincount(of, minlength=len(values))
        for i in range(1, len(values)):
            sample, totals = [*sample, (of[rows] == i).astype(float)], [*totals, float(counts[i])]
            names = [*names, f"label {values[i]}"]
    return np.stack(sample, 1), np.array(totals), names


def calibrated(x: Numbers, totals: Numbers, n: int) -> tuple[Numbers, list[int]]:
    """Weights with sum_S w_i x_i = totals, nearest to n / m, and the columns that are not made of others in the sample.

    Example:
        >>> weight, kept = calibrated(np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]), np.array([6.0, 9.0]), 6)
        >>> weight.round(3).tolist(), kept
        ([0.5, 2.0, 3.5], [0, 1])
    """
    lengths = np.linalg.norm(x, axis=0)
    beyond = np.abs(np.diag(np.linalg.qr(x / np.maximum(lengths, 1e-300), mode="r")))  # how far each is from those before it
    kept = np.flatnonzero((lengths > 0) & (beyond > 1e-9)).tolist()  # a label that is not in the sample has a column of zeros
    size = np.maximum(np.abs(x[:, kept]).max(0), 1e-300)
    z, t, base = x[:, kept] / size, totals[kept] / size, n / len(x)
    gap = t - base * z.sum(0)
    found: Numbers = base * (1 + z @ np.linalg.solve(base * z.T @ z, gap))
    return found, kept


def regressed(values: Numbers, x: Numbers, weight: Numbers, n: int) -> Estimate:
    """The mean over the pool from calibrated weights.

    A row that alone tells a coefficient (h_i = 1) has no residual; it is given the mean square of the others.
    """
    m, c = x.shape
    rest = values - x @ np.linalg.lstsq(x, values, rcond=None)[0]
    freedom = max(1, m - c)
    free = 1 - (np.linalg.qr(x / np.abs(x).max(0))[0] ** 2).sum(1)
    alone = free < 1e-9
    square = np.where(alone, (rest**2).sum() / freedom, (rest / np.where(alone, 1, free)) ** 2)
    error = math.sqrt((1 - m / n) * float(((m / n * weight) ** 2 * square).sum())) / m
    return Estimate(float((weight * values).sum()) / n, error, freedom)
