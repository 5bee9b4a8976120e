"""Avalanche's benchmarks as scenarios, and scenarios as its benchmarks: the real Avalanche, made from local data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import clframe
from clframe.data import from_arrays
from clframe.errors import ClframeError, CompositionError, DataError, OptionError
from clframe.scenarios import Stream, class_incremental
from clframe.scenarios.catalog import build
from clframe.types import Reveals

pytest.importorskip("avalanche")
pytestmark = pytest.mark.filterwarnings("ignore")


class Images(Dataset[Any]):
    """28x28 images of ten classes, or tensors of them, as Avalanche's own MNIST gives; it counts how often one is read."""

    def __init__(self, size: int, seed: int, as_tensors: bool = False) -> None:
        self.as_tensors = as_tensors
        draw = np.random.default_rng(seed)
        self.x = draw.integers(0, 256, (size, 28, 28), dtype=np.uint8)
        self.targets = torch.arange(size) % 10
        self.read = 0

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        from PIL import Image

        self.read += 1
        x = torch.from_numpy(self.x[i])[None] / 255 if self.as_tensors else Image.fromarray(self.x[i])
        return x, int(self.targets[i])


@pytest.fixture
def mnist(monkeypatch: pytest.MonkeyPatch) -> tuple[Images, Images]:
    """Avalanche's classic MNIST benchmarks, over local images."""
    parts = Images(120, 0, as_tensors=True), Images(60, 1, as_tensors=True)
    monkeypatch.setattr("avalanche.benchmarks.classic.cmnist.get_mnist_dataset", lambda root: parts)
    return parts


def bridge() -> Any:
    from clframe.bridges import avalanche

    return avalanche


def same_samples(stream: Stream, benchmark: Any) -> None:
    """Every experience holds Avalanche's samples, in its order, and so does every test."""
    sides = (("train", stream.segments, stream.data.train), ("test", stream.tests, stream.data.test))
    for name, segments, source in sides:
        for ids, experience in zip(segments, benchmark.streams[name], strict=True):
            data = experience.dataset.train() if name == "train" else experience.dataset.eval()
            theirs = [data[i] for i in range(len(data))]
            torch.testing.assert_close(source.fetch(torch.from_numpy(ids)), torch.stack([t[0] for t in theirs]).float())
            assert source.y[ids].tolist() == [int(t[1]) for t in theirs]


def test_split_mnist_keeps_the_rows_of_the_data_set_as_ids(mnist: tuple[Images, Images]) -> None:
    from avalanche.benchmarks.classic import SplitMNIST

    benchmark = SplitMNIST(5, seed=1)
    stream = bridge().scenario(benchmark, name="split-mnist")
    assert mnist[0].read < 60, "building must not read the images"
    assert [e.classes for e in stream.experiences] == [
        tuple(sorted(c)) for c in benchmark.train_stream.benchmark.original_classes_in_exp
    ]
    for ids, experience in zip(stream.segments, stream.experiences, strict=True):
        assert set((mnist[0].targets[ids]).tolist()) == set(experience.classes)
    assert sorted(np.concatenate(stream.segments).tolist()) == list(range(120))
    assert stream.tasks is None and stream.reveals == Reveals()
    same_samples(stream, benchmark)
    result = clframe.run(stream, "er(size=20)", evaluate="boundaries")
    assert result.finished


def test_task_labels_are_kept_and_told(mnist: tuple[Images, Images]) -> None:
    from avalanche.benchmarks.classic import SplitMNIST

    stream = bridge().scenario(SplitMNIST(5, return_task_id=True, seed=1))
    assert stream.tasks == (0, 1, 2, 3, 4)
    assert stream.reveals.task_train and stream.reveals.task_test
    hidden = bridge().scenario(SplitMNIST(5, return_task_id=True, seed=1), reveals=Reveals())
    assert hidden.tasks == (0, 1, 2, 3, 4) and not hidden.reveals.task_test
    assert clframe.run(stream, "finetune", evaluate="boundaries").finished


def test_classes_numbered_anew_in_each_experience_are_other_labels(mnist: tuple[Images, Images]) -> None:
    from avalanche.benchmarks.classic import SplitMNIST

    benchmark = SplitMNIST(5, return_task_id=True, seed=1, class_ids_from_zero_in_each_exp=True)
    stream = bridge().scenario(benchmark)
    assert [e.classes for e in stream.experiences] == [(0, 1)] * 5
    same_samples(stream, benchmark)


def test_permuted_mnist_has_a_sample_for_each_permutation(mnist: tuple[Images, Images]) -> None:
    from avalanche.benchmarks.classic import PermutedMNIST

    benchmark = PermutedMNIST(3, seed=2)
    stream = bridge().scenario(benchmark)
    assert len(stream.data.train) == 3 * 120 and len(np.unique(np.concatenate(stream.segments))) == 360
    same_samples(stream, benchmark)
    first, second = (stream.data.train.fetch(torch.tensor([i])).flatten() for i in (0, 120))
    assert not torch.equal(first, second)
    assert torch.equal(first.sort().values, second.sort().values)


def test_rotated_mnist(mnist: tuple[Images, Images]) -> None:
    from avalanche.benchmarks.classic import RotatedMNIST

    benchmark = RotatedMNIST(2, rotations_list=[0, 90], seed=0)
    same_samples(bridge().scenario(benchmark), benchmark)


def tensors(classes: int = 6, size: int = 60, shape: tuple[int, ...] = (4,), seed: int = 0) -> Any:
    from torch.utils.data import TensorDataset

    draw = torch.Generator().manual_seed(seed)
    found: Any = TensorDataset(torch.randn(size, *shape, generator=draw), torch.arange(size) % classes)
    found.targets = (torch.arange(size) % classes).tolist()
    return found


def test_the_new_interfaces() -> None:
    from avalanche.benchmarks import (
        benchmark_with_validation_stream,
        class_incremental_benchmark,
        new_instances_benchmark,
        ni_benchmark,
        task_incremental_benchmark,
        tensors_benchmark,
    )
    from avalanche.benchmarks.utils import as_classification_dataset

    def both() -> dict[str, Any]:
        return {"train": as_classification_dataset(tensors()), "test": as_classification_dataset(tensors(seed=1))}

    by_class = class_incremental_benchmark(both(), num_experiences=3, seed=0)
    stream = bridge().scenario(by_class)
    same_samples(stream, by_class)
    assert len(stream) == 3 and stream.tasks is None
    assert sorted(np.concatenate(stream.segments).tolist()) == list(range(60))

    by_task = task_incremental_benchmark(class_incremental_benchmark(both(), num_experiences=3, seed=0), reset_task_labels=True)
    assert bridge().scenario(by_task).tasks == (0, 1, 2)

    held = benchmark_with_validation_stream(by_class, validation_size=0.25, shuffle=True)
    stream = bridge().scenario(held)
    assert [len(ids) for ids in stream.validation] == [5, 5, 5]
    assert not set(np.concatenate(stream.validation)) & set(np.concatenate(stream.segments))

    by_instance = new_instances_benchmark(*both().values(), num_experiences=4, seed=0)
    stream = bridge().scenario(by_instance)
    assert len(stream) == 4 and [len(ids) for ids in stream.tests] == [60] * 4, "one test set is that of every experience"
    old = ni_benchmark(tensors(), tensors(seed=1), n_experiences=4, seed=0)
    assert len(bridge().scenario(old)) == 4

    parts = [(torch.randn(8, 3, 5, 5), torch.arange(8) % 2) for _ in range(2)]
    made = tensors_benchmark(train_tensors=parts, test_tensors=parts, task_labels=[1, 0])
    stream = bridge().scenario(made)
    assert stream.tasks == (1, 0) and stream.data.train.input_shape == (3, 5, 5)
    same_samples(stream, made)


def test_online_streams_become_the_batches_of_the_experience_that_they_were_split_from(mnist: tuple[Images, Images]) -> None:
    from avalanche.benchmarks import split_continuous_linear_decay_stream, split_online_stream
    from avalanche.benchmarks.classic import SplitMNIST

    benchmark = SplitMNIST(5, seed=1)
    for access in (True, False):
        online = split_online_stream(benchmark.train_stream, 7, seed=3, access_task_boundaries=access)
        stream = bridge().scenario(benchmark, train=online)
        assert stream.online and stream.reveals.boundaries is access and len(stream) == 5
        assert [len(ids) for ids in stream.segments] == [24] * 5
        walked = stream.walked(batch_size=7)
        batches = [b for e in walked.experiences for _, b in e.steps()]
        for batch, small in zip(batches, split_online_stream(benchmark.train_stream, 7, seed=3), strict=True):
            assert batch.y.tolist() == [int(t) for t in small.dataset.targets]
            torch.testing.assert_close(batch.x[0], small.dataset[0][0])
    decaying = split_continuous_linear_decay_stream(benchmark.train_stream, 6, iters_per_virtual_epoch=4, beta=4, shuffle=True)
    stream = bridge().scenario(benchmark, train=decaying)
    assert len(stream) == 5 and not stream.reveals.boundaries
    ids = np.concatenate(stream.segments)
    assert len(ids) == 20 * 6 and ids.max() < 120
    assert clframe.run(stream, "finetune", evaluate="boundaries", batch_size=6).finished


ROUND_TRIPS = (
    "split-digits",
    "split-digits[1:3]",
    "task-split-digits",
    "permuted-digits(experiences=3)",
    "class-incremental(validation=0.1)",
    "recurring-digits",
    "blurry-digits",
)


@pytest.mark.parametrize("words", ROUND_TRIPS)
def test_there_and_back_a_scenario_has_the_same_samples(words: str) -> None:
    stream = build(words, seed=3)
    back = bridge().scenario(bridge().benchmark(stream), reveals=stream.reveals)
    assert back.name == stream.name
    assert back.data.train is stream.data.train and back.data.test is stream.data.test
    for there, here in ((stream.segments, back.segments), (stream.tests, back.tests), (stream.validation, back.validation)):
        assert all(np.array_equal(a, b) for a, b in zip(there, here, strict=True))
    if stream.reveals.task_train:
        assert list(back.tasks or ()) == list(stream.tasks or ())


def test_a_benchmark_gives_the_samples_of_the_scenario() -> None:
    stream = build("task-split-digits")
    benchmark = bridge().benchmark(stream)
    same_samples(stream, benchmark)
    assert [e.task_label for e in benchmark.train_stream] == [0, 1, 2, 3, 4]
    assert benchmark.train_stream[1].dataset[0][2] == 1
    assert benchmark.test_stream[2].classes_in_this_experience == list(stream.experiences[2].classes)
    assert bridge().benchmark("split-digits").train_stream[1].dataset[0][2] == 0, "what is not revealed is not told"


def test_avalanche_trains_on_a_scenario() -> None:
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import ICaRL, Naive

    from clframe.bridges.avalanche.networks import Features
    from clframe.models import build as network

    benchmark = bridge().benchmark("split-digits(experiences=2)")
    net = network("mlp", (1, 8, 8), 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    strategy = Naive(model=net, optimizer=optimizer, train_mb_size=32, evaluator=EvaluationPlugin(loggers=[]))
    strategy.train(benchmark.train_stream)
    net = network("mlp", (1, 8, 8), 10)
    strategy = ICaRL(
        feature_extractor=Features(net),
        classifier=net.head,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
        memory_size=40,
        buffer_transform=None,
        fixed_memory=True,
        train_mb_size=32,
        evaluator=EvaluationPlugin(loggers=[]),
    )
    for experience in benchmark.train_stream:
        strategy.train(experience)


def test_what_does_not_fit_is_refused() -> None:
    from avalanche.benchmarks import benchmark_from_datasets, nc_benchmark, tensors_benchmark
    from avalanche.benchmarks.utils import as_classification_dataset

    def refused(match: str, kind: type[ClframeError] = DataError, **options: Any) -> None:
        with pytest.raises(kind, match=match):
            bridge().scenario(**options)

    parts = [(torch.randn(8, 3), torch.arange(8) % 2) for _ in range(3)]
    uneven = tensors_benchmark(train_tensors=parts, test_tensors=parts[:2], task_labels=[0, 0, 0])
    refused("one test experience for each training experience, or one for all; got 2 for 3", benchmark=uneven)
    images = nc_benchmark(
        Images(20, 0), Images(20, 1), n_experiences=2, task_labels=False, train_transform=None, eval_transform=None
    )
    refused("must be tensors or arrays; got Image", benchmark=images)
    only = benchmark_from_datasets(train=[as_classification_dataset(tensors())])
    refused("a benchmark with a stream 'test'; got \\['train'\\]", OptionError, benchmark=only)
    made = tensors_benchmark(train_tensors=parts, test_tensors=parts, task_labels=[0, 0, 0])
    refused("transforms must be 'train' or 'eval'; got 'none'", OptionError, benchmark=made, transforms="none")
    mixed = as_classification_dataset(tensors())
    two = benchmark_from_datasets(train=[mixed.update_data_attribute("targets_task_labels", [0, 1] * 30)], test=[mixed])
    refused("must have one task label; experience 0 has \\[0, 1\\]", benchmark=two)


def test_transforms_that_draw_are_refused_and_those_of_evaluation_taken_instead() -> None:
    from avalanche.benchmarks import nc_benchmark
    from torchvision import transforms

    crop = transforms.Compose([transforms.RandomCrop(28, padding=4), transforms.ToTensor()])
    plain = transforms.ToTensor()
    made = nc_benchmark(Images(40, 0), Images(20, 1), 2, task_labels=False, train_transform=crop, eval_transform=plain)
    state = torch.get_rng_state()
    with pytest.raises(DataError, match="train transforms must give the same input each time; these draw at random"):
        bridge().scenario(made)
    stream = bridge().scenario(made, transforms="eval")
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(stream.data.train.fetch(torch.tensor([3])), stream.data.train.fetch(torch.tensor([3])))


def test_streams_that_avalanche_does_not_know_are_refused() -> None:
    x, y = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), np.arange(40) % 4
    weighted = class_incremental(from_arrays(x, y, weight=np.ones(40)), experiences=2)
    with pytest.raises(CompositionError, match="knows no weights of samples"):
        bridge().benchmark(weighted)
    import dataclasses

    from clframe.scenarios.order import Joint

    with pytest.raises(CompositionError, match="comes in the order Joint"):
        bridge().benchmark(dataclasses.replace(build("split-digits"), order=Joint()))
