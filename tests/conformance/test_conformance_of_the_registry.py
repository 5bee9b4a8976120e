"""Everything that clframe brings passes its own conformance suite."""

from __future__ import annotations

import numpy as np
import pytest

from clframe.data import Dataset, from_arrays
from clframe.scenarios import catalog, domains, from_table
from clframe.seeding import rng
from clframe.selection import MEMORIES
from clframe.strategies import STRATEGIES
from clframe.testing import Check, checks_for

STRATEGY_WORDS = [
    *STRATEGIES.table,
    "er(memory=class-balanced, new_share=0.5)",
    "er(memory=varopt, new_share=0.5)",
    "er(memory=varopt, fill=experience)",
    "ewc(fisher=sampled, samples=20)",
    "er+lwf+ewc",
]
SCENARIO_WORDS = {
    "blurry": "blurry(experiences=3)",
    "class-incremental": "class-incremental(experiences=3, validation=0.2)",
    "colour": "colour(experiences=2, validation=0.2)",
    "curated": "curated(stream=class-incremental(experiences=3),budget=20%,validation=0.2)",
    "data-incremental": "data-incremental",
    "explicit": "explicit(experiences=[{'classes': [3, 7]}, {'classes': [1, 2]}], validation=0.2)",
    "gaussian": "gaussian",
    "long-tailed": "long-tailed(experiences=3)",
    "permuted": "online-permuted(experiences=2)",
    "recurring": "recurring(experiences=4, classes_per_experience=3)",
    "rotated": "rotated(angles=[0, 45])",
    "self-consuming": "self-consuming(generator='vae(epochs=1,hidden=16,conditional=true)',generations=2,rows=99,validation=0.2)",
    "task-incremental": "task-incremental(experiences=3, reveals={'task_test': False})",
}
NEED_A_TABLE = {"table": from_table, "domains": domains}


def table() -> Dataset:
    """Rows with a day."""
    y, day = np.arange(60) % 3, np.arange(60) // 20
    x = rng(0, "table").random((60, 4))
    return from_arrays(x, y, x, y, columns={"day": day}, columns_test={"day": day})


def all_checks() -> list[object]:
    """One parameter a check, named after the thing and the check."""
    words = [*STRATEGY_WORDS, *SCENARIO_WORDS.values(), "split-digits", *MEMORIES]
    planned = {thing: checks_for(thing) for thing in words}
    options = {"data": table(), "column": "day", "validation": 0.2}
    planned |= {name: checks_for(kind, options) for name, kind in NEED_A_TABLE.items()}
    return [pytest.param(check, id=f"{thing}: {check.name}") for thing, checks in planned.items() for check in checks]


@pytest.mark.parametrize("check", all_checks())
def test_conformance(check: Check) -> None:
    check()


def test_every_registered_scenario_is_checked() -> None:
    assert set(SCENARIO_WORDS) | set(NEED_A_TABLE) == set(catalog.KINDS.table)
