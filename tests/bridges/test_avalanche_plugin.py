"""clframe in an Avalanche script: one line for its evaluator and report, and its parts as penalties; parity of both sides."""

from __future__ import annotations

import dataclasses
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import clframe
from clframe.errors import ClframeError, CompositionError, DataError, MissingExtraError, RunError
from clframe.models import build as network
from clframe.scenarios.catalog import build
from clframe.scenarios.order import AsGiven
from clframe.scenarios.stream import Stream
from clframe.strategies import EWC, MAS, SI, Learner, LwF, Part
from clframe.strategies.quadratic import quadratic

pytest.importorskip("avalanche")
pytestmark = pytest.mark.filterwarnings("ignore")

ADDED = ", plugins=[ContinualEvaluationPlugin(perm_mnist, out=OUT, evaluate='every(k=2)')])"


def bridge() -> Any:
    from clframe.bridges import avalanche

    return avalanche


def silent() -> Any:
    from avalanche.training.plugins import EvaluationPlugin

    return EvaluationPlugin(loggers=[])


@pytest.fixture
def documented(monkeypatch: pytest.MonkeyPatch) -> str:
    """The script that Avalanche's own description begins with, which downloads MNIST; here it gets 90 local images."""
    found = metadata.metadata("avalanche-lib")
    text = str(found.get_payload() or found["Description"])
    script = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert script is not None and "PermutedMNIST" in script[1] and "eval_mb_size=32, device=device)" in script[1]

    def images(size: int, seed: int) -> Any:
        draw = torch.Generator().manual_seed(seed)
        made: Any = TensorDataset(torch.rand(size, 1, 28, 28, generator=draw), torch.arange(size) % 10)
        made.targets = torch.arange(size) % 10
        return made

    monkeypatch.setattr("avalanche.benchmarks.classic.cmnist.get_mnist_dataset", lambda root: (images(90, 0), images(40, 1)))
    return script[1].replace("PermutedMNIST(n_experiences=3)", "PermutedMNIST(n_experiences=3, seed=0)")


def executed(script: str, **names: Any) -> dict[str, Any]:
    names = {"ContinualEvaluationPlugin": bridge().ContinualEvaluationPlugin, **names}
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    exec(script, names)
    return names


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_one_line_in_avalanches_own_script_brings_a_report(
    documented: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = executed(documented)
    before, after = documented.split("eval_mb_size=32, device=device)")
    watched = executed(f"{before}eval_mb_size=32, device=device{ADDED}{after}", OUT=tmp_path / "report")
    assert torch.equal(weights(plain["model"]), weights(watched["model"])), "measuring must leave no trace"
    assert [list(r.values()) for r in plain["results"]] == [list(r.values()) for r in watched["results"]]

    page = (tmp_path / "report" / "report.html").read_text()
    assert "Naive" in page and "<svg" in page
    (result,) = clframe.load(tmp_path / "report")
    updates = 3 * 2 * 3
    assert result.finished and result.budget.updates == updates and result.budget.parameters == weights(plain["model"]).numel()
    assert list(result.curves.ends) == [6, 12, 18]
    assert result.updates.tolist() == list(range(0, updates + 1, 2))
    for k, theirs in enumerate(watched["results"]):
        found = [theirs[f"Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp00{i}"] for i in range(3)]
        at = result.rows[(result.rows.n == 6 * (k + 1)) & (result.rows.subset == "full")].sort_values("evaluated")
        assert (at.correct / at.total).tolist() == pytest.approx(found)
    assert result.terms["term"].unique().tolist() == ["loss"] and len(result.terms) == updates


def test_the_plugin_sees_what_other_plugins_do_at_the_end_of_an_experience() -> None:
    from avalanche.training.supervised import ICaRL

    from clframe.bridges.avalanche.networks import Features

    made = bridge().benchmark("split-digits[:2]")
    net = network("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
    plugin = bridge().ContinualEvaluationPlugin(made, evaluate="boundaries")
    strategy = ICaRL(
        feature_extractor=Features(net),
        classifier=net.head,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        memory_size=40,
        buffer_transform=None,
        fixed_memory=True,
        train_mb_size=16,
        plugins=[plugin],
        evaluator=silent(),
    )
    strategy.train(made.train_stream)
    accuracy = plugin.result().accuracy
    assert accuracy[0, 0] == 0, "there are no means yet"
    assert accuracy[1, 0] > 0.5, "the means are made at the end of the experience"


def test_online_streams_in_a_script() -> None:
    from avalanche.benchmarks import split_online_stream
    from avalanche.training.plugins import ReplayPlugin
    from avalanche.training.storage_policy import ReservoirSamplingBuffer
    from avalanche.training.supervised import Naive

    made = bridge().benchmark("split-digits[:2]")
    online = split_online_stream(made.train_stream, 20, seed=0)
    plugin = bridge().ContinualEvaluationPlugin(made, train=online, evaluate="every(k=4)", name="online replay")
    replay = ReplayPlugin(40, storage_policy=ReservoirSamplingBuffer(40))
    net = network("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    strategy = Naive(model=net, optimizer=optimizer, train_mb_size=20, plugins=[replay, plugin], evaluator=silent())
    for small in online:
        strategy.train(small)
    result = plugin.result()
    assert result.finished and result.strategy == "online replay"
    sizes = [sum(len(e.dataset) for e in made.train_stream[k : k + 1]) for k in range(2)]
    first = -(-sizes[0] // 20)
    assert result.budget.updates == first + -(-sizes[1] // 20)
    assert list(result.curves.ends) == [first, result.budget.updates]


def test_multi_head_models_in_a_script() -> None:
    from avalanche.models import MTSimpleMLP
    from avalanche.training.supervised import Naive

    made = bridge().benchmark("task-split-digits[:3]")
    model = MTSimpleMLP(input_size=64, hidden_size=16)
    plugin = bridge().ContinualEvaluationPlugin(made, evaluate="every(k=5)")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    strategy = Naive(model=model, optimizer=optimizer, train_mb_size=16, train_epochs=2, plugins=[plugin], evaluator=silent())
    for experience in made.train_stream:
        strategy.train(experience)
    last = plugin.result().accuracy[-1]
    assert (last > 0.6).all()


def test_scripts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from avalanche.training.supervised import Naive

    made = bridge().benchmark("split-digits[:2]")

    def strategy(**options: Any) -> Any:
        net = network("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
        plugin = bridge().ContinualEvaluationPlugin(made, evaluate="boundaries", **options)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        return Naive(model=net, optimizer=optimizer, train_mb_size=64, plugins=[plugin], evaluator=silent()), plugin

    with pytest.raises(RunError, match="this plugin has seen no training yet"):
        strategy()[1].result()
    backwards, _ = strategy()
    backwards.train(made.train_stream[1])
    with pytest.raises(DataError, match="in order; got number 0 of 2"):
        backwards.train(made.train_stream[0])
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="must be empty or hold this run"):
        strategy(out=tmp_path)[0].train(made.train_stream[0])
    half, plugin = strategy()
    half.train(made.train_stream[0])
    assert not plugin.result().finished and plugin.result().metrics.acc is not None


def short(samples: int, experiences: int = 3) -> Stream:
    """The first samples of some experiences of digits, in stored order."""
    stream = build(f"split-digits[:{experiences}]", seed=1)
    return dataclasses.replace(stream, segments=[np.sort(ids)[:samples] for ids in stream.segments], order=AsGiven())


PENALTIES: dict[str, Any] = {
    "ewc": lambda: EWC(strength=50.0, samples=20),
    "si": lambda: SI(strength=1.0),
    "mas": lambda: MAS(strength=1.0, samples=20),
    "lwf": lambda: LwF(strength=2.0),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_gives_avalanche_the_weights_of_a_learner(name: str) -> None:
    from avalanche.training.supervised import Naive

    stream = short(48).walked(batch_size=8)
    ours, theirs = (network("mlp", (1, 8, 8), 10, options={"hidden": (16,)}) for _ in range(2))
    learner = Learner(ours, torch.optim.SGD(ours.parameters(), lr=0.05, momentum=0.5), PENALTIES[name](), seed=3)
    terms: list[dict[str, float]] = []
    for experience in stream.experiences:
        learner.begin(experience.train)
        terms += [{k: float(v) for k, v in learner.observe(batch).items()} for _, batch in experience.steps()]
        learner.end(experience.train)

    plugin = bridge().penalty(PENALTIES[name](), seed=3)
    seen: list[dict[str, float]] = []

    class Note:
        def after_training_iteration(self, strategy: Any, **_: Any) -> None:
            seen.append(plugin.terms)

    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.5)
    strategy = Naive(model=theirs, optimizer=optimizer, train_mb_size=8, plugins=[plugin, Note()], evaluator=silent())
    for experience in bridge().benchmark(stream).train_stream:
        strategy.train(experience, shuffle=False)
    torch.testing.assert_close(weights(theirs), weights(ours), rtol=1e-4, atol=1e-6)
    expected = [{k: v for k, v in t.items() if k != "ce"} for t in terms]
    assert [set(t) for t in seen] == [set(t) for t in expected] and max(max(t.values(), default=0.0) for t in seen) > 1e-4
    for one, other in zip(seen, expected, strict=True):
        assert list(one.values()) == pytest.approx(list(other.values()), rel=1e-3, abs=1e-6)


def test_parts_of_your_own_in_words_and_together() -> None:
    from avalanche.training.supervised import Replay

    class Small(Part):
        name = "small"

        def penalty(self, view: Any) -> dict[str, torch.Tensor]:
            weights = list(view.model.parameters())
            zeros, ones = ([torch.full_like(w, v) for w in weights] for v in (0.0, 1.0))
            return {"size": quadratic(weights, zeros, ones, 0.1)}

    made = bridge().benchmark("split-digits[:2]")
    ends = []
    for plugins in ([], [bridge().penalty(Small())], [bridge().penalty("si(strength=1)+lwf")]):
        net = network("mlp", (1, 8, 8), 10, options={"hidden": (16,)})
        torch.manual_seed(0)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        options = {"criterion": nn.CrossEntropyLoss(), "train_mb_size": 16, "plugins": plugins, "evaluator": silent()}
        Replay(model=net, optimizer=optimizer, mem_size=20, **options).train(made.train_stream)
        ends.append(weights(net))
    assert ends[1].norm() < 0.9 * ends[0].norm()
    assert not torch.equal(ends[0], ends[2])


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ("er(size=20)", "'er' recalls samples"),
        ("agem", "'agem' rewrites the gradient"),
        ("er-ace", "'er-ace' recalls samples"),
        ("nmc-head", "'nmc-head' answers from the features"),
        ("ema", "'ema' answers with another network"),
        ("slda", "'slda' is none"),
        ("finetune", "'finetune' is none"),
        ("", "must be a part or the name of one"),
        ("ewcc", "Did you mean 'ewc'"),
    ],
)
def test_parts_that_do_more_are_refused(part: str, sentence: str) -> None:
    with pytest.raises(ClframeError) as refused:
        bridge().penalty(part)
    assert sentence in str(refused.value)


def test_models_that_grow_or_have_a_head_for_each_task_are_refused() -> None:
    from avalanche.models import IncrementalClassifier, MTSimpleMLP
    from avalanche.training.supervised import Naive

    growing = nn.Sequential(nn.Flatten(), IncrementalClassifier(64))
    cases = (
        (growing, "must keep its parameters", "split-digits(class_order=sorted)"),
        (MTSimpleMLP(input_size=64), "one head", "task-split-digits"),
    )
    for model, sentence, scenario in cases:
        made = bridge().benchmark(scenario)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        strategy = Naive(model=model, optimizer=optimizer, train_mb_size=64, plugins=[bridge().penalty("ewc")], evaluator=silent())
        with pytest.raises(CompositionError, match=sentence):
            strategy.train(made.train_stream)


def test_ewc_is_the_same_on_both_sides() -> None:
    """One sample a batch, because Avalanche squares the gradient of a batch; its strength has no factor 1/2."""
    from avalanche.training.supervised import EWC as Theirs

    stream = short(30)
    options: dict[str, Any] = {"batch_size": 1, "lr": 0.02, "model": "mlp(hidden=[16])", "evaluate": "every(k=5)"}
    ours = clframe.run(stream, "ewc(strength=40,mode=separate,samples=100)", **options)
    theirs = clframe.run(stream, bridge().strategy(Theirs, ewc_lambda=20.0, mode="separate", shuffle=False), **options)
    assert np.array_equal(ours.updates, theirs.updates)
    total = ours.terms.groupby("n")["value"].sum()
    assert (ours.terms[ours.terms.term == "ewc/quadratic"]["value"] > 1e-3).any()
    np.testing.assert_allclose(theirs.terms["value"], total, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(ours.accuracy, theirs.accuracy, atol=0.015)


@pytest.mark.slow
def test_replay_is_as_accurate_on_both_sides() -> None:
    """Both memories hold equal shares; Avalanche fills its own when an experience ends, clframe at every update."""
    from avalanche.training.supervised import Replay

    found: dict[str, list[float]] = {"ours": [], "theirs": []}
    for seed in range(5):
        options: dict[str, Any] = {"evaluate": "boundaries", "seed": seed, "lr": 0.1, "model": "mlp(hidden=[32])"}
        written = {"ours": "er(size=100,memory=class-balanced,fill=experience)", "theirs": bridge().strategy(Replay, mem_size=100)}
        for side, strategy in written.items():
            acc = clframe.run("split-digits[:4]", strategy, **options).metrics.acc
            assert acc is not None
            found[side].append(acc)
    means, errors = (np.array([f(values) for values in found.values()]) for f in (np.mean, lambda v: np.std(v, ddof=1) / 5**0.5))
    assert means.min() > 0.7
    assert abs(means[0] - means[1]) <= 3 * np.hypot(*errors) + 0.02


@pytest.mark.parametrize("version", [None, "0.5.0", "0.7.1"])
def test_a_missing_or_unknown_version_is_answered_with_the_command(version: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(package: str) -> str:
        assert package == "avalanche-lib"
        if version is None:
            raise metadata.PackageNotFoundError(package)
        return version

    monkeypatch.setattr("clframe.bridges.extra.metadata.version", found)
    for use in (lambda: bridge().scenario, lambda: clframe.run("split-digits", "avalanche(name=Naive)")):
        with pytest.raises(MissingExtraError) as refused:
            use()
        assert "pip install 'clframe[avalanche]'" in str(refused.value)
        assert version is None or (">= 0.6 and < 0.7" in str(refused.value) and version in str(refused.value))


def test_its_models_by_name() -> None:
    result = clframe.run(
        "split-digits[:2]", "er(size=50)", model="avalanche.models:SimpleMLP(input_size=64)", head="none", evaluate="boundaries"
    )
    assert result.metrics.acc is not None and result.metrics.acc > 0.4
