"""Every executor keeps the same promises, and gives the same numbers."""

from __future__ import annotations

import pickle
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from executor_tasks import Dying, Long, Square, equal

from clframe import errors
from clframe.comparison import plan
from clframe.errors import ClframeError, RunError
from clframe.executors import Executor, InProcess, executor


def test_outcomes_come_in_order_and_errors_are_outcomes_in_every_round(pool: Executor) -> None:
    for numbers in ([3, -1, 2, 5, 4], [7, 6], [-8]):
        told: dict[int, list[Any]] = defaultdict(list)
        outcomes = pool([Square(n, 0.1 * (n == 3)) for n in numbers], ended=lambda i, outcome, told=told: told[i].append(outcome))
        plain = [str(o) if isinstance(o, ClframeError) else o for o in outcomes]
        assert plain == [n**2 if n >= 0 else f"number must be positive; got {n}." for n in numbers]
        assert all(type(o) is RunError for o in outcomes if isinstance(o, ClframeError))
        assert {i: list(map(str, found)) for i, found in told.items()} == {i: [str(o)] for i, o in enumerate(outcomes)}
    assert pool([]) == []


def test_progress_is_delivered(pool: Executor) -> None:
    told: list[tuple[str, int, int]] = []
    pool([Square(2, 0.3), Square(3, 0.3)], progress=lambda *words: told.append(words))
    assert set(told) == {("square of 2", 1, 2), ("square of 3", 1, 2)}


def test_a_defect_is_raised_as_it_is(fresh: Executor) -> None:
    with pytest.raises(ZeroDivisionError, match="thirteen") as raised:
        fresh([Square(2), Square(13), Square(3)])
    assert type(raised.value) is ZeroDivisionError


def test_ctrl_c_lets_the_tasks_save(fresh: Executor, tmp_path: Path) -> None:
    tasks = [Long(tmp_path / f"task-{i}") for i in range(5)]

    def progress(name: str, n: int, total: int) -> None:
        if n > 0 and len(list(tmp_path.glob("*.begun"))) == 2:
            raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fresh(tasks, progress)
    assert time.monotonic() - start < 50
    begun = sorted(p.stem for p in tmp_path.glob("*.begun"))
    assert len(begun) == 2
    assert sorted(p.name for p in tmp_path.glob("task-?")) == begun


def test_a_killed_process_is_one_sentence(tmp_path: Path) -> None:
    with executor("processes", 2) as pool, pytest.raises(RunError, match="one was killed"):
        pool([Dying(tmp_path / "dying", 9), Dying(tmp_path / "healthy", 0)])


def test_errors_travel() -> None:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClframeError)]
    assert len(found) > 5
    for kind in found:
        back = pickle.loads(pickle.dumps(kind("x must be y; got z. Give y.")))
        assert type(back) is kind and str(back) == "x must be y; got z. Give y."


def test_results_are_equal_wherever_they_are_made(pool: Executor, tmp_path: Path) -> None:
    strategies = ["finetune", "er(size=50)", "ewc(samples=16)"]
    results: list[list[Any]] = []
    for name, where in (("here", InProcess()), ("there", pool)):
        results.append(where(plan("split-digits", strategies, 1, tmp_path / name, {"evaluate": "every(k=10)"})))
    for one, two in zip(*results, strict=True):
        equal(one, two)
    results[1][0].rows.loc[0, "correct"] = 0  # a table may be written to, wherever it was made
