"""Sequential search: the tree-structured Parzen estimator, through Optuna."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clframe.eval.protocol.space import Choice, Dimension, Space
from clframe.seeding import seed_for

if TYPE_CHECKING:
    import optuna

Tried = Sequence[tuple[Mapping[str, Any], float | None]]
"""Settings with their scores; None for one that diverged."""


def suggest(space: Space, tried: Tried, maximise: bool, seed: int) -> dict[str, Any]:
    """The next setting, given all that were tried.

    A pure function: the sampler is made anew with a seed of its own for every suggestion and is told the trials in order, so
    that a study that was killed goes on as if it had not been. A setting that diverged counts as failed.

    Args:
        space: what may be chosen.
        tried: settings and scores, in order.
        maximise: whether more is better.
        seed: root.

    Reference: Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization", 2011.
    """
    import optuna

    sampler = optuna.samplers.TPESampler(n_startup_trials=1, seed=seed_for(seed, "tpe", len(tried)) % 2**32)
    study = remembered(space, tried, maximise, sampler)
    distributions = {name: _distribution(dimension) for name, dimension in space.items()}
    asked = study.ask(distributions).params
    return {name: _read(space[name], asked[name]) for name in space}


def remembered(
    space: Space, tried: Tried, maximise: bool = True, sampler: optuna.samplers.BaseSampler | None = None
) -> optuna.study.Study:
    """A study of Optuna's that knows what was tried; kept in memory only."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {name: _distribution(dimension) for name, dimension in space.items()}
    study = optuna.create_study(direction="maximize" if maximise else "minimize", sampler=sampler)
    for values, score in tried:
        state = optuna.trial.TrialState.COMPLETE if score is not None else optuna.trial.TrialState.FAIL
        params = {name: _told(space[name], value) for name, value in values.items()}
        study.add_trial(optuna.trial.create_trial(state=state, value=score, params=params, distributions=distributions))
    return study


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choice):
        return CategoricalDistribution(list(map(_named, dimension.values)))
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _told(dimension: Dimension, value: Any) -> Any:
    """A value as Optuna has it."""
    return _named(value) if isinstance(dimension, Choice) else value


def _named(value: Any) -> Any:
    """A value of a list as Optuna takes it: a number, a word, or another thing in words."""
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _read(dimension: Dimension, value: Any) -> Any:
    if isinstance(dimension, Choice):
        return next(v for v in dimension.values if _named(v) == value)
    return value if dimension.whole else min(max(float(f"{value:.4g}"), dimension.low), dimension.high)
