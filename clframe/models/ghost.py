"""Ghost batch normalisation: statistics of small chunks, and of new and recalled samples apart."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from clframe.errors import bad_option
from clframe.models.checks import positive

CHUNK = 128
"""Samples of a chunk where nothing else is said."""


@final
class GhostBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation of vectors (B, C) or sequences (B, C, L), every chunk by its own statistics; see `GhostBatchNorm2d`.

    Args:
        num_features: channels C.
        chunk: samples whose statistics are taken together, 2 or more.
        eps, momentum, affine, track_running_stats: as in torch's BatchNorm1d.

    Raises:
        OptionError: a chunk of fewer than 2 samples.

    Example:
        >>> GhostBatchNorm1d(1, chunk=2)(torch.tensor([[0.0], [2.0], [10.0], [30.0]])).round().flatten().tolist()
        [-1.0, 1.0, -1.0, 1.0]
    """

    def __init__(
        self,
        num_features: int,
        chunk: int = CHUNK,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.chunk, self.group_sizes = _checked(chunk), tuple[int, ...]()

    def forward(self, x: Tensor) -> Tensor:
        """The inputs, normalised, in their shape."""
        return _by_chunks(self, super().forward, x)


@final
class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of maps (B, C, H, W) in which every chunk of the batch is normalised by its own statistics.

    ::

        y = gamma (x - mean_k) / sqrt(var_k + eps) + beta      for the samples x of chunk k, in training
        running <- (1 - momentum) running + momentum stat_k    for k = 1, 2, ..., one after the other
        y = gamma (x - running_mean) / sqrt(running_var + eps) + beta             in evaluation

    So the outputs, gradients and running statistics are those of a pass over the chunks one by one whose gradients are added up.
    A batch of m chunks moves the running statistics m times: two chunks with means 1 and 3 take a running mean from 0 to 0.39.

    A batch is cut at the bounds of its groups first. Within `Learner`, these are the new samples and those that each part recalls,
    so that the statistics of old and new data are never mixed; then each group is cut into chunks. The last chunk of a group
    holds what is left. Where that is one value a channel (one sample without height and width), which has no variance, it joins
    the chunk before; alone in its group, it is normalised by the running statistics and does not move them.

    Args:
        num_features: channels C.
        chunk: samples whose statistics are taken together, 2 or more.
        eps, momentum, affine, track_running_stats: as in torch's BatchNorm2d.

    Attributes:
        group_sizes: sizes of the groups of the next batch, in order; () for one group. `Learner` sets them.

    Raises:
        OptionError: a chunk of fewer than 2 samples.

    Example:
        >>> layer = GhostBatchNorm2d(1, chunk=2)
        >>> _ = layer(torch.tensor([1.0, 1.0, 3.0, 3.0]).reshape(4, 1, 1, 1))
        >>> round(layer.running_mean.item(), 4)
        0.39

    Reference:
        Hoffer, Hubara, Soudry (2017), "Train longer, generalize better", algorithm 1.

    Differences:
        1. The authors' code runs the chunks one by one and adds up the gradients; this is one pass with the same result.
        2. The groups are not in the paper.
        3. A last, smaller chunk is allowed; the paper's batch is a multiple of the chunk.
    """

    def __init__(
        self,
        num_features: int,
        chunk: int = CHUNK,
        *,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.chunk, self.group_sizes = _checked(chunk), tuple[int, ...]()

    def forward(self, x: Tensor) -> Tensor:
        """The maps, normalised, in their shape."""
        return _by_chunks(self, super().forward, x)


def with_ghost_norm(model: nn.Module, chunk: int = CHUNK) -> nn.Module:
    """A copy of the model in which every BatchNorm1d and BatchNorm2d is a ghost one, with its weights and statistics.

    Args:
        model: any module; it stays as it is.
        chunk: samples whose statistics are taken together, 2 or more.

    Raises:
        OptionError: a chunk of fewer than 2 samples, or a model without batch normalisation.

    Example:
        >>> with_ghost_norm(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), chunk=16)[1].chunk
        16
    """
    _checked(chunk)
    made = copy.deepcopy(model)
    found = {layer: _ghost(layer, chunk) for layer in made.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)}
    if not found:
        rule = "one with batch normalisation, BatchNorm1d or BatchNorm2d, which can be made a ghost one"
        raise bad_option("model", rule, type(model).__name__, "Give one that has it, such as 'cnn(norm=batch)'.")
    if isinstance(made, nn.BatchNorm1d | nn.BatchNorm2d):
        return found[made]
    for parent in list(made.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, found[child])
    return made


def _ghost(layer: nn.BatchNorm1d | nn.BatchNorm2d, chunk: int) -> GhostBatchNorm1d | GhostBatchNorm2d:
    """A ghost layer with the parameters and buffers of the plain one: the same objects."""
    kind = GhostBatchNorm1d if isinstance(layer, nn.BatchNorm1d) else GhostBatchNorm2d
    made = kind(
        layer.num_features,
        chunk,
        eps=layer.eps,
        momentum=layer.momentum,
        affine=layer.affine,
        track_running_stats=layer.track_running_stats,
    )
    for name in ("weight", "bias"):
        made.register_parameter(name, getattr(layer, name))
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        made.register_buffer(name, getattr(layer, name))
    return made.train(layer.training)


def _by_chunks(layer: GhostBatchNorm1d | GhostBatchNorm2d, normalise: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if not layer.training or len(x) == 0:
        return normalise(x)
    values = x[0, 0].numel()
    pieces = _pieces(layer.group_sizes or (len(x),), layer.chunk, values)
    if len(pieces) == 1 and not (len(x) == values == 1):
        return normalise(x)
    done = []
    for piece in torch.split(x, pieces):
        alone = len(piece) == values == 1 and layer.running_mean is not None
        done.append(_as_in_evaluation(layer, piece) if alone else normalise(piece))
    return torch.cat(done)


def _as_in_evaluation(layer: GhostBatchNorm1d | GhostBatchNorm2d, x: Tensor) -> Tensor:
    return functional.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, layer.eps)


def _pieces(groups: Sequence[int], chunk: int, values: int) -> list[int]:
    """Sizes of the chunks of all groups; a last one with a single value a channel joins the chunk before."""
    found: list[int] = []
    for size in groups:
        whole, left = divmod(size, chunk)
        sizes = [chunk] * whole + ([left] if left else [])
        if whole and left * values == 1:
            sizes[-2:] = [chunk + 1]
        found += sizes
    return found


def _checked(chunk: int) -> int:
    if positive("chunk", chunk) < 2:
        raise bad_option("chunk", "2 or more, because one sample has no variance", chunk, f"Give chunk={CHUNK}.")
    return int(chunk)
