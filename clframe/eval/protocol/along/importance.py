"""Which options mattered: the share of the scores' variance that each explains alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clframe.eval.protocol.space import Space
from clframe.eval.protocol.tpe import remembered
from clframe.seeding import seed_for

Tried = Sequence[tuple[Mapping[str, Any], float | None]]
FEWEST = 4
"""Trials below which nothing is said about importance."""


def importance(space: Space, experiences: Sequence[Tried], seed: int) -> dict[str, float]:
    """Functional analysis of variance of the scores at every experience, averaged over the experiences.

    A forest is fitted to (setting, score) and its variance is split into what each option explains alone. Scores of different
    experiences are not mixed: some experiences are easier than others. An option that did not vary explains nothing.

    Args:
        space: what may be chosen.
        experiences: settings and scores of each; those that diverged are left out.
        seed: of the forest.

    Returns:
        Option -> mean share in [0, 1]; all zero where fewer than four trials of an experience have scores that differ.

    Reference: Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing hyperparameter importance", 2014; through
        Optuna's `FanovaImportanceEvaluator`.

    Example:
        >>> from clframe.eval.protocol.space import space
        >>> tried = [({"a": a, "b": b}, a + 0.01 * b) for a in (1, 2, 3) for b in (1, 2, 3)]
        >>> found = importance(space("x", {"a": [1, 2, 3], "b": [1, 2, 3]}), [tried], seed=0)
        >>> found["a"] > 0.9 > 0.1 > found["b"]
        True
    """
    from optuna.importance import FanovaImportanceEvaluator

    total = dict.fromkeys(space, 0.0)
    counted = 0
    for i, tried in enumerate(experiences):
        known = [(values, score) for values, score in tried if score is not None]
        varied = [name for name in space if len({str(values[name]) for values, _ in known}) > 1]
        if len(known) < FEWEST or len({score for _, score in known}) < 2 or not varied:
            continue
        counted += 1
        study = remembered({name: space[name] for name in varied}, [({n: v[n] for n in varied}, s) for v, s in known])
        shares = FanovaImportanceEvaluator(seed=seed_for(seed, "importance", i) % 2**31).evaluate(study)
        for name, share in shares.items():
            total[name] += float(share)
    return {name: share / max(counted, 1) for name, share in total.items()}
