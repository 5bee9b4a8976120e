"""Capacity in results: stored and read back, told in a sentence, drawn; and absent where a method has none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import clframe
from clframe.errors import OptionError
from clframe.eval.report import capacity, html
from clframe.eval.report.capacity import Capacity
from clframe.eval.report.capacity_figures import overlap_figure, owners_figure, tasks_figure
from clframe.eval.result import Result, Results
from clframe.strategies import Setup
from clframe.strategies.sparse.capacity import tables

OPTIONS = {"evaluate": "boundaries", "model": "mlp(hidden=[20,20])", "report": False}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return clframe.run("task-split-digits", "packnet", out=tmp_path_factory.mktemp("runs") / "one", **OPTIONS)


@pytest.fixture(scope="module")
def other() -> Result:
    return clframe.run("task-split-digits", "finetune", **OPTIONS)


def filled(result: Result, *tasks: dict[str, str]) -> Result:
    """The same run, had its tasks owned these weights."""
    masks = [(t, {n: torch.tensor([c == "1" for c in bits]) for n, bits in m.items()}) for t, m in enumerate(tasks)]
    return replace(result, **tables(masks))


def test_a_run_directory_gives_them_back(result: Result, tmp_path: Path) -> None:
    assert result.path is not None
    again = clframe.load(result.path)[0]
    for name in ("capacity", "overlap"):
        assert (result.path / f"{name}.parquet").exists()
        pd.testing.assert_frame_equal(getattr(again, name), getattr(result, name))
    finished = clframe.run("task-split-digits", "packnet", out=result.path, **OPTIONS)
    pd.testing.assert_frame_equal(finished.capacity, result.capacity)
    assert "<h3>Capacity</h3>" in again.report(tmp_path / "report.html").read_text()


def test_a_directory_of_an_earlier_version_is_read_as_before(tmp_path: Path) -> None:
    made = clframe.run("task-split-digits", "packnet", out=tmp_path / "old", **OPTIONS)
    for name in ("capacity", "overlap"):
        (tmp_path / "old" / f"{name}.parquet").unlink()
    old = clframe.load(tmp_path / "old")[0]
    assert old.capacity is None
    assert old.overlap is None
    pd.testing.assert_frame_equal(old.rows, made.rows)
    assert "<h3>Capacity</h3>" not in html.render(Results([old]))


def test_a_method_without_subnets_has_none(other: Result, tmp_path: Path) -> None:
    assert other.capacity is None
    assert other.overlap is None
    assert "<h3>Capacity</h3>" not in html.render(Results([other]))
    with pytest.raises(OptionError, match="a run with a capacity table; got 'finetune'"):
        other.capacity_figure()


def test_the_page_has_a_part_for_each_strategy_that_has_one(result: Result, other: Result) -> None:
    first = replace(result, strategy="dst")
    page = html.render(Results([result, replace(result, seed=1), other, first]))
    assert page.count("<h3>Capacity</h3>") == 1
    part = page.partition("<h3>Capacity</h3>")[2].partition("<h3>")[0]
    assert re.findall(r"<b>(\w+)</b>", part) == ["packnet", "dst"]
    assert part.count("All of this is seed 0") == 1
    assert part.count('aria-label="Overlap of two subnets') == 2
    assert page == html.render(Results([result, replace(result, seed=1), other, first]))


def test_the_answer_comes_first(result: Result) -> None:
    c = Capacity.of(filled(result, {"backbone.a.weight": "1100", "b": "1000"}, {"backbone.a.weight": "0111", "b": "1000"}))
    assert c.layers == ["all layers", "a", "b"]
    assert capacity.answer(c) == (
        "owns 62 % of the 8 masked weights after 2 tasks; a is the fullest layer: 100 %. A further task would find 38 % free, and "
        "nothing in a. Of what the last task computes with, 50 % is shared with tasks before it; the subnets of two tasks overlap "
        "by 0.40 on average (0.33 if drawn at random)."
    )
    one = Capacity.of(filled(result, {"a": "1000"}))
    assert capacity.answer(one) == "owns 25 % of the 4 masked weights after 1 task. A further task would find 75 % free."
    even = Capacity.of(filled(result, {"a": "10", "b": "1100"}))
    assert "owns 50 % of the 6 masked weights after 1 task, in every layer alike." in capacity.answer(even)


def test_the_table_has_a_line_for_each_layer(result: Result) -> None:
    lines = capacity.lines(Capacity.of(filled(result, {"a": "1100", "b": "1000"}, {"a": "0111", "b": "1000"})))
    assert [(x.layer, x.size, x.end) for x in lines] == [
        ("all layers", "8", ["62", "38", "25", "25", "0.40"]),
        ("a", "4", ["100", "0", "50", "25", "0.25"]),
        ("b", "4", ["25", "75", "0", "25", "1.00"]),
    ]
    assert [(x.own, x.shared, x.free, x.owned) for x in lines[1].cells] == [("50", "0", "50", 0.5), ("50", "25", "0", 1.0)]


@pytest.mark.parametrize("count", [1, 2, 12, 13, 30])
def test_figures_have_axes_with_units(result: Result, count: int) -> None:
    c = Capacity.of(filled(result, *({"a": f"{1 << t:031b}"} for t in range(count))))
    owners, tasks = owners_figure(c), tasks_figure(c)
    assert owners.axes[0].get_xlabel() == "share of the layer's weights, %"
    assert (tasks.axes[0].get_xlabel(), tasks.axes[0].get_ylabel()) == ("after task", "weights, %")
    if count > 1:
        ax = overlap_figure(c).axes[0]
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("earlier task", "later task")
        assert sum(t.get_text() == ".00" for t in ax.texts) == (count * (count - 1) // 2 if count <= 12 else 0)


def test_a_strategy_of_ones_own_may_say_its_capacity_or_mean_something_else_by_it(result: Result) -> None:
    class Told(clframe.strategies.Learner):
        """Says what it was told to say."""

        says: object = None

        def capacity(self) -> object:
            return self.says

    def run() -> Result:
        def made(setup: Setup) -> Told:
            return Told(setup.model, setup.optimizer(setup.model.parameters()))

        return clframe.run("task-split-digits", made, **OPTIONS)

    assert run().capacity is None
    Told.says = 3
    assert run().capacity is None
    Told.says = {"capacity": result.capacity, "overlap": result.overlap}
    assert run().capacity is result.capacity
