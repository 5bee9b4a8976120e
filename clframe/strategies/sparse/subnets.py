"""A subnet of its own for every task, in one network: what is stored, what may move, what answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.func import functional_call

from clframe.errors import bad_option
from clframe.models import Head
from clframe.seeding import generator
from clframe.strategies.build import Setup
from clframe.strategies.loss import classification_loss
from clframe.strategies.part import bytes_of
from clframe.strategies.sparse.archive import Archive
from clframe.strategies.sparse.bits import members, number, pack, unpack
from clframe.strategies.sparse.capacity import Tables, tables
from clframe.strategies.sparse.checks import check_head, check_weights, maskable
from clframe.strategies.sparse.inference import check_inference, surest
from clframe.strategies.sparse.isolation import Held, private, put
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]


class Subnets:
    """What all methods with a subnet a task have in common.

    The weights of the backbone's Linear and Conv layers are masked; the head has rows of its own for each task; whatever else the
    backbone has, biases and normalisations with their statistics, is private to each task, beginning where the first one began.
    Where the task is inferred, the head is private, too.

        store D        one dense copy of the masked weights; a weight that no task owns keeps its first value
        M_t            a bit for each of them; the weights that task t computes with
        used           the weights that some earlier task owns: the union of its masks
        live           D M_t, in the network itself, while task t is trained; only M_t and not used may move
        after a step   live <- live * (M_t and not used) + D * (M_t and used)
        at the end     D <- live where M_t and not used;   used <- used or M_t

    So an owned weight keeps its value bit for bit, whatever the optimizer, its momentum or its weight decay do, and a weight that
    is shared is in the forward pass of the later task with the value that it has. Logits of a finished task on the same batch
    are bit-identical for ever, unless that task itself comes back: then its biases, normalisation and head are trained on, its
    weights are not.

    Args:
        setup: what every strategy is made from.
        name: of the method, for messages and random numbers.
        infer: "none" where the task is told; "entropy" or "energy" to take, for each sample, the subnet that is surest: the one
            with the lowest entropy, or the largest logsumexp, of the scores of its own classes.

    Attributes:
        layers: names of the masked weights.
        masks: of the task in progress, by name, bool.
        used: weights that finished tasks own, by name, bool.
        tasks: number of finished tasks.
        expected: tasks of the stream, as the head was built for them.

    Raises:
        OptionError: an unknown inference, a head that does not fit it, or a backbone without a masked layer.
    """

    requires = frozenset({"boundaries", "task_train", "task_test"})
    grows = frozenset({"experiences"})  # a bit a weight, biases and normalisation for each task

    masked = staticmethod(maskable)

    def __init__(self, setup: Setup, name: str, infer: str) -> None:
        self.name, self.infer, self.model = name, check_inference(infer), setup.model
        told = infer == "none"
        if not told:
            self.requires = frozenset({"boundaries", "classes"})
        head = check_head(setup.model, name, told)
        self._weights = self.masked(setup.model)
        check_weights(self._weights, setup.model, name)
        self.layers = list(self._weights)
        self.optimizer = setup.optimizer([p for p in setup.model.parameters() if p.requires_grad])
        self.generator = generator(setup.seed, name)
        self.expected = max(1, head.num_tasks)
        self.store = {n: w.detach().clone() for n, w in self._weights.items()}
        self._first = private(self.model, self._weights, not told)
        self.masks = {n: torch.ones_like(w, dtype=torch.bool) for n, w in self._weights.items()}
        self.used = {n: torch.zeros_like(w, dtype=torch.bool) for n, w in self._weights.items()}
        self.archive = Archive(self.store)
        self._classes: dict[int, tuple[int, ...]] = {}
        self._task, self._steps, self._size, self._batch, self._epochs = -1, 0, 0, 0, setup.epochs
        self.forwards = self.backwards = 0

    @property
    def tasks(self) -> int:
        """Tasks that have a subnet."""
        return len(self.archive)

    @property
    def free(self) -> dict[str, int]:
        """Weights that no finished task owns, by layer."""
        return {n: members(~u) for n, u in self.used.items()}

    @property
    def owned(self) -> float:
        """Share of the masked weights that some task owns, the one in progress included."""
        owned = sum(members(self.used[n] | self.masks[n]) for n in self.layers)
        return owned / sum(w.numel() for w in self._weights.values())

    @property
    def updates(self) -> int:
        """Updates of the task in progress: the passes of the run over its samples, in batches as large as the first."""
        return self._epochs * -(-self._size // max(1, self._batch))

    def subnet(self, task: int) -> Tensors:
        """All that the backbone computes with for a finished task, by name: weights under their masks, and what is private to it.

        Raises:
            OptionError: it is not finished.
        """
        return self.archive.weights(task, self.store)

    def choose(self, free: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The masks that a new task begins with; `free` are the weights that no task owns."""
        raise NotImplementedError

    def stepping(self) -> None:
        """Before a step, when gradients are there: those of the weights are dense, off the masks, too."""

    def stepped(self) -> Mapping[str, Tensor]:
        """After a step has been put back onto the masks: exchange weights where it is time; what to log."""
        return {}

    def finishing(self) -> None:
        """The task is over: a last change of the masks, before they are kept."""

    def begin(self, train: Train) -> None:
        """A task begins: its masks are chosen, its weights set; a task that comes back keeps both."""
        task = train.task if self.infer == "none" else train.experience
        if task is None or train.size is None:
            raise bad_option("task", f"one for each experience for {self.name!r}", task, "Use a task-incremental stream.")
        self.model.begin(train.classes, train.task)
        self.model.train()
        self.optimizer.state.clear()
        self._task, self._size, self._steps, self._batch = task, train.size, 0, 0
        if self.infer != "none":
            assert train.classes is not None
            self._classes[task] = tuple(sorted({*self._classes.get(task, ()), *train.classes}))
        if task in self.archive:
            self.masks = self.archive.masks(task)
            put(self.model, self.archive.private(task))
        else:
            self.masks = self.choose({n: ~u for n, u in self.used.items()})
            put(self.model, self._first)
        with torch.no_grad():
            for n, w in self._weights.items():
                w.copy_(self.store[n] * number(self.masks[n], w))
        self._settle()

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """One update. Returns the terms, detached."""
        self._batch = self._batch or len(batch)
        logits = self._only_own(self.model(batch.x, batch.task if self.infer == "none" else None), self._task)
        ce = classification_loss(logits, batch.y, batch.weight, batch.mass)
        for parameter in self.model.parameters():
            parameter.grad = None
        ce.backward()  # type: ignore[no-untyped-call]
        self.stepping()
        self.optimizer.step()
        self._steps += 1
        with torch.no_grad():
            self._held.put_back()
            logged = self.stepped()
        self.forwards += len(batch)
        self.backwards += len(batch)
        return {"ce": ce.detach(), **{f"{self.name}/{key}": value for key, value in logged.items()}}

    def end(self, train: Train) -> None:
        """The task is over: what it trained is stored, and owned from now on."""
        with torch.no_grad():
            self.finishing()
            for n, w in self._weights.items():
                new = self.masks[n] & ~self.used[n]
                self.store[n] = torch.where(new, w.detach(), self.store[n])
                self.used[n] = self.used[n] | self.masks[n]
        self.archive.keep(self._task, self.masks, private(self.model, self._weights, self.infer != "none"))
        self._settle()

    @torch.no_grad()
    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C), each sample by the subnet of its task, or by the one that is surest.

        Raises:
            OptionError: the task is neither told nor inferred.
        """
        if self.infer != "none":
            return self._surest(x)
        if task is None:
            raise bad_option(
                "task", f"known to predict with {self.name!r}", None, "Give infer=entropy, or a scenario that tells it."
            )
        present = torch.unique(task).tolist()
        if len(present) == 1:
            return self._by(present[0], x, task)
        scores = x.new_empty(len(x), self.model.num_classes)
        for one in present:
            rows = task == one
            scores[rows] = self._by(one, x[rows], task[rows])
        return scores

    @torch.no_grad()
    def scores_of(self, task: int, x: Tensor) -> Tensor:
        """Scores (B, C) of the subnet of one task; -inf for classes that it does not know."""
        told = torch.full((len(x),), task, device=x.device) if self.infer == "none" else None
        return self._only_own(self._by(task, x, told), task)

    def _by(self, task: int, x: Tensor, told: Tensor | None) -> Tensor:
        """Scores of one subnet; of the network as it is for the task in progress, and for one that has none yet."""
        if task == self._task or task not in self.archive:
            live: Tensor = self.model(x, told)
            return live
        found: Tensor = functional_call(self.model, self.subnet(task), (x, told))
        return found

    def _surest(self, x: Tensor) -> Tensor:
        known = sorted({*self.archive.tasks, *([self._task] if self._task >= 0 else [])})
        if not known:
            scores: Tensor = self.model(x, None)
            return scores
        return surest(torch.stack([self.scores_of(task, x) for task in known]), self.infer)

    def _only_own(self, logits: Tensor, task: int) -> Tensor:
        """The scores of the classes of the task; -inf elsewhere, where the task is not told."""
        if self.infer == "none":
            return logits
        others = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
        others[list(self._classes[task])] = False
        return logits.masked_fill(others, -math.inf)

    def _settle(self) -> None:
        """What may move, and where the rest is held."""
        self._held = Held()
        self.archive.forget_last()
        self.hold_weights(self._held)
        head = cast(Head, self.model.head)
        own = torch.zeros(len(head.weight), dtype=torch.bool, device=head.weight.device)
        rows = head.table[self._task] if self.infer == "none" else head.table[0][list(self._classes.get(self._task, ()))]
        own[rows[rows >= 0]] = True
        self._held.add(head.weight, own[:, None])
        self._held.add(head.bias, own)
        self._held.add(head.scale, torch.tensor(self.tasks == 0))

    def hold_weights(self, held: Held) -> None:
        """Which of the masked weights may move."""
        for n, w in self._weights.items():
            shared = self.masks[n] & self.used[n]
            held.add(w, self.masks[n] & ~self.used[n], self.store[n] * number(shared, w))

    def capacity(self) -> Tables:
        """What finished tasks own, share and leave free, and how their subnets overlap (see `capacity.tables`)."""
        return tables(self.archive.finished())

    def state_dict(self) -> dict[str, Any]:
        """The network, the store, masks as bits, what is private to each task, and counts."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "store": dict(self.store),
            "masks": pack(self.masks),
            "tasks": self.archive.state(),
            "classes": [[t, list(c)] for t, c in self._classes.items()],
            "generator": self.generator.get_state(),
            "counts": [self._task, self._steps, self._size, self._batch],
            "forwards": self.forwards,
            "backwards": self.backwards,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.store = {n: state["store"][n].to(w.device).clone() for n, w in self._weights.items()}
        self.masks = unpack(state["masks"], self.store)
        self.archive.load(state["tasks"])
        self._classes = {t: tuple(c) for t, c in state["classes"]}
        self.generator.set_state(state["generator"])
        self._task, self._steps, self._size, self._batch = state["counts"]
        self.forwards, self.backwards = state["forwards"], state["backwards"]
        self.used = self.archive.used()
        self._settle()

    def ledger(self) -> dict[str, Any]:
        """Declared use: the optimizer, one dense store with bits and private values for each task, samples sent through."""
        return {
            "optimizer_bytes": bytes_of(self.optimizer.state_dict()["state"]),
            "state_bytes": {self.name: bytes_of(self.store) + self.archive.bytes},
            "forwards": self.forwards,
            "backwards": self.backwards,
        }
