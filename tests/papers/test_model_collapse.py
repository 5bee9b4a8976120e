"""The study of generations, from end to end on small data, and its arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clframe.errors import DataError
from clframe.generations.loop import Run
from clframe.generations.sources import source
from papers import runner, study
from papers.measured import Cell, Measured
from papers.model_collapse import closed_forms, generations, outcome, samples
from papers.model_collapse.groups import POLICIES
from papers.model_collapse.study import STUDY

LEAST: dict[str, dict[str, Any]] = {
    "linear": {"repetitions": 3},
    "gaussian": {"repetitions": 3},
    "vae": {"data": "digits", "generator": "vae(epochs=1,hidden=8,latent=2)", "rows": 60, "heldout": 40, "generations": 2},
    "language": {
        "generator": "language(vocabulary=258,width=4,heads=1,layers=1,epochs=1)",
        "rows": 20,
        "heldout": 8,
        "generations": 2,
    },
}


def small(group: Measured) -> Measured:
    cells = tuple(cell for cell in group.cells if cell.get("seed", 0) == 0)
    return replace(group, cells=cells, options={**group.options, **LEAST[group.name]})


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(["to", "be", "or", "not", "that", "is"], 8)) for _ in range(800)]
    (folder / "tinyshakespeare.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def finished(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("model_collapse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.Study, "folder", property(lambda self: folder))
        patch.setattr(generations, "LIMITS", replace(generations.LIMITS, near_rows=20, cells=5, exchanges=39, level=0.4))
        shrunk = replace(STUDY, groups=lambda scale: [small(g) for g in STUDY.groups(scale) if isinstance(g, Measured)])
        found = runner.run(shrunk, "default", data_dir=str(texts), out=folder / "runs", jobs=1, device="cpu")
        again = runner.run(shrunk, "default", data_dir=str(texts), out=folder / "runs", jobs=1, device="cpu")
    assert again == found, "finished cells are read, not measured again"
    return folder, found


def test_it_runs_from_end_to_end(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, found = finished
    assert found == json.loads((folder / "obtained.json").read_text())
    assert (folder / "collapse.png").stat().st_size > 5000 and (folder / "samples.png").stat().st_size > 5000
    page = (folder / "samples.md").read_text()
    assert page.count("\n## ") == 2 + 5 and "## sensitivity, distinct, generation 2" in page
    assert str(folder) not in json.dumps(found)
    values = {key: quantity["mean"] for key, quantity in found["quantities"].items()}
    assert [values[f"vae/{name}/rows/2"] for name in ("replace", "accumulate", "accumulate-subsample")] == [60, 120, 60]
    assert values["vae/replace/real_share/2"] == 0 and values["vae/accumulate/real_share/2"] == 0.5
    first = {values[f"vae/{name}/loss/1"] for name in ("replace", "accumulate", "sensitivity", "fixed-real")}
    assert len(first) == 1, "the first generation is the same for all policies"


def test_every_expectation_names_a_quantity_of_this_kind(finished: tuple[Path, dict[str, Any]]) -> None:
    expected = json.loads((study.HERE / "model_collapse" / "expected.json").read_text())["quantities"]
    assert [e["quantity"] for e in expected if e["quantity"] not in finished[1]["quantities"]] == []


def test_the_other_scale_differs_in_numbers_alone() -> None:
    for one, other in zip(STUDY.groups("default"), STUDY.groups("full"), strict=True):
        assert one.settings()["options"].keys() == other.settings()["options"].keys() and one.name == other.name


@pytest.mark.parametrize("name", ["replace", "accumulate-subsample", "sensitivity", "golden"])
def test_the_loop_in_memory_is_that_of_a_study(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("normal(d=2)", "gaussian", POLICIES[name], generations=3, seed=4, rows=30, heldout=20, out=str(tmp_path))
    real = source("normal(d=2)")(30, 20, 4, None)
    monkeypatch.setattr(closed_forms, "_looked_at", lambda made, _: float(made.score(real.heldout).mean()))
    walked = list(closed_forms.walk("gaussian", POLICIES[name], real.train, 3, 4))
    found = run(None)
    assert [count for _, count in walked] == [g.rows for g in found]
    np.testing.assert_allclose([value for value, _ in walked], [g.loss.mean() for g in found], rtol=1e-9)


def test_errors_and_variances_are_in_units_of_what_is_expected() -> None:
    options: dict[str, Any] = {"rows": 60, "generations": 1, "repetitions": 400}
    for model, dimensions in (("linear", 5), ("gaussian", 2)):
        found = closed_forms.measure(
            lambda done, whole: None, None, model=model, policy="accumulate", dimensions=dimensions, **options
        )
        mean = outcome.mean_of(np.asarray(found["values"])[:, 0])
        expected = 1 if model == "linear" else 1 - 1 / 60
        assert abs(mean.mean - expected) < 4 * (mean.high - mean.mean) / 1.96 and found["rows"] == [60]


def cell(policy: str, seed: int, loss: list[float], rings: list[list[str]]) -> Cell:
    n = len(loss)
    flat = {name: [1.0] * n for name in ("hard", "variance", "rows", "real_share")}
    return Cell({"policy": POLICIES[policy], "seed": seed}, {"loss": loss, **flat, "alarms": {}, "rings": rings}, {}, 0.0)


def test_what_is_read_off_the_runs_by_hand() -> None:
    cells = [
        cell("accumulate", 0, [10.0, 11.0], [[], []]),
        cell("accumulate-subsample", 0, [10.0, 13.0], [[], ["coverage"]]),
        cell("replace", 0, [10.0, 15.0], [["coverage"], ["loss_since_first", "coverage"]]),
    ]
    found = dict(outcome._of_model("vae", cells))
    assert found["vae/replace over accumulate/loss"] == {0: 4.0} and found["vae/replace/loss, rise"] == {0: pytest.approx(50)}
    assert found["vae/accumulate over accumulate-subsample/loss"] == {0: -2.0} and found["vae/replace/loss, change"] == {0: 5.0}
    assert found["vae/replace/loss rings first"] == {0: 2} and found["vae/accumulate/loss rings first"] == {0: None}
    assert found["vae/replace/alarms that ring/2"] == {0: 2} and "vae/accumulate over accumulate/loss" not in found
    assert outcome.mean_of(np.array([1.0, 3.0])).mean == 2


def test_texts_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold tinyshakespeare\.txt or text_tinyshakespeare\.txt\.gz"):
        generations._shakespeare(str(tmp_path))


def test_samples_side_by_side_and_texts_as_they_are() -> None:
    assert samples.tile(np.arange(8).reshape(8, 1, 1)).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert samples.tile(np.arange(16).reshape(4, 2, 2))[0].tolist() == [0, 1, 4, 5, 8, 9, 12, 13]
    one = Cell({"policy": POLICIES["replace"], "seed": 0}, {"samples": [["Real."], ["One."], ["``` two\x11\nb"]]}, {}, 0.0)
    assert samples.page({"replace": one}, "a.png").endswith("## replace, generation 2\n\n    [1]\n    ``` two?\n    b\n")
