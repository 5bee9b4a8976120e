"""scikit-learn both ways: its classifiers under clframe's loop, a strategy under its conventions."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import clframe
from clframe.bridges import pickled
from clframe.bridges.sklearn import ESTIMATORS, ContinualClassifier, PartialFit
from clframe.data import from_arrays
from clframe.errors import CompositionError, DataError, OptionError, RunError
from clframe.scenarios import class_incremental
from clframe.testing import checks_for
from clframe.types import Batch

SCENARIO = "split-digits(experiences=2)"


@pytest.mark.parametrize("check", checks_for("sklearn(estimator=GaussianNB)"), ids=lambda c: c.name)
def test_conformance(check: Any) -> None:
    check()


def test_a_run_is_what_partial_fit_by_hand_gives() -> None:
    stream = class_incremental("digits", experiences=2, class_order="sorted").walked(batch_size=10, seed=0)
    result = clframe.run(stream, "sklearn(estimator=GaussianNB)", evaluate="boundaries", seed=0)
    own = GaussianNB()
    for experience in stream.experiences:
        for _, batch in experience.steps():
            own.partial_fit(batch.x.flatten(1).numpy(), batch.y.numpy(), classes=np.arange(10))
    tests = [torch.from_numpy(ids) for ids in stream.tests]
    by_hand = [
        float((own.predict(stream.data.test.fetch(ids).flatten(1).numpy()) == stream.data.test.y[ids]).mean()) for ids in tests
    ]
    assert result.curves.matrix[-1].tolist() == pytest.approx(by_hand, abs=1e-12)


def test_options_go_to_the_constructor_and_the_budget_counts_no_network() -> None:
    result = clframe.run(SCENARIO, "sklearn(estimator=SGDClassifier, alpha=0.01, loss=log_loss)", evaluate="boundaries")
    told = result.spec["resolved"]["strategy"]
    assert told["estimator"] == "SGDClassifier" and told["options"]["alpha"] == "0.01" and told["options"]["loss"] == "log_loss"
    assert told["options"]["random_state"] != "None"
    budget = result.budget
    assert (budget.parameters, budget.parameter_bytes, budget.train_flops, budget.eval_flops) == (0, 0, 0, 0)
    coefficients = 4 * (10 * 64 + 10)  # SGDClassifier keeps float32 where it is given float32
    assert coefficients < budget.state_bytes["sklearn"] < coefficients + 2000
    assert budget.total_bytes == budget.state_bytes["sklearn"]


def test_seeds_are_the_runs_seeds() -> None:
    words = "sklearn(estimator=MLPClassifier,hidden_layer_sizes=[8])"
    a, b, c = (clframe.run(SCENARIO, words, evaluate="boundaries", seed=s) for s in (0, 0, 1))
    assert a.rows.correct.tolist() == b.rows.correct.tolist() != c.rows.correct.tolist()


def test_a_class_without_samples_is_never_the_answer() -> None:
    result = clframe.run("split-digits", "sklearn(estimator=GaussianNB)", evaluate="boundaries")
    after_first = result.classes[result.classes.n == result.curves.ends[0]]
    unseen = after_first[after_first.evaluated > 0]
    assert (unseen.correct == 0).all() and len(unseen)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sklearn(estimator=SGDClasifier)", "Did you mean 'SGDClassifier'"),
        ("sklearn(estimator=GaussianNB,alpha=1)", "option of estimator 'GaussianNB' must be a known name; got 'alpha'"),
        ("sklearn(estimator=sklearn.tree:DecisionTreeClassifier)", "must be one with partial_fit"),
        ("sklearn(estimator=sklearn.tree:DecisionTree)", "'DecisionTreeRegressor' or 'DecisionTreeClassifier'"),
    ],
)
def test_what_cannot_be_is_refused(words: str, message: str) -> None:
    with pytest.raises(OptionError) as error:
        clframe.run(SCENARIO, words)
    assert message in str(error.value)


def test_what_an_estimator_refuses_is_said_by_name() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(100) % 2
    data = from_arrays(rng.normal(size=(100, 4)), y, name="negative")
    with pytest.raises(DataError, match="estimator 'MultinomialNB' must take the samples; it says ValueError: Negative values"):
        clframe.run(class_incremental(data, experiences=1), "sklearn(estimator=MultinomialNB)")
    weighted = Batch(torch.rand(2, 4), torch.tensor([0, 1]), torch.arange(2), weight=torch.tensor([1.0, 2.0]))
    taken = PartialFit(SGDClassifier(), "SGDClassifier", 2)
    taken.observe(weighted)
    refused = PartialFit(_Unweighted(), "mine", 2)
    with pytest.raises(CompositionError, match="weighted samples need an estimator that takes them; 'mine' does not"):
        refused.observe(weighted)


class _Unweighted:
    def partial_fit(self, x: Any, y: Any, classes: Any = None) -> None: ...


def test_every_estimator_of_the_table_is_there_and_survives_its_state() -> None:
    for name, where in ESTIMATORS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PassiveAggressiveClassifier announces its end
            from clframe.locate import locate

            one = PartialFit(locate(where)(), name, 3)
            other = PartialFit(locate(where)(), name, 3)
            one.observe(Batch(torch.rand(12, 4), torch.arange(12) % 3, torch.arange(12)))
            state = one.state_dict()
            other.load_state_dict(state)
        assert torch.equal(other.state_dict()["estimator"], state["estimator"]), name
        assert torch.equal(one.predict(torch.ones(2, 4)), other.predict(torch.ones(2, 4))), name


def test_a_checkpoint_runs_no_code_of_others(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    for trap in (Trap(), {"nested": Trap()}):
        state = torch.from_numpy(np.frombuffer(pickle.dumps(trap), dtype=np.uint8).copy())
        with pytest.raises(RunError, match="the state of an estimator must hold nothing but itself and arrays; it names pathlib"):
            pickled.loaded(state, "sklearn.linear_model")
    assert not (tmp_path / "sprung").exists()


def test_the_estimator_keeps_scikit_learns_conventions() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(ContinualClassifier(model="mlp(hidden=[32])"), on_fail=None, on_skip=None)
    status = {f["check_name"]: f["status"] for f in found}
    assert {name for name, s in status.items() if s != "passed"} == {"check_array_api_input"}, "which needs SCIPY_ARRAY_API"
    assert len(status) > 40


def test_calls_of_partial_fit_are_experiences() -> None:
    x, y = load_digits(return_X_y=True)
    x = x / 16
    early = y < 5

    def trained(strategy: str) -> ContinualClassifier:
        model = ContinualClassifier(strategy, "mlp(hidden=[50])", epochs=3, random_state=0)
        return model.partial_fit(x[early], y[early], classes=range(10)).partial_fit(x[~early], y[~early])

    replay, finetune = trained("er(size=200)"), trained("finetune")
    assert replay.score(x[early], y[early]) > 0.6 > 0.2 > finetune.score(x[early], y[early])
    proba = replay.predict_proba(x[:50])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (replay.classes_[proba.argmax(axis=1)] == replay.predict(x[:50])).all()
    for again in (copy.deepcopy(replay), pickle.loads(pickle.dumps(replay))):
        assert (again.predict_proba(x) == replay.predict_proba(x)).all()
        more = [m.partial_fit(x[early][:40], y[early][:40]).predict_proba(x) for m in (again, copy.deepcopy(replay))]
        assert (more[0] == more[1]).all(), "training goes on as it would have"


def test_it_works_in_pipelines_and_searches_with_labels_of_any_kind() -> None:
    x, y = load_digits(return_X_y=True)
    names = np.array([f"digit {d}" for d in y])
    chain = make_pipeline(StandardScaler(), ContinualClassifier("finetune", "mlp(hidden=[20])", epochs=2, random_state=0))
    search = GridSearchCV(chain, {"continualclassifier__lr": [0.001, 0.05]}, cv=2).fit(x[:400], names[:400])
    assert search.best_params_ == {"continualclassifier__lr": 0.05} and search.predict(x[:2])[0].startswith("digit ")


def test_wrong_calls_are_refused() -> None:
    x, y = np.random.default_rng(0).random((20, 6)).astype(np.float32), np.arange(20) % 2
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        ContinualClassifier().partial_fit(x, y)
    model = ContinualClassifier("finetune", "mlp(hidden=[4])").partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y must hold the classes \[0 1\]; got 2"):
        model.partial_fit(x, y + 1)
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(OptionError, match="Did you mean 'er'"):
        ContinualClassifier("err").fit(x, y)
    with pytest.raises(OptionError, match="a shape of 6 numbers, the columns of X"):
        ContinualClassifier(input_shape=(1, 2, 2)).fit(x, y)
    shaped = ContinualClassifier("finetune", "mlp(hidden=[4])", input_shape=(1, 2, 3), random_state=0).fit(x, y)
    assert shaped.predict(x).shape == (20,)
