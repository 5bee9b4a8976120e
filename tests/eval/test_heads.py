"""Heads measured beside the answer: from one forward, kept apart, and never in the way of what was there before."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

import clframe
from clframe.checkpoint import Checkpoint, Interrupted
from clframe.cli.output import as_dict
from clframe.eval.evaluator import Evaluator
from clframe.eval.metrics import METRICS, compute
from clframe.eval.plan import Every
from clframe.eval.records import Records
from clframe.eval.report import html, tables
from clframe.scenarios.catalog import build as scenario
from clframe.strategies import Learner, Part, Replay
from clframe.types import Step

MEASURED = ["n", "trained", "evaluated", "correct", "total", "subset", "bits"]


class Echo(Part):
    """The linear head's scores, again."""

    name, answers = "echo", False

    def read(self, features: torch.Tensor, logits: torch.Tensor, task: torch.Tensor | None) -> torch.Tensor:
        return logits


class Stubborn(Part):
    """Always the same class; nothing at all before the first update of the second experience."""

    name, answers, state = "stubborn", False, ("seen",)

    def __init__(self) -> None:
        self.seen = 0

    def begin(self, train: Any) -> None:
        self.seen += 1

    def read(self, features: torch.Tensor, logits: torch.Tensor, task: torch.Tensor | None) -> torch.Tensor:
        scores = torch.full_like(logits, -torch.inf)
        if self.seen > 1:
            scores[:, 3] = 1.0
        return scores


class Turned(Part):
    """Answers with the linear head's worst class."""

    name = "turned"

    def read(self, features: torch.Tensor, logits: torch.Tensor, task: torch.Tensor | None) -> torch.Tensor:
        return -logits


def run(*parts: Part, **options: Any) -> clframe.Result:
    given = {"evaluate": "every(k=7)", "subset": 30, "model": "mlp(hidden=[32])", **options}
    return clframe.run("split-digits", [Replay(size=40), *parts], **given)


@pytest.fixture(scope="module")
def both() -> clframe.Result:
    return run(Echo(), Stubborn(), bits=True)


def test_the_rows_of_the_answer_are_those_of_a_run_without_heads(both: clframe.Result) -> None:
    plain = run(bits=True)
    assert plain.heads == {}
    assert plain.head_rows is None
    assert list(both.rows.columns) == list(plain.rows.columns)
    pd.testing.assert_frame_equal(both.rows[MEASURED], plain.rows[MEASURED])
    pd.testing.assert_frame_equal(both.classes, plain.classes)
    assert both.metrics == plain.metrics
    assert both.budget.eval_samples == plain.budget.eval_samples


def test_each_head_has_its_own_rows_classes_and_metrics(both: clframe.Result) -> None:
    assert list(both.heads) == ["echo", "stubborn"]
    echo, stubborn = both.heads["echo"], both.heads["stubborn"]
    assert echo.strategy == f"{both.strategy} [echo]"
    assert list(echo.rows.columns) == list(both.rows.columns)
    pd.testing.assert_frame_equal(echo.rows[MEASURED], both.rows[MEASURED])
    pd.testing.assert_frame_equal(echo.classes, both.classes)
    assert echo.metrics == both.metrics
    assert compute(echo.curves) == compute(both.curves, METRICS)
    full = stubborn.rows[stubborn.rows.subset == "full"]
    assert (full[full.n == 0].correct == 0).all()  # no score, so nothing right
    assert full[full.n == full.n.max()].correct.sum() == stubborn.classes.query("n == n.max() and label == 3").total.sum()
    assert stubborn.metrics.worst_class_accuracy == 0.0
    assert stubborn.metrics.min_acc != both.metrics.min_acc
    assert stubborn.figure().axes[0].get_xlabel() == "updates"


def test_the_time_of_a_measurement_stands_once(both: clframe.Result) -> None:
    assert both.head_rows is not None
    assert (both.head_rows.seconds == 0).all()
    assert both.rows.seconds.sum() == pytest.approx(both.budget.eval_seconds)


def test_bits_of_a_head_hold_its_counts(both: clframe.Result) -> None:
    for row in both.heads["stubborn"].rows.itertuples():
        assert np.unpackbits(np.frombuffer(row.bits, dtype=np.uint8))[: row.total].sum() == row.correct


def test_the_linear_head_is_beside_where_a_part_answers() -> None:
    result = run(Turned())
    assert list(result.heads) == ["linear"]
    pd.testing.assert_frame_equal(result.heads["linear"].rows[MEASURED], run().rows[MEASURED])
    assert result.metrics.acc is not None
    assert result.heads["linear"].metrics.acc > result.metrics.acc  # type: ignore[operator]


def learner_on(stream: clframe.scenarios.Stream, *parts: Part) -> Learner:
    model = clframe.models.build("mlp", stream.data.train.input_shape, stream.num_classes)
    learner = Learner(model, torch.optim.SGD(model.parameters(), lr=0.1), *parts)
    learner.begin(stream.experiences[0].train)
    return learner


def test_all_heads_come_from_one_forward_and_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = scenario("split-digits", seed=0)
    learner = learner_on(stream, Echo(), Stubborn())
    before = {k: v.clone() for k, v in learner.model.state_dict().items()}
    forward, seen = learner.model.backbone.forward, []
    monkeypatch.setattr(learner.model.backbone, "forward", lambda x: (seen.append(len(x)), forward(x))[1])
    rows, classes = Evaluator(stream, Every()).everything(learner, 0, -1)
    assert sum(seen) == sum(r.total for r in rows if not r.head)
    assert {r.head for r in rows} == {c.head for c in classes} == {"", "echo", "stubborn"}
    assert learner.model.training
    assert all(torch.equal(v, before[k]) for k, v in learner.model.state_dict().items())


def test_shared_test_sets_count_for_every_head() -> None:
    stream = scenario("iid-digits", seed=0)
    learner = learner_on(stream, Echo())
    rows = Evaluator(stream, Every(), subset=50)(learner, Step(1, 1, 0, 0, 1, False))
    assert [r[:6] for r in rows if r.head] == [r[:6] for r in rows if not r.head]


@pytest.mark.parametrize("stop", [1, 8, 29, 30, 100])
def test_resume_is_exact_with_heads_and_representation(stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Checkpoint.save

    def save_and_stop(self: Checkpoint, step: Any) -> None:
        save(self, step)
        if step[0] >= stop:
            raise Interrupted

    options: dict[str, Any] = {"bits": True, "representation": "every(k=14)", "out": tmp_path / "run"}
    monkeypatch.setattr(Checkpoint, "save", save_and_stop)
    with pytest.raises(Interrupted):
        run(Echo(), Stubborn(), checkpoint_every=1, **options)
    monkeypatch.undo()
    halfway = clframe.load(tmp_path)[0]
    assert not halfway.finished
    assert list(halfway.heads) == ["echo", "stubborn"]
    assert halfway.heads["echo"].curves.k == halfway.curves.k
    assert halfway.representation.n.max() <= stop
    result, whole = run(Echo(), Stubborn(), **options), run(Echo(), Stubborn(), **{**options, "out": None})
    for found in (result, clframe.load(tmp_path)[0]):
        pd.testing.assert_frame_equal(found.head_rows, whole.head_rows)
        pd.testing.assert_frame_equal(found.head_classes, whole.head_classes)
        pd.testing.assert_frame_equal(found.representation, whole.representation)
        pd.testing.assert_frame_equal(found.rows[MEASURED], whole.rows[MEASURED])
        assert {k: h.metrics for k, h in found.heads.items()} == {k: h.metrics for k, h in whole.heads.items()}


def test_runs_of_before_can_be_read_and_gone_on_with(tmp_path: Path) -> None:
    plain = run(out=tmp_path / "run")
    files = {p.stem for p in (tmp_path / "run").glob("*.parquet")}
    assert files == {"subset", "records", "terms", "classes"}  # nothing new where there is nothing to say
    assert "representation" not in plain.spec["options"]
    assert "heads" not in json.loads((tmp_path / "run" / "metrics.json").read_text())
    found = clframe.load(tmp_path)[0]
    assert found.heads == {}
    assert len(found.representation) == 0
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["records"]
    assert state.pop("heads") == {}
    records = Records(plain.strategy, 0)
    records.load_state_dict(state)
    pd.testing.assert_frame_equal(records.rows(), plain.rows)
    assert records.head_rows() is None


def test_files_tables_and_the_page_show_the_heads(both: clframe.Result, tmp_path: Path) -> None:
    run(Echo(), Stubborn(), bits=True, out=tmp_path / "run")
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())["heads"]
    assert written == {k: dataclasses.asdict(h.metrics) for k, h in both.heads.items()} == as_dict(both)["heads"]
    stored = pd.read_parquet(tmp_path / "run" / "heads.parquet")
    assert stored.groupby("head").size().to_dict() == {"echo": len(both.rows), "stubborn": len(both.rows)}
    other = run(Echo(), Stubborn(), seed=1)
    plain = dataclasses.replace(run(), strategy="plain")
    results = clframe.Results([both, other, plain])
    name = f"{both.strategy} [stubborn]"
    assert results.strategies == [both.strategy, "plain"]
    assert results.heads.strategies == [both.strategy, f"{both.strategy} [echo]", name]
    assert results.heads.summary(name, "acc").n == 2
    assert name not in {line.strategy for line in tables.lines(results)}
    console = Console(file=io.StringIO(), width=80)
    console.print(tables.text(results))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count("split-digits: evaluation heads") == 1
    assert max(map(len, shown.splitlines())) <= 80
    page = html.render(results)
    assert page.count("<h3>Evaluation heads</h3>") == 1
    assert name in page
    assert "Evaluation heads" not in html.render(clframe.Results([plain]))
    assert page == html.render(results)
