"""What a study found: one outcome for each generator under each policy, over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from clframe import registry
from clframe.generations import theory
from clframe.generations.loop import Generation, Run
from clframe.generations.sources import LinearModel, Normal, source

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]


@final
@dataclass(frozen=True)
class Outcome:
    """One generator under one policy.

    Attributes:
        generator, policy: in words.
        seeds: of the runs (S,).
        loss: mean over the held-out real rows (S, N generations).
        variance: of the samples, over that of the held-out rows (S, N).
        rows: that each generation trained on (S, N).
        real_share: of the weight that was on real rows (S, N).
        seconds: (S, N).
        expected_loss, expected_variance: closed forms (N,); None where there are none.
        pools: the pool of each seed.
    """

    generator: str
    policy: str
    seeds: tuple[int, ...]
    loss: Floats
    variance: Floats
    rows: Floats
    real_share: Floats
    seconds: Floats
    expected_loss: Floats | None
    expected_variance: Floats | None
    pools: tuple[Path, ...]


def outcomes(found: Sequence[tuple[Run, list[Generation]]]) -> list[Outcome]:
    """The runs of each generator and policy together, in the order of the study.

    Example:
        >>> from tempfile import mkdtemp
        >>> from clframe.generations.study import conduct, parse_study
        >>> study = parse_study({"data": "normal(d=1)", "rows": 20, "generators": "gaussian", "policies": "accumulate", "seeds": 2})
        >>> told = outcomes(conduct(study, mkdtemp()))
        >>> [(o.policy, o.loss.shape, o.expected_variance.round(4).tolist()[:2]) for o in told]
        [('accumulate', (2, 5), [0.95, 0.9381])]
    """
    groups: dict[tuple[str, str], list[tuple[Run, list[Generation]]]] = {}
    for run, generations in found:
        groups.setdefault((run.generator, run.policy), []).append((run, generations))
    return [_outcome(some) for some in groups.values()]


def _outcome(some: Sequence[tuple[Run, list[Generation]]]) -> Outcome:
    run = some[0][0]

    def of(value: Any) -> Floats:
        return np.array([[float(value(g)) for g in generations] for _, generations in some])

    rows = of(lambda g: g.rows)
    expected = _expected(run, int(rows[0, 0]), rows.shape[1])
    return Outcome(
        run.generator,
        run.policy,
        tuple(r.seed for r, _ in some),
        of(lambda g: g.loss.mean()),
        of(lambda g: g.variance),
        rows,
        of(lambda g: g.real_share),
        of(lambda g: g.seconds),
        *expected,
        tuple(r.pool for r, _ in some),
    )


def _expected(run: Run, rows: int, generations: int) -> tuple[Floats | None, Floats | None]:
    """Closed forms of the held-out loss and of the variance, where data, generator and policy are those of theory."""
    name, options = registry.parse(run.policy)
    data, model = source(run.data), registry.parse(run.generator)[0]
    published = not (name == "accumulate-subsample" and options.get("real_floor", 0.1))
    if name not in theory.POLICIES or not published or options.get("size") or (run.samples and run.samples != rows):
        return None, None
    if model == "linear" and isinstance(data, LinearModel) and registry.parse(run.generator)[1].get("sigma", 1.0) == data.sigma:
        return theory.linear_error(name, generations, rows=rows, dimensions=data.d, sigma=data.sigma), None
    if model == "gaussian" and isinstance(data, Normal) and name in theory.POLICIES[:2]:
        return None, theory.gaussian_variance(name, generations, rows=rows)
    return None, None


def frame(told: Sequence[Outcome]) -> pd.DataFrame:
    """One row for each generation of each run: for Parquet and for one's own figures."""
    import pandas as pd

    return pd.DataFrame(
        {
            "generator": o.generator,
            "policy": o.policy,
            "seed": seed,
            "generation": n + 1,
            "loss": o.loss[s, n],
            "variance": o.variance[s, n],
            "rows": int(o.rows[s, n]),
            "real_share": o.real_share[s, n],
            "seconds": o.seconds[s, n],
        }
        for o in told
        for s, seed in enumerate(o.seeds)
        for n in range(o.loss.shape[1])
    )
