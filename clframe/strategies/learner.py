"""The Learner: a model, an optimizer and parts, composed by algebra so that the order of parts cannot matter."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from clframe.errors import CompositionError
from clframe.seeding import generator
from clframe.strategies.part import Part, View, bytes_of
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


HOOKS = ("recall", "penalty", "project", "absorb", "begin", "end")


class Learner:
    """One strategy made of parts.

    One iteration, with new batch B and parts p in the order of their names:

        U     = B + sum_p recall_p(B)                       (a tagged union of batches)
        terms = {ce: sum_i w_i CE(f(x_i), y_i) / sum_i w_i, i in U} + {p/...: penalty_p}
        g     = project(grad of the sum of terms in name order)
        theta <- optimizer(theta, g), then absorb_p

    Parts are sorted by name, every part draws from a generator addressed by its name, and gradients are rewritten in one
    slot. So `Learner(m, o, a, b)` and `Learner(m, o, b, a)` are the same learner, bit for bit.

    Args:
        model: the network; `model.begin` may grow its head when an experience begins, and only then.
        optimizer: any torch optimizer over the model's parameters.
        parts: the parts.
        seed: root of the parts' random numbers.
        reset_optimizer: forget momentum and the like when an experience begins.
        decompose: return the split of the gradient into plasticity (the new batch) and stability (all the rest).

    Raises:
        CompositionError: two parts of one name, or two that rewrite the gradient.

    Example:
        >>> from clframe.models import build
        >>> from clframe.strategies import LwF, Replay
        >>> model = build("mlp", (1, 8, 8), 10)
        >>> learner = Learner(model, torch.optim.SGD(model.parameters(), lr=0.05), LwF(), Replay(size=100))
        >>> [part.name for part in learner.parts], sorted(learner.requires)
        (['er', 'lwf'], ['boundaries', 'classes'])
    """

    def __init__(
        self,
        model: Network,
        optimizer: torch.optim.Optimizer,
        *parts: Part,
        seed: int = 0,
        reset_optimizer: bool = False,
        decompose: bool = False,
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.parts = tuple(sorted(parts, key=lambda p: p.name))
        self.reset_optimizer, self.decompose = reset_optimizer, decompose
        self.forwards = self.backwards = 0
        _refuse_conflicts(self.parts)
        for part in self.parts:
            part.bind(model, generator(seed, "part", part.name))
        self.requires = frozenset[str]().union(*(part.requires for part in self.parts))
        self._recalling = [p for p in self.parts if overrides(p, "recall")]
        self._penalising = [p for p in self.parts if overrides(p, "penalty")]
        self._projecting = [p for p in self.parts if overrides(p, "project")]
        self._absorbing = [p for p in self.parts if overrides(p, "absorb")]
        self._parameters = [p for p in model.parameters() if p.requires_grad]

    def begin(self, train: Train) -> None:
        """An experience begins: the head may grow, the parts are told."""
        self.model.begin(train.classes, train.task)
        self.model.train()
        if self.reset_optimizer:
            self.optimizer.state.clear()
        for part in self.parts:
            part.begin(train)

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """One iteration. Returns every term of the loss, detached."""
        union, groups = self._union(batch)
        model, size = self.model, len(union)
        features = model.features(union.x)
        view = View(model, union, groups, features, model.head(features, union.task))
        terms = {"ce": classification_loss(view.logits, union.y, union.weight)}
        for part in self._penalising:
            terms.update(_named(part, part.penalty(view)))
        loss = terms["ce"] if len(terms) == 1 else sum_in_name_order(terms)
        for parameter in self._parameters:
            parameter.grad = None
        plasticity = self._plasticity(view) if self.decompose else None
        loss.backward()  # type: ignore[no-untyped-call]
        for part in self._projecting:
            part.project(view)
        self.optimizer.step()
        for part in self._absorbing:
            part.absorb(view)
        self.forwards += size
        self.backwards += size
        returned = {name: value.detach() for name, value in terms.items()}
        return returned if plasticity is None else {**returned, **self._decomposition(plasticity)}

    def end(self, train: Train) -> None:
        """The experience is over: the parts are told."""
        for part in self.parts:
            part.end(train)

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C)."""
        scores: Tensor = self.model(x, task)
        return scores

    def state_dict(self) -> dict[str, Any]:
        """Model, optimizer, every part's declared state, and the ledger's counts."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "parts": {part.name: part.state_dict() for part in self.parts},
            "forwards": self.forwards,
            "backwards": self.backwards,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for part in self.parts:
            part.load_state_dict(state["parts"][part.name])
        self.forwards, self.backwards = state["forwards"], state["backwards"]

    def ledger(self) -> dict[str, Any]:
        """Declared use: bytes of the optimizer and of each part, samples sent forward and backward."""
        return {
            "optimizer_bytes": bytes_of(self.optimizer.state_dict()["state"]),
            "state_bytes": {part.name: part.state_bytes() for part in self.parts},
            "forwards": self.forwards + sum(part.forwards for part in self.parts),
            "backwards": self.backwards + sum(part.backwards for part in self.parts),
        }

    def describe(self) -> dict[str, Any]:
        """The composition, for the resolved spec."""
        return {"strategy": "Learner", "parts": [part.describe() for part in self.parts]}

    def _union(self, batch: Batch) -> tuple[Batch, dict[str, slice]]:
        stop = len(batch)
        batches, groups = [batch], {"new": slice(0, stop)}
        for part in self._recalling:
            found = part.recall(batch)
            if found is not None and (size := len(found)):
                batches.append(found)
                groups[part.name] = slice(stop, stop + size)
                stop += size
        return (union(batches) if len(batches) > 1 else batch), groups

    def _plasticity(self, view: View) -> list[Tensor]:
        """Gradient of the new batch's share of the classification loss; the graph is kept for the step itself."""
        y, weight, new = view.batch.y, view.batch.weight, view.new
        each = functional.cross_entropy(view.logits[new], y[new], reduction="none")
        share = each.sum() / len(y) if weight is None else (each * weight[new]).sum() / total_weight(weight)
        found = torch.autograd.grad(share, self._parameters, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, self._parameters, strict=True)]

    def _decomposition(self, plasticity: list[Tensor]) -> dict[str, Tensor]:
        total = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        plastic = torch.cat([g.flatten() for g in plasticity])
        stable = torch.cat([g.flatten() for g in total]) - plastic
        norms = {"grad/plasticity": plastic.norm(), "grad/stability": stable.norm()}
        product = norms["grad/plasticity"] * norms["grad/stability"]
        return {**norms, "grad/cosine": plastic @ stable / product} if product > 0 else norms


def _named(part: Part, penalty: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(penalty, Mapping):
        raise CompositionError(
            f"penalty must return a mapping of named terms; {part.name!r} returned a {type(penalty).__name__}. "
            'Return {"name": value}.'
        )
    return {f"{part.name}/{name}": value for name, value in penalty.items()}


def classification_loss(logits: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean of the cross-entropy: sum_i w_i CE_i / sum_i w_i; equal weights where `weight` is None, 0 where all are 0."""
    if weight is None:
        return functional.cross_entropy(logits, y)
    return (functional.cross_entropy(logits, y, reduction="none") * weight).sum() / total_weight(weight)


def total_weight(weight: Tensor) -> Tensor:
    """The sum of the weights, kept above 0 so that a batch without weight has loss 0."""
    return weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def sum_in_name_order(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms, added in the order of their names."""
    total, *rest = (terms[name] for name in sorted(terms))
    for term in rest:
        total = total + term
    return total


def union(batches: list[Batch]) -> Batch:
    """One batch of all, in order; weights and tasks are filled in where only some have them."""
    weights = [b.weight for b in batches]
    weight = None
    if any(w is not None for w in weights):
        weight = torch.cat(
            [torch.ones_like(b.y, dtype=torch.float32) if w is None else w for b, w in zip(batches, weights, strict=True)]
        )
    tasks = [b.task for b in batches if b.task is not None]
    return Batch(
        x=torch.cat([b.x for b in batches]),
        y=torch.cat([b.y for b in batches]),
        index=torch.cat([b.index for b in batches]),
        weight=weight,
        task=torch.cat(tasks) if len(tasks) == len(batches) else None,
    )


def overrides(part: Part, hook: str) -> bool:
    """Whether the part has a `hook` of its own."""
    return getattr(type(part), hook) is not getattr(Part, hook)


def _refuse_conflicts(parts: tuple[Part, ...]) -> None:
    repeated = [name for name, count in Counter(p.name for p in parts).items() if count > 1]
    if repeated:
        raise CompositionError(
            f"parts of a Learner must have different names; got {repeated[0]!r} twice. "
            f"Set another name on one of them, such as part.name = '{repeated[0]}2', or leave one out."
        )
    for part in parts:
        if not any(overrides(part, hook) for hook in HOOKS):
            own = [n for n in vars(type(part)) if callable(getattr(part, n)) and not n.startswith("_")]
            near = [(n, h) for n in own for h in difflib.get_close_matches(n, HOOKS, n=1, cutoff=0.5)]
            guess = f"Did you mean {near[0][1]!r} for {near[0][0]!r}? " if near else ""
            raise CompositionError(
                f"a part must override at least one of {', '.join(HOOKS)}; {part.name!r} overrides none. {guess}"
                "As it is, it would do nothing."
            )
    projecting = [p.name for p in parts if overrides(p, "project")]
    if len(projecting) > 1:
        raise CompositionError(
            f"at most one part may rewrite the gradient; got {' and '.join(repr(n) for n in projecting)}. "
            "Their result would depend on who comes first, so choose one of them."
        )
