"""The code that reproduces papers: its measures, its checks, its pages. The runs themselves are made by `python -m papers`."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clframe
from clframe.eval.metrics import dip
from papers import __main__ as command
from papers import measures, reproduced, runner, study, tuning

EVERY = [study.load(name) for name in study.names()]
ROOT = Path(__file__).parents[2]


def names(entries: list[Any]) -> list[str]:
    return [entry.name for entry in entries]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST and CIFAR-100 in shape only: a few random images, classes told apart by one bright pixel."""
    folder = tmp_path_factory.mktemp("data")
    for name, shape, classes, per_class in (("mnist", (28, 28), 10, 20), ("cifar100", (32, 32, 3), 100, 4)):
        generator = np.random.default_rng(0)
        y = np.repeat(np.arange(classes), per_class)
        x = generator.integers(0, 60, (len(y), *shape), dtype=np.uint8)
        x[np.arange(len(y)), y % 28, y // 28] = 255
        np.savez(folder / f"{name}.npz", x_train=x, y_train=y, x_test=x[::2], y_test=y[::2])
    return folder


@pytest.mark.parametrize("one", EVERY, ids=names(EVERY))
def test_a_folder_is_complete_and_its_expectations_name_quantities_that_were_obtained(one: study.Study) -> None:
    expected = json.loads((one.folder / "expected.json").read_text())
    assert (one.folder / "NOTES.md").exists() and one.picture("default").exists()
    keys = [entry["quantity"] for entry in expected["quantities"]]
    assert len(set(keys)) == len(keys)
    found = json.loads(one.obtained("default").read_text())
    assert set(keys) <= set(found["quantities"])
    for entry in expected["quantities"]:
        assert set(entry) == {"quantity", "says", "unit", "expected", "source"}
        reproduced.says(entry["expected"])


@pytest.mark.parametrize("one", EVERY, ids=names(EVERY))
def test_obtained_was_written_with_the_settings_that_the_code_has(one: study.Study) -> None:
    for scale in study.SCALES:
        if one.obtained(scale).exists():
            found = json.loads(one.obtained(scale).read_text())
            settings = {g.name: g.settings() for g in one.groups(scale)}
            assert found["settings"] == json.loads(json.dumps(settings))
            assert found["what"] == one.scales[scale]
            for quantity in found["quantities"].values():
                if not quantity["values"]:  # its interval does not come from seeds
                    assert quantity["low"] <= quantity["mean"] <= quantity["high"]
                    continue
                again = runner.summary({int(s): v for s, v in quantity["values"].items()})
                assert again["mean"] == (None if quantity["mean"] is None else pytest.approx(quantity["mean"], rel=1e-4))
                assert again["n"] == quantity["n"]


def test_the_page_is_the_one_that_the_files_give() -> None:
    assert reproduced.PAGE.read_text() == reproduced.page(), "run `python -m papers table`"


@pytest.mark.parametrize("one", [s for s in EVERY if s.grid], ids=names([s for s in EVERY if s.grid]))
def test_the_settings_are_the_best_of_the_recorded_trials(one: study.Study) -> None:
    assert one.grid is not None and one.chosen
    found = json.loads((one.folder / tuning.FILE).read_text())
    for fixed, options in one.chosen:
        assert tuning.best(found, **fixed) == options
    assert (found["scenario"], found["strategy"], found["seeds"]) == (one.grid.scenario, one.grid.strategy, list(one.grid.seeds))
    size = int(np.prod([len(v) for v in one.grid.choices.values()]))
    assert len(found["trials"]) == size
    assert all(g.options["tuning_trials"] == size * len(one.grid.seeds) for g in one.groups("default") if "tuning" in g.options)
    assert not set(one.grid.seeds) & set(range(100)), "the seeds of trials are reported nowhere"


def test_a_trial_that_diverged_comes_last() -> None:
    grid = study.Grid("s", "er", {}, {"lr": (1.0, 0.1)}, (), seeds=(0, 1))
    found = tuning.table(grid, [{"lr": 1.0}, {"lr": 0.1}], [None, 50.0, 20.0, 40.0])
    assert [t["acc"] for t in found["trials"]] == [30.0, None]
    assert tuning.best(found) == {"lr": 0.1}


def summary(*values: float) -> dict[str, Any]:
    return runner.summary(dict(enumerate(values)))


@pytest.mark.parametrize(
    ("expected", "values", "verdict"),
    [
        ({"check": "overlap", "mean": 50.8, "sd": 8.7, "seeds": 5}, (60.0, 61.0, 62.0), True),
        ({"check": "overlap", "mean": 50.8, "sd": 8.7, "seeds": 5}, (80.0, 81.0, 82.0), False),
        ({"check": "within", "value": 5.3, "tolerance": 2.6}, (7.8, 7.8), True),
        ({"check": "within", "value": 5.3, "tolerance": 2.6}, (8.0, 8.0), False),
        ({"check": "at least", "value": 20}, (19.0, 22.0), True),
        ({"check": "at most", "value": 0}, (0.0, 0.0), True),
        ({"check": "at most", "value": 0}, (0.0, 1e-9), False),
        ({"check": "above", "value": 0}, (1.0, 1.1, 0.9), True),
        ({"check": "above", "value": 0}, (1.0, -0.9, 0.2), False),
        ({"check": "above", "value": 0}, (1.0,), False),
        ({"check": "below", "value": 1}, (0.5, 0.51, 0.49), True),
        ({"check": "below", "value": 1}, (0.8, 1.9, 0.2), False),
        ({"check": "below", "value": 1}, (0.5,), False),
        (None, (1.0,), None),
        ({"check": "at least", "value": 0}, (), None),
    ],
)
def test_agreement(expected: dict[str, Any] | None, values: tuple[float, ...], verdict: bool | None) -> None:
    assert reproduced.agrees(expected, summary(*values)) is verdict


def test_the_first_task_at_a_switch_by_hand() -> None:
    curves = dip()  # the first task: 0.5, 0.8, 0.9 | 0.3, 0.7
    assert measures.task1_before(curves) == pytest.approx(90)
    assert measures.task1_lowest(curves) == pytest.approx(30)
    assert measures.task1_fall(curves) == pytest.approx(60)
    assert measures.task1_recovered(curves) == pytest.approx(100 * 0.4 / 0.6)
    assert measures.task1_forgetting(curves) == pytest.approx(20)


def test_differences_are_taken_seed_by_seed() -> None:
    assert measures.difference({0: 3.0, 1: None, 2: 5.0}, {0: 1.0, 1: 2.0}) == {0: 2.0, 1: None}


def test_gradients_at_a_switch_and_curves_around_it() -> None:
    options = {"grad_decomposition": True, "batch_size": 100, "evaluate": "every(k=3)"}
    result = clframe.run("split-digits(experiences=2)", "finetune", seed=0, **options)
    end = result.curves.ends[0]
    rows = result.terms[result.terms.n == end + 1].set_index("term").value
    assert measures.gradient(result, "plasticity")[end] == rows["grad/plasticity"]
    assert measures.first_update_ratio(result) == 0.0
    assert measures.stability_growth(result) is None
    (values,) = measures.around(clframe.Results([result]), 0, range(-end - 1, 2), measures.task1_curve)
    assert np.isnan(values[0]) and values[end + 1] == measures.task1_before(result.curves)
    assert values[1] == 100 * result.accuracy[0, 0] and np.isnan(values[2])


OF_RUNS = [s for s in EVERY if all(isinstance(g, study.Group) for g in s.groups("default"))]
LONG = ("dst", "hyperinterval")  # 150 runs, 63 runs
SHORT = [pytest.param(s, marks=[pytest.mark.slow] if s.name in LONG else []) for s in OF_RUNS]


@pytest.mark.parametrize("one", SHORT, ids=names(OF_RUNS))
def test_a_study_runs_from_end_to_end(one: study.Study, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.Study, "folder", property(lambda self: tmp_path))
    least = {"epochs": 1, "batch_size": 10, "subset": 2, "model": "mlp(hidden=(16,))", "threads": 1}
    groups = [g for g in one.groups("default") if isinstance(g, study.Group)]
    small = [study.Group(g.name, g.scenarios, g.strategies, {**g.options, **least}, seeds=2) for g in groups]
    shrunk = study.Study(one.name, one.title, one.scales, lambda scale: small, one.quantities, one.figure)
    found = runner.run(shrunk, "default", data_dir=str(tiny), out=tmp_path / "runs", jobs=1, device="cpu")
    assert found == json.loads((tmp_path / "obtained.json").read_text())
    assert (tmp_path / "task1.png").stat().st_size > 5000
    keys = {e["quantity"] for e in json.loads((study.HERE / one.name / "expected.json").read_text())["quantities"]}
    assert keys <= set(found["quantities"])
    assert str(ROOT) not in json.dumps(found) and str(tmp_path) not in json.dumps(found)


def test_an_unknown_paper_is_answered_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["stability_gap_split_mnits"]) == 2
    assert "Did you mean 'stability_gap_split_mnist'" in capsys.readouterr().err


def test_without_a_name_the_names_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    assert all(name in capsys.readouterr().out for name in study.names()[:1])


def test_files_and_functions_stay_small() -> None:
    for file in [*study.HERE.glob("*.py"), *(f for s in EVERY for f in (study.HERE / s.name).glob("*.py"))]:
        text = file.read_text()
        assert len(text.splitlines()) <= 300, file
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                assert node.end_lineno - node.lineno < 60, f"{file}: {node.name}"
