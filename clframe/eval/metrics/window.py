"""Windowed forgetting and plasticity: the largest change within a few updates."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
import numpy.typing as npt

from clframe.errors import bad_option
from clframe.eval.metrics.curves import Curves, mean_or_none


def windowed(times: npt.NDArray[np.int64], accuracy: npt.NDArray[np.float64], window: int, sign: Literal[-1, 1]) -> float | None:
    """The largest change of one curve within `window` updates, evenly evaluated or not.

    max { sign (A_n - A_m) : 0 < n - m < window }, and at least 0. None if no two evaluations lie that close. One pass; the
    queue keeps the starts still in the window whose values rise, so its head is the lowest.

    Args:
        times: n of each evaluation (m,), increasing, in updates.
        accuracy: accuracies (m,).
        window: w, in updates; a window holds w consecutive models.
        sign: -1 for drops, +1 for gains.

    Example:
        >>> round(windowed(np.array([1, 2, 3]), np.array([0.5, 0.3, 0.9]), 3, +1), 12)
        0.6
    """
    best: float | None = None
    starts: deque[tuple[int, float]] = deque()
    for n, a in zip(times.tolist(), (sign * accuracy).tolist(), strict=True):
        while starts and n - starts[0][0] >= window:
            starts.popleft()
        if starts:
            best = max(best or 0.0, a - starts[0][1])
        while starts and starts[-1][1] >= a:
            starts.pop()
        starts.append((n, a))
    return best


def wf(curves: Curves, window: int = 10) -> float | None:
    """WF^w, windowed forgetting: the largest drop within w updates. Low is better; grows with w.

    WF^w = (1/k) sum_{i<=k} max_{m<n} { A(E_i, f_m) - A(E_i, f_n) : n - m < w, n <= |T_k| }, and at least 0, with w = `window`.
    Every experience seen counts, the current one too. None where two evaluations in a row lie w or more updates apart: what
    happens between them is unknown.

    Raises:
        OptionError: the window is below 2.

    Example:
        >>> from clframe.eval.metrics import dip, wf
        >>> round(wf(dip(), window=10), 12)
        0.3

    Reference: De Lange et al. (2023), eq. 4.

    Differences:
        1. Windows count updates; the released code counts evaluations, the same only when every update is evaluated.
        2. Each curve starts at the model before the first update on its experience; there only the first one does.
    """
    return _mean(curves, window, -1)


def wp(curves: Curves, window: int = 10) -> float | None:
    """WP^w, windowed plasticity: the largest gain within w updates. High is better; grows with w.

    WP^w = (1/k) sum_{i<=k} max_{m<n} { A(E_i, f_n) - A(E_i, f_m) : n - m < w, n <= |T_k| }, and at least 0, with w = `window`.
    None where two evaluations in a row lie w or more updates apart: what happens between them is unknown.

    Raises:
        OptionError: the window is below 2.

    Example:
        >>> from clframe.eval.metrics import dip, wp
        >>> round(wp(dip(), window=10), 12)
        0.35

    Reference: De Lange et al. (2023), section 3.

    Differences:
        1. and 2. as in `wf`.
        3. The released code takes a window's gain from a start that is not its lowest: [.5, .3, .9] gives .4 there and .6 here.
    """
    return _mean(curves, window, 1)


def _mean(curves: Curves, window: int, sign: Literal[-1, 1]) -> float | None:
    if window < 2:
        raise bad_option("window", "an integer of at least 2 updates", window, "Give window=10.")
    return mean_or_none([_change(*curves.series(i, after=curves.start(i) - 1), window, sign) for i in range(curves.k)])


def _change(times: npt.NDArray[np.int64], accuracy: npt.NDArray[np.float64], window: int, sign: Literal[-1, 1]) -> float:
    """`windowed`, or NaN where some stretch of `window` updates holds fewer than two evaluations: what it hides is unknown."""
    if len(times) < 2 or int(np.diff(times).max()) >= window:
        return float("nan")
    change = windowed(times, accuracy, window, sign)
    return float("nan") if change is None else change
