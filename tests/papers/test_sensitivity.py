"""The study of sensitivity sampling, from end to end on small data, and its arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clframe.errors import DataError
from clframe.selection import pool_of
from papers import runner, study
from papers.measured import Measured
from papers.sensitivity import accuracy, designs, embeddings, images, least_squares, mean_loss, network, outcome
from papers.sensitivity.study import STUDY

LEAST: dict[str, dict[str, Any]] = {
    "mean": {"sizes": [[20, 200]], "draws": 3, "components": 8},
    "accuracy": {"sizes": [100], "scorer": 200, "hidden": 16, "limits": {"cells": 8, "candidates": 200, "greedy": 100}},
    "squares": {"sizes": [100], "cells": 10, "draws": 3},
}
SCORER = {"rows": 200, "hidden": 16, "passes": 4, "batch": 32, "lr": 0.01, "seed": 0}
TRAINING = {"passes": 2, "batch": 32, "lr": 0.01}


def small(group: Measured) -> Measured:
    more = {"mean": {"scorer": SCORER}, "accuracy": {"training": TRAINING}, "squares": {}}[group.name]
    cells: tuple[dict[str, Any], ...] = ({"data": "gauss"},) if group.name == "squares" else ({"data": "digits"},)
    if group.name == "accuracy":
        cells = tuple({"data": "digits", "seed": seed} for seed in range(2))
    return replace(group, cells=cells, options={**group.options, **LEAST[group.name], **more})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sensitivity")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.Study, "folder", property(lambda self: folder))
        shrunk = replace(STUDY, groups=lambda scale: [small(g) for g in STUDY.groups(scale) if isinstance(g, Measured)])
        found = runner.run(shrunk, "default", data_dir=None, out=folder / "runs", jobs=1, device="cpu")
        again = runner.run(shrunk, "default", data_dir=None, out=folder / "runs", jobs=1, device="cpu")
    assert again == found, "finished cells are read, not measured again"
    return folder, found


def test_it_runs_from_end_to_end(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, found = finished
    assert found == json.loads((folder / "obtained.json").read_text())
    assert (folder / "ratio.png").stat().st_size > 5000
    assert len(list((folder / "runs").rglob("*.json"))) == 4 and not list((folder / "runs").rglob("*.tmp"))
    assert str(folder) not in json.dumps(found)
    ratios = {k: v["mean"] for k, v in found["quantities"].items() if k.endswith("/uniform") and k.startswith("mean/")}
    assert len(ratios) == 6 and all(0.1 < value < 4 for value in ratios.values())


def test_every_expectation_names_a_quantity_of_this_kind(finished: tuple[Path, dict[str, Any]]) -> None:
    expected = json.loads((study.HERE / "sensitivity" / "expected.json").read_text())["quantities"]
    renamed = {
        "mnist": "digits",
        "fashion-mnist": "digits",
        "cifar100": "digits",
        "k400": "k20",
        "1000": "100",
        "4000": "100",
        "500": "100",
    }
    for entry in expected:
        if not entry["quantity"].startswith("squares"):
            key = "/".join(renamed.get(part, part) for part in entry["quantity"].split("/"))
            assert key in finished[1]["quantities"], entry["quantity"]


def test_the_other_scale_differs_in_numbers_alone() -> None:
    for one, other in zip(STUDY.groups("default"), STUDY.groups("full"), strict=True):
        assert one.settings()["options"].keys() == other.settings()["options"].keys() and one.name == other.name


def test_the_exact_error_of_uniform_is_that_of_many_draws() -> None:
    loss = np.exp(np.random.default_rng(0).normal(size=400))
    random = np.random.default_rng(1)
    errors = [loss[random.choice(400, 50, replace=False)].mean() / loss.mean() - 1 for _ in range(20_000)]
    assert mean_loss.uniform_error(loss, 50) == pytest.approx(float(np.sqrt(np.mean(np.square(errors)))), rel=0.02)


def test_calibration_pays_for_the_losses_of_the_centres() -> None:
    x = np.random.default_rng(0).normal(size=(500, 2))
    pool = pool_of(x, loss=np.exp(x[:, 0]))
    cells = mean_loss.cluster(pool, mean_loss.KMeans(k=20), seed=0)
    paid = mean_loss._trial("greg(controls=proxy)", pool, cells, 50, 3)
    free = mean_loss._trial("greg(controls=proxy)", pool_of(x, loss=np.exp(x[:, 0]), proxy=x[:, 0] + 4), cells, 50, 3)
    assert 50 < paid["queries"] <= 70 and free["queries"] == 50
    assert len(paid["errors"]) == 3 and paid["uniform"] == mean_loss.uniform_error(pool.numbers("loss"), paid["queries"])


def test_networks_trained_together_are_those_trained_alone() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 5)).astype(np.float32), random.integers(0, 3, 60)
    rows = np.stack([np.arange(20), np.arange(20, 40)])
    weights = np.stack([np.ones(20), random.random(20)])
    options: dict[str, Any] = {"passes": 3, "batch": 8, "lr": 0.01, "seed": 0}
    both = network.train(network.Networks.fresh(2, 5, 4, 3, 0), x, y, rows, weights, **options)
    alone = network.train(network.Networks.fresh(1, 5, 4, 3, 0), x, y, rows[1:], weights[1:], **options)
    for one, other in zip(both.parameters, alone.parameters, strict=True):
        np.testing.assert_allclose(one[1].detach(), other[0].detach(), atol=1e-6)


def test_rows_of_weight_zero_change_nothing() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 5)).astype(np.float32), random.integers(0, 3, 20)
    options: dict[str, Any] = {"passes": 2, "batch": 4, "lr": 0.01, "seed": 0}
    weights = np.array([[1.0, 2.0, 1.0, 0.0]])
    found = [
        network.outputs(network.train(network.Networks.fresh(1, 5, 4, 3, 0), x, y, np.array([rows]), weights, **options), x)
        for rows in ([0, 1, 2, 3], [0, 1, 2, 9])
    ]
    np.testing.assert_array_equal(found[0].log_probabilities, found[1].log_probabilities)


def test_choices_are_distinct_rows_of_the_data_with_weights_about_one() -> None:
    random = np.random.default_rng(0)
    ids = np.arange(300) * 2
    pool = pool_of(random.normal(size=(300, 4)), ids=ids, loss=random.random(300), label=random.integers(0, 3, 300), margin=ids)
    limits = accuracy.Limits(cells=10, candidates=100, greedy=40)
    found = accuracy.choices(pool, 40, limits.methods(40), limits, seed=0)
    assert list(found) == list(accuracy.METHODS) and set(limits.methods(41)) == set(accuracy.METHODS) - set(accuracy.GREEDY)
    for name, (rows, weights) in found.items():
        assert len(set(rows.tolist())) == len(rows) <= 40 and set(rows.tolist()) <= set(ids.tolist())
        assert weights.mean() == pytest.approx(1, abs=0.2) and (name not in accuracy.UNWEIGHTED or set(weights) == {1.0})
    assert found["margin"][0].tolist() == ids[:40].tolist()
    np.testing.assert_array_equal(found["sensitivity"][0], found["sensitivity, unweighted"][0])


def test_ratios_and_their_intervals() -> None:
    errors = np.random.default_rng(0).normal(size=500)
    found = outcome.ratio(outcome.root_mean_square, errors.tolist(), 0.5)
    assert found.mean == pytest.approx(2, abs=0.15) and found.low < found.mean < found.high and found.n == 500
    doubled = outcome.ratio(outcome.root_mean_square, (2 * errors).tolist(), errors.tolist(), scale=2)
    assert doubled.mean == pytest.approx(1) and doubled.low < 1 < doubled.high


def test_embeddings_come_from_the_worst_to_the_best_and_tell_more_and_more() -> None:
    data = images.images("digits", None)
    scored = embeddings.scored(data, **SCORER)
    found = dict(embeddings.pools(data, scored, 8))
    assert list(found) == [name for name in embeddings.WORST_TO_BEST if name != "pretrained"]
    assert found["pca"].d == 8 and found["log-probabilities + label"].d == 20 and "proxy" in found["logged"].columns
    loss = found["pixels"].numbers("loss")
    np.testing.assert_allclose(loss, -scored.whole.log_probabilities[np.arange(len(data.y)), data.y], atol=1e-6)


def test_least_squares_of_a_design(tmp_path: Path) -> None:
    found = least_squares.measure(lambda done, whole: None, None, data="clusters", sizes=[10, 50], cells=50, draws=2)
    assert list(found["excess"]) == [f"50/{name}" for name in least_squares.METHODS], "10 rows are too few for 21 columns"
    assert all(value >= 0 for values in found["excess"].values() for value in values)
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    np.savez(tmp_path / "uci_regression.npz", bike=np.column_stack([x, np.ones(50), x.sum(1)]))
    read = designs.design("bike", str(tmp_path))
    assert read.x.shape == (50, 3) and read.y.std() == pytest.approx(1)
    with pytest.raises(DataError, match=r"california_housing\.npz must be an \.npz file"):
        designs.design("california", str(tmp_path))


def test_what_cannot_be_measured_is_said_and_the_rest_is_kept(tmp_path: Path) -> None:
    group = Measured("squares", least_squares.measure, ({"data": "gauss"}, {"data": "bike"}), small_squares())
    with pytest.raises(DataError, match=r"squares, bike: .*uci_regression\.npz must be"):
        group.run(study.Place(str(tmp_path), tmp_path / "runs", 1, "cpu"), lambda name, done, whole: None)
    assert [path.name.split("-")[0] for path in (tmp_path / "runs").rglob("*.json")] == ["gauss"]


def small_squares() -> dict[str, Any]:
    return {"sizes": [100], "cells": 10, "draws": 1}
