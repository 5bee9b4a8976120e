"""Exports of runs whose tasks share classes or whose streams change their inputs, and of layers that do not say all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import clframe
from clframe.exporting.flat import NotWritableError, constructor
from clframe.exporting.restored import restored


def test_each_inferred_task_has_a_head_of_its_own_and_changed_inputs_are_named(tmp_path: Path) -> None:
    words = "dst(density=0.3,infer=entropy,period=5)"
    run = tmp_path / "run"
    clframe.run("permuted-digits(experiences=2)", words, evaluate="boundaries", report=False, out=run)
    for task in (0, 1):
        made = clframe.export(run, task, tmp_path / f"task{task}", onnx=False, rounds=2)
        assert made.row("dense").difference < 1e-5 and len(made.classes) == 10
        about = json.loads((tmp_path / f"task{task}" / "export.json").read_text())
        assert about["input"]["normalisation"] is None and about["input"]["changed_by"]
        assert any("give the net what the stream gives" in note for note in made.notes)
    found = restored(run)
    x = found.stream.data.test.fetch(torch.from_numpy(found.stream.tests[0]))
    zero, one = (found.strategy.scores_of(task, x) for task in (0, 1))  # type: ignore[attr-defined]
    assert not torch.allclose(zero, one)


def test_a_layer_that_does_not_say_all_about_itself_is_not_written_as_another() -> None:
    assert constructor(nn.AvgPool2d(2)) == "nn.AvgPool2d(kernel_size=2, stride=2, padding=0)"
    with pytest.raises(NotWritableError, match="AvgPool2d does not say how"):
        constructor(nn.AvgPool2d(3, padding=1, count_include_pad=False))
