"""The pieces of a run, made from what was written: stream, network, optimizer, resolved spec, and a quiet place to run in."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clframe import models, rundir, strategies
from clframe.errors import bad_option, unknown_name
from clframe.models import Network
from clframe.registry import parse
from clframe.scenarios import Stream
from clframe.scenarios.catalog import build as build_stream
from clframe.scenarios.order import Cumulative, Joint, Order
from clframe.seeding import global_state, seed_for, set_global_state
from clframe.strategies.build import Written
from clframe.types import Strategy

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
ORDERS: dict[str, Order] = {"cumulative": Cumulative(), "joint": Joint()}


def stream(scenario: str | Stream, strategy: Written, seed: int, data_dir: str | None) -> Stream:
    """The stream as written, or the one that the strategy asks for instead (cumulative, joint)."""
    import dataclasses

    made = scenario if isinstance(scenario, Stream) else build_stream(scenario, options={}, seed=seed, data_dir=data_dir)
    wanted = strategies.stream_of(strategy)
    return made if wanted == "given" else dataclasses.replace(made, order=ORDERS[wanted])


def network(model: str | nn.Module, head: str, stream: Stream, seed: int) -> Network:
    """The network for this stream: its backbone by name, its head by what the test reveals."""
    shape = stream.data.train.input_shape
    if head == "auto":
        head = "multi" if stream.reveals.task_test else "single"
    classes = [set(e.classes) for e in stream.experiences]
    disjoint = sum(map(len, classes)) == len(set[int]().union(*classes))
    rows = stream.num_classes if disjoint and head == "multi" else None
    name, options = (model, {}) if isinstance(model, nn.Module) else parse(model)
    if name == "auto":
        name = "slim-resnet18" if len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= 24 else "mlp"
    made = models.build(
        name, shape, stream.num_classes, num_tasks=stream.num_tasks, head=head, rows=rows, seed=seed, options=options
    )
    if isinstance(stream.order, Joint):  # every class comes from the first update on
        for experience in stream.experiences:
            made.begin(experience.train.classes, experience.train.task)
    return made


def width(stream: Stream) -> int | None:
    """The most classes that one task has, or one experience where tasks are not told; None where classes are not revealed."""
    if not stream.reveals.classes:
        return None
    told = stream.tasks is not None and stream.reveals.task_test
    of: dict[int, set[int]] = {}
    for k, experience in enumerate(stream.experiences):
        of.setdefault(stream.tasks[k] if told and stream.tasks is not None else k, set()).update(experience.classes)
    return max(map(len, of.values()))


def optimizer(name: str, lr: float, momentum: float, weight_decay: float) -> Callable[[Iterable[Any]], torch.optim.Optimizer]:
    """A maker of optimizers.

    Raises:
        OptionError: an unknown name, or a learning rate, momentum or weight decay out of range.
    """
    if name not in OPTIMIZERS:
        raise unknown_name("optimizer", name, OPTIMIZERS)
    if not lr > 0:
        raise bad_option("lr", "positive", lr, "Give lr=0.05.")
    if not 0 <= momentum < 1:
        raise bad_option("momentum", "in [0, 1)", momentum, "Give momentum=0.9.")
    if not weight_decay >= 0:
        raise bad_option("weight_decay", "zero or positive", weight_decay, "Give weight_decay=0.")
    if momentum and name != "sgd":
        raise bad_option("momentum", f"0 for optimizer {name!r}", momentum, "Leave it out, or give optimizer='sgd'.")
    given: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "foreach": True}
    if name == "sgd":
        given["momentum"] = momentum
    return functools.partial(OPTIMIZERS[name], **given)


def resolved(
    options: Mapping[str, Any], stream: Stream, strategy: Strategy, network: Network, data_dir: str | None
) -> dict[str, Any]:
    """What was asked and what it came to, with the identity that both give.

    `resolved` holds the stream's fingerprint (data, ids, order), every option of every part, and a hash of the initial weights,
    so that the same words over other data are another run.
    """
    words = {k: written(v) if k in ("scenario", "strategy", "model") else v for k, v in options.items()}
    found = {
        "stream": stream.fingerprint(),
        "reveals": sorted(stream.reveals.names()),
        "experiences": len(stream),
        "updates": stream.starts[-1],
        "tested_on": stream.tested_on,
        "device": stream.device.type,
        "name": stream.name,
        "strategy": strategy.describe() if hasattr(strategy, "describe") else type(strategy).__name__,
        "model": f"{type(network.backbone).__name__} + {getattr(network.head, 'kind', 'no')} head",
        "weights": _hash_of_weights(network),
    }
    from_words = all(isinstance(options[k], str) for k in ("scenario", "strategy", "model"))
    folder = data_dir or os.environ.get("CLFRAME_DATA")
    place: dict[str, Any] = {"from_words": from_words, "data_dir": None if folder is None else str(Path(folder).resolve())}
    if stream.curation is not None:  # its ids and weights are in the stream's fingerprint
        place["curation"] = dict(stream.curation.facts)
    return {"options": words, "resolved": found, "identity": rundir.identity({"options": words, "resolved": found}), **place}


def written(piece: object) -> str:
    """The short name of a piece, for tables: what was written, or what an object calls itself."""
    if isinstance(piece, str):
        return piece
    if isinstance(piece, strategies.Part):
        defaults = {p.name: p.default for p in inspect.signature(type(piece)).parameters.values()}
        given = {k: v for k, v in piece.describe()["options"].items() if defaults.get(k) != v}
        return piece.name + (f"({','.join(f'{k}={v}' for k, v in given.items())})" if given else "")
    if isinstance(piece, list | tuple):
        return "+".join(written(p) for p in piece) or "finetune"
    return str(getattr(piece, "name", None) or getattr(piece, "__name__", None) or type(piece).__name__)


@contextmanager
def isolated_run(seed: int, threads: int) -> Iterator[None]:
    """Seed torch's global generators and set the number of threads for a run; put everything back after."""
    if not isinstance(threads, int) or threads < 1:
        raise bad_option("threads", "a positive integer", threads, "Give threads=1.")
    state, before, cudnn = global_state(), torch.get_num_threads(), torch.backends.cudnn.deterministic
    torch.manual_seed(seed_for(seed, "global"))
    torch.set_num_threads(threads)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        set_global_state(state)
        torch.set_num_threads(before)
        torch.backends.cudnn.deterministic = cudnn


def _hash_of_weights(network: Network) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
