"""Everything that clframe brings passes its own conformance suite."""

from __future__ import annotations

import pytest

from clframe.scenarios import catalog
from clframe.selection import MEMORIES
from clframe.strategies import STRATEGIES
from clframe.testing import Check, checks_for

STRATEGY_WORDS = [
    *STRATEGIES.table,
    "er(memory=class-balanced, new_share=0.5)",
    "ewc(fisher=sampled, samples=20)",
    "er+lwf+ewc",
]
SCENARIO_WORDS = {
    "blurry": "blurry(experiences=3)",
    "class-incremental": "class-incremental(experiences=3, validation=0.2)",
    "colour": "colour(experiences=2, validation=0.2)",
    "data-incremental": "data-incremental",
    "explicit": "explicit(experiences=[{'classes': [3, 7]}, {'classes': [1, 2]}], validation=0.2)",
    "gaussian": "gaussian",
    "long-tailed": "long-tailed(experiences=3)",
    "permuted": "online-permuted(experiences=2)",
    "recurring": "recurring(experiences=4, classes_per_experience=3)",
    "rotated": "rotated(angles=[0, 45])",
    "task-incremental": "task-incremental(experiences=3, reveals={'task_test': False})",
}
NEED_A_TABLE = {"table", "domains"}


def all_checks() -> list[object]:
    """One parameter a check, named after the thing and the check."""
    words = [*STRATEGY_WORDS, *SCENARIO_WORDS.values(), "split-digits", *MEMORIES]
    return [pytest.param(check, id=f"{thing}: {check.name}") for thing in words for check in checks_for(thing)]


@pytest.mark.parametrize("check", all_checks())
def test_conformance(check: Check) -> None:
    check()


def test_every_registered_scenario_is_checked() -> None:
    assert set(SCENARIO_WORDS) | NEED_A_TABLE == set(catalog.KINDS.table)
