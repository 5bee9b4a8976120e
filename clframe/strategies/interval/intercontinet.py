"""InterContiNet: every weight is promised an interval, and later tasks learn within it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.func import functional_call

from clframe.errors import bad_option
from clframe.models import Head
from clframe.models.interval import Box, Promise
from clframe.models.interval.rules import NORMS
from clframe.strategies.build import Setup
from clframe.strategies.interval.nested import Nested, as_boxes, as_pairs
from clframe.strategies.interval.nested_answer import Answers, check_network, check_options
from clframe.strategies.loss import classification_loss
from clframe.strategies.part import bytes_of
from clframe.strategies.sparse.isolation import Held
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 10
"""Batches over which the two accuracies are averaged that decide whether boxes shrink."""
COUNTS = ("phase", "experience", "task", "steps", "size", "batch_size", "forwards", "backwards")
"""Attributes that say where a task stands, and what was spent."""
BOUNDS = 4
"""What bounding a sample counts, in passes of it: both ends in and both ends out."""


class InterContiNet:
    """InterContiNet: a task leaves every weight an interval that it can do with, and whatever comes later stays within it.

    Each weight and bias has a centre c and a box [l, u] around it; the boxes of a task lie within those of the task before:

        shift   = tanh(s / rho),   scale = sigmoid(q) (1 - |shift|)
        c, l, u = w + shift rho,   c - scale rho,   c + scale rho

    with w and rho the centre and the radius that the task before left; s = 0 and q = `scale_start` when a task begins. The centres
    answer. A task has two phases:

        learn    the first task trains w, with rho = `radius`; later ones train s, and so move within the boxes; by CE(f(x; c), y)
        shrink   the last `contract` of the updates train q by CE(z, y), with the worst case z_j = max over the boxes of f_j - f_y;
                 only when the mean accuracy of the worst case over ten batches is below `threshold` times that of the centres

    A sample that `promise(...).certify` certifies when its task ends, because every network in the boxes classifies it correctly,
    is classified correctly for ever, by whatever weights later tasks find. No rounding of weights breaks that: centres and ends are
    clamped into the boxes of the task before. What is left is the rounding of scores, which a certificate leaves room for in
    double precision only.

    Where the task is told (head "multi") the weights of the backbone have boxes. Each task has rows of the head for itself, without
    boxes; they are trained in the first of its phases and do not move any more. Otherwise (head "single") the head has boxes as
    well, and all classes of the stream compete from the first update on, so that a certificate also holds against classes that
    come later.

    Args:
        setup: what every strategy is made from.
        radius: rho of the first task.
        threshold: how accurate the worst case is to be, as a share of the accuracy of the centres.
        contract: share of a task's updates that shrink the boxes, in (0, 1); at least one, where the task has two.
        shift_lr: learning rate of s, in units of the run's.
        shrink: how far q may go in a task: Adam's learning rate times the number of updates that shrink the boxes.
        scale_start: q when a task begins; sigmoid(5) = 0.993.

    Raises:
        OptionError: an option breaks its rule; a head that is neither "multi" nor "single"; a backbone with a layer that cannot be
            bounded (said when the first experience begins); a task that comes back with other classes.

    Logs:
        - ce: the cross-entropy of the batch, by the centres.
        - intercontinet/robust: that of the worst case, in the second phase.
        - intercontinet/radius: mean radius of the boxes.

    Example:
        >>> import clframe
        >>> sorted(clframe.run("task-incremental", "intercontinet").terms.term.unique())
        ['ce', 'intercontinet/radius', 'intercontinet/robust']

    Reference: Wolczyk, Piczak, Wojcik, Pustelnik, Morawiecki, Tabor, Trzcinski and Spurek, "Continual learning with guarantees via
        weight interval constraints", 2022, and its published code.

    Differences:
        1. Boxes are nested exactly. In the published code, rounding can leave a box outside the one before.
        2. The worst case bounds differences of scores over the weights of the last layer. There, it is the lowest score of the
           true class against the highest of every other one, which is looser.
        3. Inputs may be negative; there, they must not be. shift always has rho in it; there, not in class-incremental runs.
        4. q is trained by Adam, as far in a task as `shrink` says. There, by the run's optimizer at a rate of its own; but
           gradients of the worst case span many powers of ten as the boxes shrink, and so do the rates that work.
        5. With the `threshold` reached, nothing is updated. There, a loss of 0 is, which moves q with momentum or Adam.
        6. Batch normalisation takes the statistics of the batch only as the first task learns, and those stored then ever after,
           as constants of the network that is bounded. There, statistics are intervals, or those of each batch.
        7. `contract` is a share of the updates instead of a number of epochs. A task of a single update does not shrink its boxes.
        8. The head of a task that comes back is no longer trained: it is part of what was promised. Rows of other tasks are put
           back after every step; there, they stay because they have no gradient.
    """

    requires = frozenset({"task_train", "task_test", "boundaries"})
    grows = frozenset({"experiences"})  # both ends of every weight's box for each experience, to certify its samples by

    def __init__(
        self,
        setup: Setup,
        *,
        radius: float = 0.1,
        threshold: float = 0.9,
        contract: float = 1 / 3,
        shift_lr: float = 1.0,
        shrink: float = 12.0,
        scale_start: float = 5.0,
    ) -> None:
        self._options = {"radius": radius, "threshold": threshold, "contract": contract, "shift_lr": shift_lr}
        self._options |= {"shrink": shrink, "scale_start": scale_start}
        check_options(self._options)
        self.multi = check_network(setup.model)
        self.requires = InterContiNet.requires if self.multi else frozenset({"boundaries"})
        self.model, self._make, self._epochs = setup.model, setup.optimizer, setup.epochs
        self._head, self._answers = cast(Head, setup.model.head), Answers(setup.model)
        boxed = {n: p for n, p in setup.model.named_parameters() if p.requires_grad and not (self.multi and n.startswith("head."))}
        self._nested = Nested(boxed, radius, scale_start)
        self._finished: dict[int, tuple[int, dict[str, Box]]] = {}
        self.phase, self.experience, self.task = "centres", -1, 0
        self.steps = self.size = self.batch_size = self.forwards = self.backwards = 0
        self.recent: list[list[float]] = []
        self._set("centres")

    @property
    def updates(self) -> int:
        """Updates of the task in progress: the passes of the run over its samples, in batches as large as the first."""
        return self._epochs * -(-self.size // max(1, self.batch_size))

    @property
    def shrinking(self) -> int:
        """How many of them are for shrinking the boxes, at the end."""
        return min(self.updates - 1, max(1, round(self._options["contract"] * self.updates)))

    @property
    def _returns(self) -> bool:
        """Whether the task was there before."""
        return self.task in {task for task, _ in self._finished.values()}

    def begin(self, train: Train) -> None:
        """A task begins: what the task before left is fixed, and all that it learns lies within."""
        if train.size is None or train.experience is None or (self.multi and train.task is None):
            raise bad_option("task", "one for each experience for 'intercontinet'", train.task, "Use a task-incremental stream.")
        self.task = train.task if self.multi and train.task is not None else 0
        before = self._answers.classes(self.task)
        self.model.begin(train.classes, train.task)
        if self.multi and self._returns and self._answers.classes(self.task) != before:
            rule = f"those of task {self.task} before, {before}, as its certificates say nothing of others"
            raise bad_option("classes", rule, self._answers.classes(self.task), "Give new classes a task of their own.")
        self.experience, self.size, self.steps, self.batch_size = train.experience, train.size, 0, 0
        if self._finished:
            self._nested.fix()
        else:
            self._refuse_unbounded(next(iter(train.batches(1))))
        self._set("shift" if self._finished else "centres")

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """One update. Returns the terms, detached."""
        self.batch_size = self.batch_size or len(batch)
        if self.phase != "scale" and self.steps >= self.updates - self.shrinking:
            if self.phase == "centres":
                self._nested.fix(shrunk=False)
            self._set("scale")
        terms = self._shrink(batch) if self.phase == "scale" else self._learn(batch)
        self.steps += 1
        return {**terms, "intercontinet/radius": self._nested.mean_radius()}

    def end(self, train: Train) -> None:
        """The task is over: its boxes are kept, to certify its samples by."""
        with torch.no_grad():
            boxes = self._boxes()
        self._finished[self.experience] = (self.task, {n: Box(b.lower.clone(), b.upper.clone()) for n, b in boxes.items()})

    @torch.no_grad()
    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C), by the centres."""
        scores: Tensor = self.model(x, task if self.multi else None)
        return scores

    @torch.no_grad()
    def promise(self, experience: int, task: int | None = None) -> Promise | None:
        """The boxes of an experience when it ended, or now if it is in progress, and what answers; None for one not begun.

        `task` is not needed, since the strategy knows the task of every experience.
        """
        if experience in self._finished:
            return self._answers.promise(*self._finished[experience])
        return self._answers.promise(self.task, self._boxes()) if experience == self.experience else None

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        """The centres learn: freely in the first task, later within the boxes."""
        moved = {n: self._nested.centre(n) for n in self._nested.shift} if self.phase == "shift" else {}
        logits = functional_call(self.model, moved, (batch.x, batch.task if self.multi else None))
        ce = classification_loss(logits, batch.y, batch.weight, batch.mass)
        self._step(ce)
        if self.phase == "shift":
            self._nested.put()
        if self.multi:
            self._held.put_back()
        self.forwards += len(batch)
        self.backwards += len(batch)
        return {"ce": ce.detach()}

    def _shrink(self, batch: Batch) -> dict[str, Tensor]:
        """The boxes shrink, if the worst case within them is not yet accurate enough."""
        y = self._answers.outputs(self.task, batch.y)
        with torch.no_grad():
            logits = self.model(batch.x, batch.task if self.multi else None)
        margin = self._answers.margins(batch.x, y, self._boxes())
        robust = classification_loss(-margin, y, batch.weight, batch.mass)
        sure = margin.detach().scatter(1, y[:, None], torch.inf).amin(1) > 0
        right = logits.argmax(1) == batch.y
        self.recent = [*self.recent, torch.stack([right, sure]).double().mean(1).tolist()][-WINDOW:]
        accuracy, certain = (sum(each) for each in zip(*self.recent, strict=True))
        self.forwards += (1 + BOUNDS) * len(batch)
        if certain < self._options["threshold"] * accuracy:
            self._step(robust)
            self.backwards += BOUNDS * len(batch)
        return {"ce": classification_loss(logits, batch.y, batch.weight, batch.mass), "intercontinet/robust": robust.detach()}

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    @torch.no_grad()
    def _refuse_unbounded(self, batch: Batch) -> None:
        """The rules for boxes say what they cannot bound, before anything is learned."""
        self.model.eval()
        self._answers.margins(batch.x, self._answers.outputs(self.task, batch.y), self._boxes())

    def _boxes(self) -> dict[str, Box]:
        """The boxes as they are, differentiable by s and q; of weights that have none, points."""
        return self._answers.boxes(self.task, self._nested.boxes())

    def _set(self, phase: str) -> None:
        """A phase begins, or goes on: which modes, what is trained and what is held, by a new optimizer."""
        self.phase, self.recent = phase, []
        self.model.train(phase != "scale")
        for module in self.model.modules():
            if isinstance(module, NORMS) and phase != "centres":
                module.eval()
        self._held = Held()
        if self.multi:
            own = torch.zeros(len(self._head.weight), dtype=torch.bool, device=self._head.weight.device)
            own[self._head.table[self.task, self._answers.classes(self.task)]] = not self._returns
            self._held.add(self._head.weight, own[:, None])
            self._held.add(self._head.bias, own)
        self.optimizer = self._optimizer(phase)

    def _optimizer(self, phase: str) -> torch.optim.Optimizer:
        """The run's for centres, shifts and rows, Adam for q."""
        nested = self._nested
        if phase == "scale":
            return torch.optim.Adam(nested.scale.values(), self._options["shrink"] / max(1, self.shrinking), foreach=True)
        moving = nested.live if phase == "centres" else nested.shift
        made = self._make([{"params": list(moving.values())}, {"params": list(self._head.parameters()) if self.multi else []}])
        made.param_groups[0]["lr"] *= 1.0 if phase == "centres" else self._options["shift_lr"]
        return made

    def state_dict(self) -> dict[str, Any]:
        """The network, the boxes of the task in progress and of finished ones, the optimizer, and where the task stands."""
        return {
            "model": self.model.state_dict(),
            "nested": self._nested.state(),
            "finished": [[e, task, as_pairs(boxes)] for e, (task, boxes) in self._finished.items()],
            "optimizer": self.optimizer.state_dict(),
            "recent": [list(each) for each in self.recent],
            **{name: getattr(self, name) for name in COUNTS},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self._nested.load(state["nested"])
        device = self._head.weight.device
        self._finished = {e: (task, as_boxes(pairs, device)) for e, task, pairs in state["finished"]}
        for name in COUNTS:
            setattr(self, name, state[name])
        self._set(self.phase)
        self.optimizer.load_state_dict(state["optimizer"])
        self.recent = [list(each) for each in state["recent"]]

    def ledger(self) -> dict[str, Any]:
        """Declared use. A sample that is bounded counts as four sent forward: both ends of the inputs by both of the weights."""
        kept = [self._nested.state(), [as_pairs(boxes) for _, boxes in self._finished.values()]]
        return {
            "optimizer_bytes": bytes_of(self.optimizer.state_dict()["state"]),
            "state_bytes": {"intercontinet": bytes_of(kept)},
            "forwards": self.forwards,
            "backwards": self.backwards,
        }

    def describe(self) -> Mapping[str, Any]:
        """Name and options, for the resolved spec."""
        return {"strategy": "InterContiNet", "options": dict(self._options)}
