"""The migration page runs, and what it says of Avalanche is still so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from clframe.cli.main import main

pytest.importorskip("avalanche")
pytestmark = pytest.mark.filterwarnings("ignore")

PAGE = (Path(__file__).parents[2] / "docs" / "bridges" / "avalanche.md").read_text()


def test_the_blocks_of_the_page_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 7
    for block in blocks:
        exec(compile(block, "docs/bridges/avalanche.md", "exec"), names)
    assert names["result"].finished and (tmp_path / "runs/my-script/report.html").exists()
    assert min(names["theirs"].metrics.acc, names["ours"].metrics.acc) > 0.6
    (command,) = re.findall(r"^\$ clframe (.*)$", PAGE, re.MULTILINE)
    assert main([*shlex.split(command), "--seeds", "1", "--jobs", "1", "--evaluate", "boundaries"]) == 0
    assert main(["report", "runs"]) == 0
    together = (tmp_path / "runs/report.html").read_text()
    assert "Naive+ReplayPlugin" in together and "er(size=200)" in together and "<h1>split-digits" in together


def data(seed: int, classes: int = 6) -> Any:
    made: Any = TensorDataset(torch.randn(60, 4, generator=torch.Generator().manual_seed(seed)), torch.arange(60) % classes)
    made.targets = (torch.arange(60) % classes).tolist()
    return made


def old(**options: Any) -> Any:
    from avalanche.benchmarks import nc_benchmark

    return nc_benchmark(data(0), data(1), 3, **{"task_labels": False, "seed": 0, **options})


def new(classes: int = 6) -> Any:
    from avalanche.benchmarks import class_incremental_benchmark
    from avalanche.benchmarks.utils import as_classification_dataset

    parts = {"train": as_classification_dataset(data(0, classes)), "test": as_classification_dataset(data(1, classes))}
    return class_incremental_benchmark(parts, num_experiences=3, seed=0)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 6))


def trained(name: str, benchmark: Any, model: nn.Module | None = None, look: bool = False, **options: Any) -> Any:
    from avalanche.training import supervised
    from avalanche.training.plugins import EvaluationPlugin

    model = network() if model is None else model
    kind = getattr(supervised, name)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    looking = {"eval_every": 1, "peval_mode": "iteration"} if look else {}
    further = {} if name in ("Naive", "DER") else {"criterion": nn.CrossEntropyLoss()}
    options = {"train_mb_size": 8, "evaluator": EvaluationPlugin(loggers=[]), **looking, **further, **options}
    strategy = kind(model=model, optimizer=optimizer, **options)
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[benchmark.test_stream] if look else [])
    return strategy


def weights(strategy: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in strategy.model.parameters()])


def icarl(benchmark: Any) -> None:
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import ICaRL

    first, last = nn.Linear(4, 8), nn.Linear(8, 6)
    optimizer = torch.optim.SGD([*first.parameters(), *last.parameters()], lr=0.1)
    options: dict[str, Any] = {"memory_size": 20, "buffer_transform": None, "fixed_memory": True, "train_mb_size": 8}
    made = ICaRL(feature_extractor=first, classifier=last, optimizer=optimizer, evaluator=EvaluationPlugin(loggers=[]), **options)
    made.train(benchmark.train_stream)


def saved(tmp_path: Path) -> None:
    from avalanche.checkpointing import save_checkpoint

    save_checkpoint(trained("Naive", old()), tmp_path / "checkpoint.pt")


def multi_head() -> Any:
    from avalanche.models import MTSimpleMLP

    return MTSimpleMLP(input_size=4, hidden_size=8)


FAILS: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "checkpoints": (saved, Exception, "typing_extensions"),
    "BiC": (lambda _: trained("BiC", old(), mem_size=20), TypeError, "verbose"),
    "BiC, new": (
        lambda _: trained("BiC", new(), mem_size=20),
        AttributeError,
        "'dataset' of 'DatasetExperience' object has no setter",
    ),
    "LwF, new": (lambda _: trained("LwF", new(), alpha=1.0, temperature=2.0), AttributeError, "targets_task_labels"),
    "ICaRL, new": (lambda _: icarl(new()), AttributeError, "no attribute 'benchmark'"),
    "DER, multi-head": (lambda _: trained("DER", old(task_labels=True), multi_head(), mem_size=20), TypeError, "task_labels"),
    "AGEM": (lambda _: trained("AGEM", old(), patterns_per_exp=5, sample_size=1), ValueError, "batch_size=0"),
}


@pytest.mark.parametrize("what", FAILS)
def test_what_fails_there(what: str, tmp_path: Path) -> None:
    use, kind, sentence = FAILS[what]
    with pytest.raises(kind, match=sentence):
        use(tmp_path)


def test_what_works_beside_it() -> None:
    icarl(old())
    trained("LwF", old(), alpha=1.0, temperature=2.0)
    trained("AGEM", old(), patterns_per_exp=5, sample_size=5)


def test_measuring_there_moves_the_weights() -> None:
    plain, again, looked = (weights(trained("Naive", old(), look=look)) for look in (False, False, True))
    assert torch.equal(plain, again) and (plain - looked).abs().max() > 0.01


def test_measuring_there_takes_the_outputs_from_later_plugins() -> None:
    seen: list[bool] = []

    class Note:
        def after_training_iteration(self, strategy: Any, **_: Any) -> None:
            seen.append(strategy.mb_output is None)

    for look in (False, True):
        from avalanche.training.supervised import Naive

        model, benchmark = network(), old()
        looking = {"eval_every": 1, "peval_mode": "iteration"} if look else {}
        strategy = Naive(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), train_mb_size=8, **looking)
        strategy.plugins.append(Note())
        strategy.train(benchmark.train_stream[0], eval_streams=[benchmark.test_stream] if look else [])
    assert set(seen[: len(seen) // 2]) == {False} and set(seen[len(seen) // 2 :]) == {True}


def test_synaptic_intelligence_there_does_nothing_on_a_cpu() -> None:
    none, much = (weights(trained("SynapticIntelligence", old(), si_lambda=strength)) for strength in (0.0, 1e6))
    assert torch.equal(none, much)


def test_the_second_memory_there_replaces_the_first() -> None:
    from avalanche.training.plugins import ReplayPlugin

    sizes: list[list[int]] = []

    class Note:
        def before_training_epoch(self, strategy: Any, **_: Any) -> None:
            sizes.append([len(d) for d in strategy.dataloader.datasets])

    first, second = ReplayPlugin(10), ReplayPlugin(30)
    trained("Naive", old(), plugins=[first, second, Note()])
    assert sizes[2] == [20, 30] and len(first.storage_policy.buffer) == 10


def test_class_incremental_there_loses_a_class_and_seeds_the_global_generator() -> None:
    classes = [c for e in new(10).train_stream for c in e.classes_in_this_experience]
    assert len(classes) == 9
    torch.manual_seed(5)
    states = []
    for draws in (1, 2):
        torch.rand(draws)
        new()
        states.append(torch.get_rng_state())
    assert torch.equal(*states)


def test_gem_without_its_solver_is_answered_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import clframe
    from clframe.errors import MissingExtraError

    monkeypatch.setattr("clframe.bridges.avalanche.making.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install quadprog"):
        clframe.run("split-digits", "avalanche(name=GEM,patterns_per_exp=5,memory_strength=0.5)")
