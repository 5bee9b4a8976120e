"""BiC: bias correction."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from clframe import selection
from clframe.errors import bad_option
from clframe.seeding import isolated
from clframe.strategies.class_means import in_chunks
from clframe.strategies.filling import CHUNK
from clframe.strategies.part import Part, View
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class BiC(Part):
    """BiC: replay and distillation, then a correction of the new classes' scores, fitted on balanced samples held out.

        stage 1:  l_i = (1 - lambda) CE(s(x_i), y_i) + lambda * sum_{c in old} -p_c(t(x_i) / T) log p_c(s(x_i) / T)
        stage 2:  q_c = alpha s_c + beta for the new classes c,  q_c = s_c for the old ones
                  (alpha, beta) = argmin mean_{i in held out} CE(q(x_i), y_i) + ridge / 2 ((alpha - 1)^2 + beta^2)

    with s the network's scores, t those of the network at the end of the last experience, corrected as they were answered then,
    p the softmax over the old classes, lambda = |old| / (|old| + |new|). Stage 1 is training; stage 2 follows at the end of an
    experience, and from then on q answers. During the next experience the scores answer as they are: they learn the correction
    from t, so it is not applied twice.

    Of `size` remembered samples the share `held_out` is never trained on: when an experience begins, as many samples of each of
    its classes are drawn as every class met keeps there. They count 0 in the loss when the stream brings them.

    Args:
        size: remembered samples in all, held-out ones included.
        batch_size: samples recalled beside each new batch; as many as are new by default.
        held_out: share of `size` to fit the correction on.
        temperature: T.
        strength: lambda; by default it follows the number of classes, as above.
        ridge: how much the correction is pulled to none; without it a few samples that are all answered right make alpha grow
            without bound.
        memory: how the samples to train on are chosen: "herding", or one of the others (see `er`).

    Raises:
        OptionError: a size below twice the number of classes; a batch size, share, temperature, strength or ridge out of range;
            an unknown memory.

    Logs:
        - bic/criterion: the mean of l over new and recalled samples that are not held out.

    Example:
        >>> import clframe
        >>> result = clframe.run("split-digits", "bic(size=200)", evaluate="boundaries")
        >>> sorted(result.terms.term.unique())
        ['bic/criterion']

    Reference: Wu, Chen, Wang, Ye, Liu, Guo, Fu, "Large scale incremental learning", 2019, sections 3 and 4.
    Differences:
        1. The paper trains on the new data and all exemplars, shuffled together; here a batch of exemplars is recalled beside each
           new batch.
        2. Stage 2 finds the minimum (it is convex in alpha and beta) with `ridge`. Avalanche takes steps of SGD
           and pulls beta only, as hard.
        3. Avalanche (0.6.0) takes the teacher's softmax over the samples of the batch instead of the classes (`dim=0`) and T = 2
           whatever is asked for, holds out the first samples of a class instead of random ones, and weighs by 1 - lambda whatever
           other plugins have added to the loss so far.
        4. PyCIL keeps one alpha and beta for each experience and applies all of them.
        5. Samples that are held out still pass through the network with their batch: layers that keep statistics see them.
        6. Classes of the experience in progress are new even if they were met before; where no class is old, there is nothing to
           correct. With separate heads, old classes are distilled on the recalled samples of their own task.
    """

    name = "bic"
    state = ("memory", "held", "held_y", "teacher", "known", "corrected", "alpha", "beta", "answering")
    requires = frozenset({"boundaries", "classes"})

    def __init__(
        self,
        size: int = 500,
        batch_size: int | None = None,
        held_out: float = 0.1,
        temperature: float = 2.0,
        strength: float | None = None,
        ridge: float = 0.1,
        memory: str = "herding",
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise bad_option("batch_size", "a positive integer or None", batch_size, "Leave it out to recall as many as are new.")
        if not 0 < held_out < 1:
            raise bad_option("held_out", "a share in (0, 1)", held_out, "Give held_out=0.1.")
        if not temperature > 0:
            raise bad_option("temperature", "positive", temperature, "Give temperature=2.0.")
        if strength is not None and not 0 <= strength <= 1:
            raise bad_option("strength", "in [0, 1] or None", strength, "Leave it out to follow the number of classes.")
        if not ridge > 0:
            raise bad_option("ridge", "positive, so that the correction is bounded", ridge, "Give ridge=0.1.")
        selection.memory(memory, size, torch.Generator())
        self.size, self.batch_size, self.held_out, self.temperature = size, batch_size, held_out, temperature
        self.strength, self.ridge, self.kind = strength, ridge, memory
        self.known: list[int] = []
        self.corrected: list[int] = []
        self.alpha, self.beta, self.answering = 1.0, 0.0, False
        self.held, self.held_y = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
        self._sample_bytes = 0

    def bind(self, model: Network, generator: torch.Generator) -> None:
        """The teacher has the model's shape from the start; its weights count once there is something to teach."""
        super().bind(model, generator)
        classes = model.num_classes
        if self.size < 2 * classes:
            rule = f"at least twice the number of classes, {classes}: one sample to train on and one to hold out of each"
            raise bad_option("size", rule, self.size, f"Give size={20 * classes}.")
        self._room = min(max(round(self.size * self.held_out), classes), self.size - classes)
        self.memory = selection.memory(self.kind, self.size - self._room, generator)
        self.teacher = copy.deepcopy(model).requires_grad_(False).eval()

    def begin(self, train: Train) -> None:
        """Hold samples of the new classes out; from now on the scores answer as they are."""
        assert train.classes is not None
        self._fetch, self._current, self._sample_bytes = train.fetch, list(train.classes), train.sample_bytes
        self.answering = False
        quota = self._room // len({*self.known, *train.classes})
        kept = {c: self.held[self.held_y == c][:quota].tolist() for c in self._old}
        kept |= _drawn(train, quota, self.generator)
        self.held = torch.tensor([i for ids in kept.values() for i in ids], dtype=torch.int64)
        self.held_y = torch.tensor([c for c, ids in kept.items() for _ in ids], dtype=torch.int64)

    def recall(self, batch: Batch) -> Batch | None:
        """Remembered samples, drawn at random."""
        return self._fetch(self.memory.draw(self.batch_size or len(batch))) if self.memory.filled else None

    def criterion(self, view: View) -> Tensor:
        """Stage 1."""
        batch, old = view.batch, self._old
        each = functional.cross_entropy(view.logits, batch.y, reduction="none")
        if old:
            with torch.no_grad():
                taught = self._correct(self.teacher(batch.x, batch.task))
            self.forwards += len(batch)
            share = len(old) / len({*old, *self._current}) if self.strength is None else self.strength
            each = (1 - share) * each + share * distillation(view.logits[:, old], taught[:, old], self.temperature)
        return self._without_held_out(each, batch)

    def end(self, train: Train) -> None:
        """Fill the memory, fit the correction; the model becomes the teacher."""
        self._fill(train)
        self.teacher.load_state_dict(self.model.state_dict())
        old, self.corrected, self.alpha, self.beta = self._old, [], 1.0, 0.0
        self.known = sorted({*self.known, *self._current})
        if old:
            with isolated(self.model), torch.inference_mode(False), torch.no_grad():
                found = [(b.y, self.model(b.x, b.task)) for b in in_chunks(self._fetch, self.held)]
            self.forwards += len(self.held)
            y, logits = (torch.cat(column) for column in zip(*found, strict=True))
            self.corrected = sorted(self._current)
            self.alpha, self.beta = fit_correction(logits, y, self.known, self.corrected, self.ridge)
        self.answering = True

    def read(self, features: Tensor, logits: Tensor, task: Tensor | None) -> Tensor:
        """The corrected scores, once the experience is over."""
        return self._correct(logits) if self.answering else logits

    def state_bytes(self) -> int:
        """The remembered samples as they are stored in the source, with their labels, and the rest of the state."""
        return (self.memory.filled + len(self.held)) * (self._sample_bytes + 8) + super().state_bytes()

    def describe(self) -> dict[str, Any]:
        """Name and options."""
        options: dict[str, Any] = {"size": self.size, "batch_size": self.batch_size, "held_out": self.held_out}
        options |= {"temperature": self.temperature, "strength": self.strength, "ridge": self.ridge, "memory": self.kind}
        return {"part": "BiC", "name": self.name, "options": options}

    @property
    def _old(self) -> list[int]:
        return [c for c in self.known if c not in self._current]

    def _correct(self, logits: Tensor) -> Tensor:
        """alpha s + beta for the corrected classes; what the head rules out stays so."""
        if not self.corrected:
            return logits
        scores = logits.clone()
        scores[:, self.corrected] = self.alpha * logits[:, self.corrected] + self.beta
        return scores.masked_fill(logits.isneginf(), -torch.inf)

    def _without_held_out(self, each: Tensor, batch: Batch) -> Tensor:
        """The losses, 0 for samples held out, such that the weighted mean over all is that over the others."""
        trained = ~torch.isin(batch.index, self.held)
        if trained.all():
            return each
        divisor = torch.ones_like(each) if batch.divisor is None else batch.divisor
        trained = trained.to(each.device)
        counted = (trained * divisor).sum()
        share = torch.where(counted > 0, divisor.sum() / counted, 0.0)  # a factor of 0 where all are held out: no NaN goes backward
        return torch.where(trained, each * share, 0)

    def _fill(self, train: Train) -> None:
        """Offer what is not held out to the memory; one that settles is given the features."""
        settled = []
        for batch in train.batches(CHUNK):
            rest = ~torch.isin(batch.index, self.held)
            index, y = batch.index[rest], batch.y[rest.to(batch.y.device)]
            self.memory.update(index, y)
            if self.memory.settles:
                with isolated(self.model), torch.no_grad():
                    settled.append((index, y, self.model.features(batch.x[rest.to(batch.x.device)])))
                self.forwards += len(index)
        if settled:
            self.memory.settle(*(torch.cat(column) for column in zip(*settled, strict=True)))


def distillation(scores: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """-sum_c p_c(taught / T) log p_c(scores / T) of each row (B,), p the softmax; 0 for a row whose head rules all of them out.

    Example:
        >>> distillation(torch.zeros(1, 2), torch.zeros(1, 2), 2.0)
        tensor([0.6931])
    """
    ruled_out = taught.isneginf()
    lowest = torch.finfo(scores.dtype).min / 2  # finite, so that a row without any class is no NaN
    target = (taught / temperature).masked_fill(ruled_out, lowest).softmax(1)
    answer = (scores / temperature).masked_fill(ruled_out, lowest).log_softmax(1)
    return -(target * answer).masked_fill(ruled_out, 0).sum(1)


def fit_correction(logits: Tensor, y: Tensor, classes: list[int], new: list[int], ridge: float) -> tuple[float, float]:
    """alpha and beta that minimise mean CE(q, y) + ridge / 2 ((alpha - 1)^2 + beta^2), q = alpha s + beta for the new classes.

    Args:
        logits: scores s (n, C).
        y: labels (n,).
        classes: those that compete in the cross-entropy.
        new: those of them that are corrected.
        ridge: strictly positive, so that the minimum is unique.

    Example: scores for class 1 that are too high by 2 for half of the samples.
        >>> s = torch.tensor([[0.0, 2.0], [0.0, 2.0]])
        >>> alpha, beta = fit_correction(s, torch.tensor([0, 1]), [0, 1], [1], 1e-6)
        >>> abs(2 * alpha + beta) < 1e-4
        True
    """
    chosen = logits[:, classes].detach().cpu().double()
    ruled_out = chosen.isneginf()
    chosen = chosen.masked_fill(ruled_out, 0)
    is_new = torch.tensor([c in new for c in classes])
    target = torch.tensor([classes.index(c) for c in y.tolist()])
    correction = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    start = correction.detach().clone()
    search = torch.optim.LBFGS(
        [correction], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        scores = torch.where(is_new, correction[0] * chosen + correction[1], chosen).masked_fill(ruled_out, -torch.inf)
        value = functional.cross_entropy(scores, target) + ridge / 2 * (correction - start).square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.inference_mode(False), torch.enable_grad():
        search.step(loss)  # type: ignore[no-untyped-call]
    alpha, beta = correction.tolist()
    return alpha, beta


def _drawn(train: Train, quota: int, generator: torch.Generator) -> dict[int, list[int]]:
    """At most `quota` random ids of each class of the experience, and of no class more than half."""
    assert train.classes is not None
    assert train.size is not None
    held: dict[int, list[int]] = {c: [] for c in train.classes}
    met = dict.fromkeys(train.classes, 0)
    for batch in train.batches(CHUNK, order=train.sample(train.size, generator)):
        for i, c in zip(batch.index.tolist(), batch.y.tolist(), strict=True):
            met[c] += 1
            if len(held[c]) < min(quota, met[c] // 2):
                held[c].append(i)
        if all(len(ids) == quota for ids in held.values()):
            break
    return held
