"""Avalanche's strategies under clframe's loop: measured after every update, measured without a trace, resumed, refused."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import clframe
from clframe import pieces
from clframe.checkpoint import Interrupted
from clframe.errors import ClframeError, CompositionError, OptionError, RunError
from clframe.eval.evaluator import Evaluator
from clframe.eval.result import Result
from clframe.experiment import built, with_defaults
from clframe.snapshot import Snapshot
from clframe.testing import checks_for

pytest.importorskip("avalanche")
pytestmark = pytest.mark.filterwarnings("ignore")

OPTIONS: dict[str, dict[str, Any]] = {
    "Naive": {},
    "Cumulative": {},
    "Replay": {"mem_size": 60},
    "EWC": {"ewc_lambda": 1.0},
    "SynapticIntelligence": {"si_lambda": 1.0},
    "LwF": {"alpha": 1.0, "temperature": 2.0},
    "GEM": {"patterns_per_exp": 20, "memory_strength": 0.5},
    "AGEM": {"patterns_per_exp": 20, "sample_size": 20},
    "DER": {"mem_size": 60},
    "ICaRL": {"memory_size": 60, "buffer_transform": None, "fixed_memory": True},
}
FURTHER: dict[str, dict[str, Any]] = {
    "ER_ACE": {"mem_size": 60},
    "MIR": {"mem_size": 60, "subsample": 20},
    "GDumb": {"mem_size": 60},
}
MULTI_HEAD = ("Naive", "Replay", "EWC", "SynapticIntelligence", "LwF", "GEM", "AGEM", "Cumulative")


def some(names: Iterable[str], *quick: str) -> list[Any]:
    """All of them; those that are not quick run by name."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


SMALL = {"model": "mlp(hidden=[16])", "batch_size": 16}
STREAM = "split-digits[:2]"


def strategy(name: str, **options: Any) -> Any:
    from avalanche.training import supervised

    from clframe.bridges.avalanche import strategy

    given = {**OPTIONS, **FURTHER}[name]
    return strategy(getattr(supervised, name), **{**given, **options})


def run(name: str, scenario: Any = STREAM, **options: Any) -> Result:
    return clframe.run(scenario, strategy(name), **{**SMALL, **options})


class Touchy(nn.Module):
    """Dropout draws in training; batch normalisation keeps statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def trained(make: Any, evaluate: str, scenario: str = STREAM) -> dict[str, Any]:
    """The weights of the run's network when a strategy has walked along a stream."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Touchy()
    given = with_defaults({"scenario": scenario, "strategy": make, "evaluate": evaluate, "model": model, "batch_size": 16})
    with pieces.isolated_run(0, 1):
        stream, network, learner, due, _ = built(given, torch.device("cpu"))
        evaluator = Evaluator(stream, due)
        for experience in stream.experiences:
            learner.begin(experience.train)
            for step, batch in experience.steps():
                learner.observe(batch)
                if evaluator.due(step):
                    evaluator(learner, step)
            learner.end(experience.train)
            if evaluate != "boundaries":
                evaluator.everything(learner, step.n, experience.index)
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("name", [*OPTIONS, *FURTHER])
def test_measured_after_every_update_without_a_trace(name: str) -> None:
    looked, never = (trained(strategy(name), plan) for plan in ("every", "boundaries"))
    assert all(torch.equal(looked[key], never[key]) for key in never)
    assert never["backbone.layers.2.num_batches_tracked"] > 20 or name == "GDumb"


@pytest.mark.parametrize("name", some(OPTIONS, "Replay", "ICaRL"))
def test_every_update_is_a_row_and_every_run_the_same(name: str) -> None:
    first, again, other = run(name), run(name), run(name, evaluate="boundaries", seed=1)
    assert first.updates.tolist() == list(range(len(first.updates)))
    assert np.array_equal(first.accuracy, again.accuracy, equal_nan=True)
    assert first.terms.equals(again.terms) and not first.terms.equals(other.terms)
    assert (first.terms["term"] == "loss").all() and len(first.terms) == len(first.updates) - 1
    assert first.metrics.acc is not None and first.metrics.acc > (0.2 if name == "ICaRL" else 0.4)
    assert first.budget.forwards > 0 and first.budget.backwards == first.budget.forwards


def test_memories_forget_less_and_declare_what_they_hold() -> None:
    naive, replay = (run(name, "split-digits", evaluate="boundaries") for name in ("Naive", "Replay"))
    assert replay.metrics.acc > naive.metrics.acc + 0.2
    assert 60 * 64 * 4 <= replay.budget.state_bytes["avalanche"] < 60 * 64 * 4 + 2000
    assert naive.budget.state_bytes["avalanche"] < 100


@pytest.mark.parametrize("name", some(MULTI_HEAD, "LwF", "GEM"))
def test_a_head_for_each_task(name: str) -> None:
    result = run(name, "task-split-digits[:2]", evaluate="every(k=5)")
    assert result.metrics.acc is not None and result.metrics.acc > 0.8, "two classes a task"


def test_multi_head_models_of_avalanche() -> None:
    from avalanche.models import MTSimpleMLP
    from avalanche.training.supervised import LwF, Naive

    from clframe.bridges.avalanche import strategy

    def make(kind: Any, own: dict[str, Any], model: Any, optimizer: Any, **options: Any) -> Any:
        return kind(model=MTSimpleMLP(input_size=64, hidden_size=16), optimizer=optimizer, **own, **options)

    for kind, options in ((Naive, {}), (LwF, {"alpha": 1.0, "temperature": 2.0, "criterion": nn.CrossEntropyLoss()})):
        made = strategy(functools.partial(make, kind, options), name=kind.__name__)
        result = clframe.run("task-split-digits[:3]", made, evaluate="every(k=5)", batch_size=16)
        assert result.metrics.acc is not None and result.metrics.acc > 0.6
        first = result.rows[(result.rows.n == 0)]
        assert (first.correct == 0).all(), "a task without a head is not answered"


def test_more_iterations_than_updates_come_in_even_shares() -> None:
    """Cumulative trains on 580 samples in its second experience: 37 iterations of 16, while the run has 18 updates."""
    with pieces.isolated_run(0, 1):
        given = with_defaults({"scenario": STREAM, "strategy": strategy("Cumulative"), **SMALL})
        stream, _, learner, _, _ = built(given, torch.device("cpu"))
        done = []
        for experience in stream.experiences:
            learner.begin(experience.train)
            counts = [0]
            for _, batch in experience.steps():
                learner.observe(batch)
                counts.append(learner._pause.iterations)
            done.append(np.diff(counts))
            learner.end(experience.train)
    assert set(done[0]) == {1}
    assert set(done[1]) == {1, 2} or set(done[1]) == {2}
    assert done[1].sum() == -(-sum(map(len, stream.segments)) // 16)


def test_the_run_gives_batch_size_and_epochs_unless_the_strategy_has_its_own() -> None:
    from avalanche.training.supervised import Naive

    from clframe.bridges.avalanche import strategy

    def iterations(make: Any, **options: Any) -> list[int]:
        learner, found = None, []
        with pieces.isolated_run(0, 1):
            given = with_defaults({"scenario": "split-digits[:1]", "strategy": make, **SMALL, **options})
            stream, _, learner, _, _ = built(given, torch.device("cpu"))
            learner.begin(stream.experiences[0].train)
            for _, batch in stream.experiences[0].steps():
                learner.observe(batch)
                found.append(learner._pause.iterations)
            learner.end(stream.experiences[0].train)
        return found

    def plain(model: Any, optimizer: Any) -> Any:
        return Naive(model=model, optimizer=optimizer)

    size = len(clframe.scenarios.catalog.build("split-digits").segments[0])
    assert iterations(strategy(plain), epochs=2) == list(range(1, 2 * -(-size // 16) + 1))
    assert iterations(strategy(Naive, train_mb_size=32))[-1] == -(-size // 32)


def run_in(out: Path, name: str, **options: Any) -> Result:
    return run(name, out=out, evaluate="every(k=3)", report=False, **options)


@pytest.mark.parametrize("name", some(OPTIONS, "AGEM", "DER"))
def test_stopped_anywhere_and_resumed_a_run_is_the_same(name: str, tmp_path: Path) -> None:
    whole = run_in(tmp_path / "whole", name)
    last = len(whole.terms)
    stops = {5, last // 2 + 3, last // 2}

    def stop(n: int, total: int) -> bool:
        return n in stops and not stops.discard(n)

    for _ in range(3):
        with pytest.raises(Interrupted):
            run_in(tmp_path / "parts", name, progress=stop)
    parts = run_in(tmp_path / "parts", name)
    assert not stops
    columns = ["n", "trained", "evaluated", "correct", "total", "subset"]
    assert parts.rows[columns].equals(whole.rows[columns]) and parts.terms.equals(whole.terms)
    states = [torch.load(tmp_path / which / "checkpoint.pt", weights_only=True)["strategy"] for which in ("whole", "parts")]
    assert torch.equal(states[0]["avalanche"], states[1]["avalanche"])


def test_snapshots_within_an_experience() -> None:
    with pieces.isolated_run(0, 1):
        given = with_defaults({"scenario": STREAM, "strategy": strategy("Replay"), **SMALL})
        stream, network, learner, _, _ = built(given, torch.device("cpu"))
        first, second = stream.experiences
        learner.begin(first.train)
        for _, batch in first.steps():
            learner.observe(batch)
        learner.end(first.train)
        learner.begin(second.train)
        steps = list(second.steps())
        for _, batch in steps[:4]:
            learner.observe(batch)
        here = Snapshot.of(learner)

        def go_on() -> torch.Tensor:
            for _, batch in steps[4:]:
                learner.observe(batch)
            learner.end(second.train)
            return torch.cat([p.detach().flatten() for p in network.parameters()])

        ends = [go_on()]
        learner.begin(second.train)
        here.restore(learner)
        ends.append(go_on())
    assert torch.equal(*ends)


CHECKED = {"Replay": {"mem_size": 20}, "GEM": {"patterns_per_exp": 5, "memory_strength": 0.5}}


def checked(name: str) -> type:
    from clframe.bridges.avalanche import AvalancheStrategy

    class Checked(AvalancheStrategy):
        """A baseline."""

        grows = frozenset({"samples", "experiences"})

        def __init__(self, setup: Any) -> None:
            super().__init__(setup, strategy(name, **CHECKED[name]))

    return Checked


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKED)
def test_conformance(name: str) -> None:
    outcomes = [check.outcome() for check in checks_for(checked(name))]
    assert not [(o.name, o.message) for o in outcomes if o.status == "failed"]
    assert sum(o.status == "passed" for o in outcomes) >= 17


def test_boundaries_are_needed_unless_each_batch_is_an_experience() -> None:
    with pytest.raises(CompositionError, match="needs 'boundaries'"):
        run("Replay", "blurry-digits")
    made = strategy("Replay", online=True)
    result = clframe.run("blurry-digits[:2]", made, evaluate="every(k=10)", **SMALL)
    assert result.metrics.acc is not None and result.metrics.acc > 0.4
    assert result.strategy == "avalanche(name=Replay,mem_size=60,online=True)"
    assert len(result.terms) == result.budget.updates


def test_in_words() -> None:
    words = "avalanche(name=Naive,plugins=[ReplayPlugin(mem_size=40),LwFPlugin(alpha=1,temperature=2)])"
    results = clframe.compare(
        STREAM, ["er(size=40)", "avalanche(name=Replay,mem_size=40)", words], seeds=1, evaluate="boundaries", **SMALL
    )
    assert results.strategies == ["er(size=40)", "avalanche(name=Replay,mem_size=40)", words]
    described = results[2].spec["resolved"]["strategy"]
    assert [p["plugin"] for p in described["plugins"]] == ["ReplayPlugin", "LwFPlugin"]
    assert results[1].spec["resolved"]["strategy"]["plugins"][0]["options"]["mem_size"] == 40


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("avalanche(name=Replai)", "must be a known name; got 'Replai'. Did you mean 'Replay'"),
        ("avalanche(name=Replay,mem=3)", "option of Avalanche's Replay must be a known name; got 'mem'. Did you mean 'mem_size'"),
        ("avalanche(name=EWC)", "must be made with options that it takes; got {} and TypeError"),
        ("avalanche(name=Naive,plugins=[ReplyPlugin])", "got 'ReplyPlugin'. Did you mean 'ReplayPlugin'"),
        ("avalanche(name=Naive,plugins=[GEMPlugin])", "Avalanche's GEMPlugin must be made with options that it takes"),
        ("avalanche(name=JointTraining)", "must train one experience after the other"),
        ("avalanche(name=BiC,mem_size=20)", "Take clframe's 'bic'"),
    ],
)
def test_wrong_words_are_answered_with_a_sentence(words: str, sentence: str) -> None:
    with pytest.raises(ClframeError) as refused:
        clframe.run("split-digits", words)
    assert sentence in str(refused.value)


def test_what_cannot_be_run_or_saved_is_refused(tmp_path: Path) -> None:
    from avalanche.training.supervised import Naive

    from clframe.bridges.avalanche import strategy as bridged

    with pytest.raises(CompositionError, match="got str"):
        clframe.run("split-digits", bridged(lambda model, optimizer: "none"))
    made = bridged(
        lambda model, optimizer: Naive(model=model, optimizer=optimizer, criterion=lambda out, y: out.logsumexp(1).mean())
    )
    assert clframe.run("split-digits[:1]", made, evaluate="boundaries", **SMALL).finished
    with pytest.raises(RunError, match="must be picklable to be saved"):
        clframe.run("split-digits[:1]", made, evaluate="boundaries", out=tmp_path / "run", **SMALL)
    with pytest.raises(OptionError, match="told to a model with head 'multi', which this Avalanche strategy does not do"):
        run("DER", "task-split-digits[:2]")


class Broken:
    """A plugin that fails in the middle of an experience."""

    def before_backward(self, strategy: Any, **_: Any) -> None:
        if strategy.clock.train_iterations == 3:
            raise ValueError("broken plugin")


def waiting() -> list[threading.Thread]:
    gc.collect()
    return [t for t in threading.enumerate() if t.name == "avalanche"]


def test_errors_and_stops_leave_no_thread_and_no_generator_behind() -> None:
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="broken plugin") as raised:
        clframe.run("split-digits", strategy("Naive", plugins=[Broken()]), **SMALL)
    assert any("before_backward" in str(entry) for entry in raised.traceback), "where it was raised is shown"
    del raised
    with pytest.raises(Interrupted):
        run("Naive", progress=lambda n, total: n == 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert not waiting()


def test_protocols_tune_and_evaluate_them(tmp_path: Path) -> None:
    from clframe.eval.protocol import conduct, parse_study

    study = parse_study(
        {
            "methods": ["avalanche(name=Replay,mem_size=40)"],
            "space": {"lr": [0.0001, 0.1]},
            "scenarios": STREAM,
            "protocols": ["first-task"],
            "trials": 2,
            "seeds": 1,
            "options": {"evaluate": "boundaries", **SMALL},
        }
    )
    (entry,) = conduct(study, tmp_path)
    assert [result.spec["options"]["lr"] for result in entry.results] == [0.1]
