"""RankMe and alpha-ReQ: exact values, invariances, and measuring them in a run without a trace."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import clframe
from clframe.errors import DataError, OptionError
from clframe.eval.evaluator import Evaluator
from clframe.eval.metrics import alpha_req, rankme
from clframe.eval.metrics.representation import MEASURES, measures
from clframe.eval.plan import Boundaries, Every
from clframe.eval.probe import Tap
from clframe.eval.report import html
from clframe.eval.report.series import representation_track
from clframe.eval.representation import ALL
from clframe.scenarios.catalog import build as scenario
from clframe.types import Step

Measure = Callable[[torch.Tensor], float | None]
FUNCTIONS: list[Measure] = [
    rankme,
    alpha_req,
    lambda f: rankme(f, "singular"),
    lambda f: rankme(f, centre=False),
    lambda f: alpha_req(f, "singular", ranks=(1, 20)),
]


def features(n: int = 300, d: int = 40) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=g, dtype=torch.float64) * torch.arange(1.0, d + 1) ** -0.7 + 2.0


def spectral(values: torch.Tensor, n: int | None = None) -> torch.Tensor:
    """Centred features whose covariance has these eigenvalues."""
    d = len(values)
    n = n or 4 * d
    q = torch.linalg.qr(torch.randn(n, d + 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    basis = torch.linalg.qr(torch.cat([torch.ones(n, 1, dtype=torch.float64), q[:, :d]], dim=1))[0][:, 1:]
    return basis * (n * values).sqrt()


def test_golden_values() -> None:
    diagonal = torch.diag(torch.tensor([4.0, 2.0, 1.0, 1.0]))
    assert rankme(diagonal, centre=False) == pytest.approx(2.276322, abs=5e-7)
    assert rankme(diagonal, "singular", centre=False) == pytest.approx(3.363586, abs=5e-7)


@pytest.mark.parametrize("alpha", [0.5, 1.3, 2.0])
def test_a_power_law_has_its_exponent(alpha: float) -> None:
    made = spectral(torch.arange(1.0, 121.0, dtype=torch.float64) ** -alpha)
    assert alpha_req(made) == pytest.approx(alpha, abs=1e-9)
    assert alpha_req(made, "singular") == pytest.approx(alpha / 2, abs=1e-9)
    assert alpha_req(made, ranks=(1, 120)) == pytest.approx(alpha, abs=1e-9)
    assert alpha_req(made[:, :50]) == pytest.approx(alpha, abs=1e-9)  # ranks 10 to 50: those that there are


@pytest.mark.parametrize("d", [1, 2, 7, 64])
def test_isotropic_is_d_and_a_line_is_1(d: int) -> None:
    even = spectral(torch.ones(d, dtype=torch.float64))
    assert rankme(even) == pytest.approx(d)
    assert rankme(even, "singular") == pytest.approx(d)
    line = torch.randn(50, 1, dtype=torch.float64) @ torch.randn(1, d, dtype=torch.float64)
    for dtype in (torch.float64, torch.float32):
        assert rankme(line.to(dtype)) == pytest.approx(1, abs=1e-6)
    assert rankme(line, "singular") == pytest.approx(1, abs=1e-6)
    assert alpha_req(line) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_what_does_not_vary_is_not_defined(dtype: torch.dtype) -> None:
    row = torch.randn(1, 30, generator=torch.Generator().manual_seed(3)).to(dtype)
    for nothing in (torch.zeros(20, 30, dtype=dtype), row.expand(1000, 30), row * 1000, row.expand(7, 30) + 100):
        assert dict(measures(nothing)) == dict.fromkeys(MEASURES)
    assert rankme(torch.zeros(5, 5), centre=False) is None
    broken = torch.randn(9, 5)
    broken[3, 2] = torch.inf
    assert dict(measures(broken)) == dict.fromkeys(MEASURES)


@pytest.mark.parametrize("measure", FUNCTIONS)
def test_invariances(measure: Measure) -> None:
    f = features()
    value = measure(f)
    assert value is not None
    turn = torch.linalg.qr(torch.randn(40, 40, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    shuffled = f[torch.randperm(len(f), generator=torch.Generator().manual_seed(4))]
    for same in (f @ turn, 1e-3 * f, 1e4 * f, torch.cat([f, f]), f.repeat_interleave(3, 0), shuffled, torch.cat([f, 0 * f], 1)):
        assert measure(same) == pytest.approx(value, rel=1e-9)
    assert measure(f.numpy()) == value  # type: ignore[arg-type]
    assert measure(f.float()) == pytest.approx(value, rel=1e-4)


@pytest.mark.parametrize(("n", "d"), [(300, 40), (25, 40), (40, 40)])
def test_against_the_definition(n: int, d: int) -> None:
    f = features(n, d).numpy()
    centred = f - f.mean(0)
    singular = np.linalg.svd(centred, compute_uv=False)
    singular = singular[singular > 1e-9]
    for spectrum, s in (("eigen", singular**2 / n), ("singular", singular)):
        p = s / s.sum()
        assert rankme(torch.from_numpy(f), spectrum) == pytest.approx(np.exp(-(p * np.log(p)).sum()))  # type: ignore[arg-type]
        ranks = np.arange(10, min(100, len(s)) + 1)
        slope = np.polyfit(np.log(ranks), np.log(s[9:100]), 1)[0]
        assert alpha_req(torch.from_numpy(f), spectrum) == pytest.approx(-slope)  # type: ignore[arg-type]
    assert list(measures(torch.from_numpy(f)).values()) == [rankme(f), rankme(f, "singular"), alpha_req(f)]


def test_centring_ignores_a_shift() -> None:
    f = features()
    assert rankme(f + 5) == pytest.approx(rankme(f))
    assert rankme(f + 5, centre=False) < rankme(f + 1, centre=False)  # type: ignore[operator]


def test_mistakes_are_refused() -> None:
    with pytest.raises(OptionError, match="spectrum"):
        rankme(features(), "eigenvalues")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="ranks"):
        alpha_req(features(), ranks=(10, 11))
    for wrong in (torch.ones(3), torch.ones(2, 2, dtype=torch.int64), torch.ones(0, 3), torch.ones(3, 0)):
        with pytest.raises(DataError, match="matrix"):
            rankme(wrong)


def run(**options: Any) -> clframe.Result:
    given = {"strategy": "er(size=40)", "evaluate": "every(k=5)", "subset": 30, "model": "mlp(hidden=[32],dropout=0.3)", **options}
    return clframe.run("split-digits", **given)


def test_measuring_changes_nothing_and_comes_when_asked(tmp_path: Path) -> None:
    plain, shown = run(out=tmp_path / "a"), run(out=tmp_path / "b", representation="every(k=10)")
    one, two = (torch.load(tmp_path / p / "checkpoint.pt", weights_only=True) for p in "ab")
    for name, weights in one["strategy"]["model"].items():
        assert torch.equal(weights, two["strategy"]["model"][name])
    assert torch.equal(one["rng"]["cpu"], two["rng"]["cpu"])
    columns = ["n", "trained", "evaluated", "correct", "total", "subset"]
    pd.testing.assert_frame_equal(plain.rows[columns], shown.rows[columns])
    assert plain.budget.eval_samples == shown.budget.eval_samples
    ends = list(shown.curves.ends)
    table = shown.representation
    assert sorted(table.n.unique()) == sorted({0, *ends, *(n for n in shown.updates.tolist() if n % 10 == 0)})
    begun = {n: sorted(set(t.evaluated)) for n, t in table.groupby("n")}
    assert begun[0] == [ALL, 0]
    assert begun[ends[0]] == [ALL, 0]
    assert begun[ends[-1]] == [ALL, 0, 1, 2, 3, 4]
    assert set(table.name) == set(MEASURES)
    assert sorted(run(representation="boundaries").representation.n.unique()) == [0, *ends]
    again = clframe.load(tmp_path / "b")[0]
    pd.testing.assert_frame_equal(again.representation, table)


def learner_on(stream: clframe.scenarios.Stream) -> Any:
    model = clframe.models.build("mlp", stream.data.train.input_shape, stream.num_classes)
    learner = clframe.strategies.Learner(model, torch.optim.SGD(model.parameters(), lr=0.1))
    learner.begin(stream.experiences[0].train)
    return learner


@pytest.mark.parametrize("name", ["split-digits", "iid-digits"])
def test_the_values_are_those_of_the_samples_of_the_curve(name: str) -> None:
    stream = scenario(name, seed=0)
    learner = learner_on(stream)
    evaluator = Evaluator(stream, Every(), subset=40, representation=Every())
    evaluator(learner, Step(3, 1, 0, 0, 3, False))
    evaluator.everything(learner, 9, 1)
    found = evaluator.represented().set_index(["n", "evaluated", "name"]).value
    chosen = evaluator.chosen()
    with torch.inference_mode():
        for n in (3, 9):
            for evaluated in (ALL, 0, 1):
                ids = chosen[chosen.evaluated <= 1 if evaluated == ALL else chosen.evaluated == evaluated].id.to_numpy()
                made = learner.model.features(stream.data.test.fetch(torch.tensor(ids)))
                for measure, value in measures(made).items():
                    assert found[n, evaluated, measure] == pytest.approx(value, rel=1e-4)


def test_scores_and_features_come_from_one_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = scenario("split-digits", seed=0)
    learner = learner_on(stream)
    forward, seen = learner.model.backbone.forward, []
    monkeypatch.setattr(learner.model.backbone, "forward", lambda x: (seen.append(len(x)), forward(x))[1])
    evaluator = Evaluator(stream, Every(), subset=40, representation=Every())
    rows = evaluator(learner, Step(3, 1, 0, 0, 3, False))
    assert sum(seen) == sum(r.total for r in rows) == 80
    assert "features" not in vars(learner.model)
    assert learner.model.training
    seen.clear()
    Evaluator(stream, Every(), subset=40, representation=Boundaries())(learner, Step(3, 1, 0, 0, 3, False))
    assert sum(seen) == 80


def test_a_tap_makes_features_where_nobody_made_them_and_leaves_the_model_alone() -> None:
    model = clframe.models.build("mlp", (1, 8, 8), 10)
    x, other = torch.randn(5, 1, 8, 8), torch.randn(5, 1, 8, 8)
    mine = model.features
    model.features = mine  # type: ignore[method-assign]
    with Tap(model) as tap:
        model(x)
        model(other)
        tap.take(x)
        tap.take(other)  # forgotten by now, so sent forward again
    assert torch.equal(tap.taken[0], mine(x))
    assert torch.equal(tap.taken[1], mine(other))
    assert vars(model)["features"] == mine
    with pytest.raises(AttributeError), Tap(model):
        model(None)
    assert vars(model)["features"] == mine


def test_what_is_not_defined_is_null(tmp_path: Path) -> None:
    class Flat(torch.nn.Module):
        """Features that do not depend on the input."""

        def __init__(self) -> None:
            super().__init__()
            self.feature = torch.nn.Parameter(torch.ones(4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.feature + 0 * x.flatten(1)[:, :4]

    result = run(model=Flat(), strategy="finetune", representation="boundaries", out=tmp_path / "run")
    assert result.representation.value.isna().all()
    assert pd.read_parquet(tmp_path / "run" / "representation.parquet").value.isna().all()
    assert representation_track(clframe.Results([result]), "finetune", "alpha_req") is None
    assert "<h3>Representation</h3>" not in html.render(clframe.Results([result]))


def test_the_page_draws_them() -> None:
    runs = [run(strategy=s, seed=seed, representation="boundaries") for s in ("finetune", "er(size=40)") for seed in (0, 1)]
    results = clframe.Results([*runs, run(strategy="lwf")])
    page = html.render(results)
    assert page.count("<h3>Representation</h3>") == 1
    assert "RankMe over updates" in page
    made = representation_track(results, "finetune", "rankme_eigen")
    assert made is not None
    assert (made.seeds, made.experiences, len(made.times)) == (2, 1, 6)
    table = runs[0].representation
    alone = table[(table.evaluated == ALL) & (table.name == "rankme_eigen")].value.to_numpy()
    assert made.accuracy[0, :, 0].tolist() == alone.tolist()
    assert not math.isnan(made.accuracy.sum())
    assert representation_track(results, "lwf", "rankme_eigen") is None


def test_what_cannot_be_measured_is_refused_before_training() -> None:
    class Bare:
        """A strategy without a model."""

        requires: frozenset[str] = frozenset()

    with pytest.raises(OptionError, match="representation"):
        clframe.run("split-digits", lambda setup: Bare(), representation="every")  # type: ignore[arg-type,return-value]
    with pytest.raises(OptionError, match="evaluation plan"):
        run(representation="sometimes")
