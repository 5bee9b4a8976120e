"""The Learner: a model, an optimizer and parts, composed by algebra so that the order of parts cannot matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from clframe.seeding import generator
from clframe.strategies.composition import overrides, refuse_conflicts
from clframe.strategies.loss import classification_loss, named, sum_in_name_order, total_weight, union, weighted_mean
from clframe.strategies.part import Part, View, bytes_of
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

    from clframe.models import Network


class Learner:
    """One strategy made of parts.

    One iteration, with new batch B and parts p in the order of their names:

        U     = B + sum_p recall_p(B)                       (a tagged union of batches)
        terms = {ce: sum_i w_i l_i / sum_i m_i, i in U} + {p/...: penalty_p},   l_i = CE(f(x_i), y_i), or criterion_i
        g     = project(grad of the sum of terms in name order)
        theta <- constrain(optimizer(theta, g)), then absorb_p

    with m = w, or the mass that a batch brings where its weights are those of samples drawn at random. Parts are sorted by name,
    every part draws from a generator addressed by its name, and what can be done only once (criterion, project, constrain, the
    answer) is done by at most one part. So `Learner(m, o, a, b)` and `Learner(m, o, b, a)` are the same learner, bit for bit.

    Args:
        model: the network; `model.begin` may grow its head when an experience begins, and only then.
        optimizer: any torch optimizer over the model's parameters.
        parts: the parts.
        seed: root of the parts' random numbers.
        reset_optimizer: forget momentum and the like when an experience begins.
        decompose: return the split of the gradient into plasticity (the new batch) and stability (all the rest).

    Raises:
        CompositionError: two parts of one name, two that take the same place, or one that lacks a partner.

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
        refuse_conflicts(self.parts)
        for part in self.parts:
            part.optimizer = optimizer
            part.bind(model, generator(seed, "part", part.name))
        self.requires = frozenset[str]().union(*(part.requires for part in self.parts))
        self._recalling, self._penalising, self._absorbing = map(self._having, ("recall", "penalty", "absorb"))
        self._recalling.sort(key=lambda part: part.recalls != "view")  # views of the new batch come before the past
        self._criterion, self._projecting, self._constraining = map(self._only, ("criterion", "project", "constrain"))
        self._averaging, self._reading = self._only("network"), self._having("read")
        self._answering = next((p for p in self._reading if p.answers), None)
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._grouped = [m for m in model.modules() if hasattr(m, "group_sizes")]

    def begin(self, train: Train) -> None:
        """An experience begins: the head may grow, the parts are told."""
        self.model.begin(train.classes, train.task)
        self.model.train()
        if self.reset_optimizer:
            self.optimizer.state.clear()
        for part in self.parts:
            part.begin(train)

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """One iteration. Returns every term of the loss, and what the parts log, detached."""
        union, groups, views = self._union(batch)
        model, size = self.model, len(union)
        features = self._features(union.x, groups)
        view = View(model, union, groups, features, model.head(features, union.task), views)
        terms = self._terms(view)
        loss = next(iter(terms.values())) if len(terms) == 1 else sum_in_name_order(terms)
        for parameter in self._parameters:
            parameter.grad = None
        plasticity = self._plasticity(view) if self.decompose else None
        loss.backward()  # type: ignore[no-untyped-call]
        if self._projecting is not None:
            self._projecting.project(view)
        self.optimizer.step()
        if self._constraining is not None:
            with torch.no_grad():
                self._constraining.constrain(view)
        returned = {name: value.detach() for name, value in terms.items()}
        for part in self._absorbing:
            if (logged := part.absorb(view)) is not None:
                returned |= named(part, "absorb", logged)
        self.forwards += size
        self.backwards += size
        return returned if plasticity is None else {**returned, **self._decomposition(plasticity)}

    def end(self, train: Train) -> None:
        """The experience is over: the parts are told."""
        for part in self.parts:
            part.end(train)

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C): of the linear head, or of the part that answers."""
        network = self.model if self._averaging is None else self._averaging.network()
        if self._answering is None:
            scores: Tensor = network(x, task)
            return scores
        features = network.features(x)
        return self._answering.read(features, network.head(features, task), task)

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that are measured beside the answer: those of parts, and the linear one where a part answers instead."""
        linear = self._answering is not None and all(p.trains_head for p in self.parts)
        return tuple(p.name for p in self._reading if not p.answers) + (("linear",) if linear else ())

    def predict_heads(self, x: Tensor, task: Tensor | None = None) -> dict[str, Tensor]:
        """Scores (B, C) of every head from one forward: the answer under "", and each of `heads`."""
        features = self.model.features(x)
        logits = self.model.head(features, task)
        scores = {"" if p.answers else p.name: p.read(features, logits, task) for p in self._reading}
        return {**scores, "linear" if "" in scores else "": logits}

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

    def _union(self, batch: Batch) -> tuple[Batch, dict[str, slice], int]:
        stop, views = len(batch), 0
        batches, groups = [batch], {"new": slice(0, stop)}
        for part in self._recalling:
            found = part.recall(batch)
            if found is not None and (size := len(found)):
                batches.append(found)
                groups[part.name] = slice(stop, stop + size)
                stop += size
                views += size if part.recalls == "view" else 0
        return (union(batches) if len(batches) > 1 else batch), groups, views

    def _features(self, x: Tensor, groups: dict[str, slice]) -> Tensor:
        """Features of the union; layers that keep statistics by group are told the sizes of the groups for this forward."""
        if not self._grouped:
            return self.model.features(x)
        sizes = tuple(rows.stop - rows.start for rows in groups.values())
        for layer in self._grouped:
            layer.group_sizes = sizes  # type: ignore[assignment]
        features = self.model.features(x)
        for layer in self._grouped:
            layer.group_sizes = ()  # type: ignore[assignment]
        return features

    def _terms(self, view: View) -> dict[str, Tensor]:
        batch = view.batch
        if self._criterion is None:
            terms = {"ce": classification_loss(view.logits, batch.y, batch.weight, batch.mass)}
        else:
            each = self._criterion.criterion(view)
            terms = {f"{self._criterion.name}/criterion": weighted_mean(each, batch.weight, batch.mass)}
        for part in self._penalising:
            terms.update(named(part, "penalty", part.penalty(view)))
        return terms

    def _plasticity(self, view: View) -> list[Tensor]:
        """Gradient of the new batch's share of the classification loss; the graph is kept for the step itself."""
        y, weight, mass, new = view.batch.y, view.batch.weight, view.batch.mass, slice(0, view.recalled.start)
        if self._criterion is None:
            each = functional.cross_entropy(view.logits[new], y[new], reduction="none")
        else:
            each = self._criterion.criterion(view)[new]
        if weight is None:
            share = each.sum() / len(y)
        else:
            share = (each * weight[new]).sum() / total_weight(weight if mass is None else mass)
        found = torch.autograd.grad(share, self._parameters, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for g, p in zip(found, self._parameters, strict=True)]

    def _decomposition(self, plasticity: list[Tensor]) -> dict[str, Tensor]:
        total = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        plastic = torch.cat([g.flatten() for g in plasticity])
        stable = torch.cat([g.flatten() for g in total]) - plastic
        norms = {"grad/plasticity": plastic.norm(), "grad/stability": stable.norm()}
        product = norms["grad/plasticity"] * norms["grad/stability"]
        return {**norms, "grad/cosine": plastic @ stable / product} if product > 0 else norms

    def _having(self, hook: str) -> list[Part]:
        return [part for part in self.parts if overrides(part, hook)]

    def _only(self, hook: str) -> Part | None:
        return next(iter(self._having(hook)), None)
