"""What the methods over a frozen backbone share: when it is frozen, and features that are computed once."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional
from torch.utils.weak import WeakTensorKeyDictionary

from clframe.errors import bad_option
from clframe.seeding import generator
from clframe.strategies.build import Setup
from clframe.strategies.learner import Learner
from clframe.strategies.part import bytes_of
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from torch import Tensor

BACKBONES = ("first", "given")
BLOCK = 256
CACHE_BYTES = 1 << 29


class Frozen(ABC):
    """A classifier made of statistics of the features of a frozen backbone.

    backbone="first": during the first experience a plain Learner trains the network with its head, and that head answers
    `predict`. At the end of the experience the network is frozen and the statistics are taken in one pass over its samples.
    backbone="given": the network is frozen from the start with the weights that it has.

    A frozen network is in evaluation mode and no gradient reaches it, so that neither weights nor buffers move. From then on
    each update sends its samples forward once and adds them to the statistics. Every sample of an experience counts once: the
    experience's first `train.size` samples are its first epoch, and what comes after them is passed over (one number is kept
    for it). Where boundaries are hidden the size is unknown, and every sample counts as often as it comes. A sample of weight w
    counts as w samples.

    One output over all classes: the task of a sample is not used, and classes of other tasks are not masked. A class without
    samples scores -inf. What is worked out from the statistics is worked out when somebody asks, and kept until they change.

    A method says: `represent` (what is measured of the features), `start` and `take` (its statistics beside the weight and the
    mean of every class), `close` (what is due at the end of an experience), `solve` and `scores`.

    Attributes:
        statistics: tensors by name; "count" (C,) and "mean" (C, d) are everybody's. Empty until there is a first sample.
        frozen: whether the backbone is.
        experiences: how many are over.
        taken: samples of the experience in progress that the statistics hold.
    """

    name: ClassVar[str]
    grows: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, setup: Setup, backbone: str) -> None:
        if backbone not in BACKBONES:
            raise bad_option("backbone", "'first' or 'given'", backbone, "Give backbone='first'.")
        self.model, self.backbone = setup.model, backbone
        self.requires = frozenset({"boundaries"}) if backbone == "first" else frozenset[str]()
        self.statistics: dict[str, Tensor] = {}
        self.experiences = self.taken = self.forwards = self.backwards = 0
        self.generator = generator(setup.seed, "strategy", self.name)
        self._size: int | None = None
        self._setup = setup
        self._learner: Learner | None = _plain(setup)
        self._features = FeatureCache()
        self._solution: Any = None
        self.frozen = False
        if backbone == "given":
            self._freeze()

    def represent(self, features: Tensor) -> Tensor:
        """What is measured and scored instead of the features (B, d)."""
        return features

    def start(self, features: Tensor) -> dict[str, Tensor]:
        """The method's own statistics before the first sample; `features` shows width, type and device."""
        return {}

    def take(self, features: Tensor, y: Tensor, weight: Tensor) -> None:  # noqa: B027 means may be all
        """Add these samples, in order, to the method's own statistics; weights and means of the classes are still as before."""

    def close(self) -> None:  # noqa: B027 nothing may be due
        """The experience is over."""

    @abstractmethod
    def solve(self) -> Any:
        """What the scores need, worked out from the statistics: a pure function of the state."""

    @abstractmethod
    def scores(self, features: Tensor, solution: Any) -> Tensor:
        """Scores (B, C) of what `represent` gave."""

    def begin(self, train: Train) -> None:
        """An experience begins.

        Raises:
            OptionError: the backbone is to be trained on a first experience of one class.
        """
        self.taken, self._size = 0, train.size
        if self._learner is not None:
            if train.experience == 0 and train.classes is not None and len(train.classes) < 2:
                rule = f"'given' where the first experience has one class (here {train.classes[0]}): nothing can be learned from it"
                raise bad_option("backbone", rule, "first", "Give a trained model with backbone='given', or another scenario.")
            self._learner.begin(train)

    def observe(self, batch: Batch) -> dict[str, Tensor]:
        """One iteration: of the plain Learner until the backbone is frozen, then the statistics."""
        if self._learner is not None:
            return self._learner.observe(batch)
        left = len(batch) if self._size is None else min(len(batch), self._size - self.taken)
        terms = {f"{self.name}/samples": torch.tensor(float(max(0, left)), device=batch.x.device)}
        if left > 0:
            terms[f"{self.name}/spread"] = self._add(batch.x[:left], batch.y[:left], batch.weight)
        return terms

    def end(self, train: Train) -> None:
        """The experience is over; after the first one the backbone is frozen and measured."""
        if self._learner is not None:
            self._learner.end(train)
            self._freeze()
            for batch in train.batches(BLOCK):
                self._add(batch.x, batch.y, batch.weight)
        self.close()
        self.experiences += 1
        self._solution = None

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C)."""
        if self._learner is not None:
            return self._learner.predict(x, task)
        if not self.statistics:
            return torch.full((len(x), self.model.num_classes), -torch.inf, device=x.device)
        with torch.no_grad():
            if self._solution is None:
                self._solution = self.solve()
            scores = self.scores(self._features.of(x, self._forward), self._solution)
            return scores.masked_fill(self.statistics["count"] == 0, -torch.inf)

    def state_dict(self) -> dict[str, Any]:
        """The network or, while it is trained, its Learner; the statistics; the counts."""
        counts = {name: getattr(self, name) for name in ("experiences", "taken", "forwards", "backwards")}
        trained = self.model.state_dict() if self._learner is None else self._learner.state_dict()
        statistics = {name: value.clone() for name, value in self.statistics.items()}
        return {
            "frozen": self.frozen,
            "trained": trained,
            "statistics": statistics,
            "generator": self.generator.get_state(),
            **counts,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        if state["frozen"]:
            self._freeze()
            self.model.load_state_dict(state["trained"])
        else:
            self.frozen, self._learner = False, self._learner or _plain(self._setup)
            self.model.train()
            self._learner.load_state_dict(state["trained"])
        self.generator.set_state(state["generator"])
        device = next((t.device for t in (*self.model.parameters(), *self.model.buffers())), None)
        self.statistics = {name: value.to(device, copy=True) for name, value in state["statistics"].items()}
        for name in ("experiences", "taken", "forwards", "backwards"):
            setattr(self, name, state[name])
        self.forget()

    def forget(self) -> None:
        """The state is another one: drop all that was worked out."""
        self._features, self._solution = FeatureCache(), None

    def ledger(self) -> dict[str, Any]:
        """Declared use: bytes of the optimizer while there is one and of the statistics, samples sent forward and backward."""
        inner = {"optimizer_bytes": 0, "forwards": 0, "backwards": 0} if self._learner is None else self._learner.ledger()
        return {
            "optimizer_bytes": inner["optimizer_bytes"],
            "state_bytes": {self.name: bytes_of(self.statistics)},
            "forwards": self.forwards + inner["forwards"],
            "backwards": self.backwards + inner["backwards"],
        }

    def describe(self) -> dict[str, Any]:
        """Name and options, for the resolved spec."""
        options = [p for p in inspect.signature(type(self)).parameters if p != "setup"]
        return {"strategy": type(self).__name__, "name": self.name, "options": {p: getattr(self, p) for p in options}}

    def _freeze(self) -> None:
        if self._learner is not None:
            self.forwards += self._learner.forwards
            self.backwards += self._learner.backwards
        self.frozen, self._learner = True, None
        self.model.eval()

    def _forward(self, x: Tensor) -> Tensor:
        return self.represent(self.model.features(x))

    @torch.no_grad()
    def _add(self, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Count these samples; returns the mean squared distance to the means of their classes, once these have moved."""
        raw = self.model.features(x)
        self.forwards += len(x)
        if not self.statistics:
            begun, classes = self.start(raw), self.model.num_classes
            self.statistics = begun
            width = self.represent(raw[:1]).shape[1]
            self.statistics = {"count": raw.new_zeros(classes), "mean": raw.new_zeros(classes, width), **begun}
        features = self.represent(raw)
        weight = torch.ones_like(features[:, 0]) if weight is None else weight[: len(y)].to(features)
        for f, labels, w in _blocks(features, y, weight):
            self.take(f, labels, w)
            add_to_means(f, labels, w, self.statistics["count"], self.statistics["mean"])
            self.taken += len(f)
        self._solution = None
        return (features - self.statistics["mean"][y]).square().sum(1).mean()


class FeatureCache:
    """Features of inputs that come again as the same tensor, unchanged: an evaluation hands the same ones each time.

    Only while measuring (in inference mode), and only for tensors whose changes torch counts. What would take more than
    `limit` bytes in all is computed anew each time; what belongs to a tensor that is gone goes with it.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self._kept: MutableMapping[Tensor, tuple[int, Tensor]] = WeakTensorKeyDictionary()

    def of(self, x: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """compute(x), from before where x is known."""
        if not torch.is_inference_mode_enabled() or x.is_inference():
            return compute(x)
        known = self._kept.get(x)
        if known is not None and known[0] == x._version:
            return known[1]
        self._kept.pop(x, None)
        features = compute(x)
        if features.nbytes + sum(kept.nbytes for _, kept in self._kept.values()) <= self.limit:
            self._kept[x] = (x._version, features)
        return features


def add_to_means(features: Tensor, y: Tensor, weight: Tensor, count: Tensor, mean: Tensor) -> None:
    """Move weights (C,) and means (C, d) of the classes, in place, by the samples (B, d)."""
    share = one_hot(y, weight, len(count))
    added = share.sum(0)
    count += added
    mean += (share.T @ features - added[:, None] * mean) / count.clamp_min(torch.finfo(count.dtype).tiny)[:, None]


def one_hot(y: Tensor, weight: Tensor, classes: int) -> Tensor:
    """(B, C): each sample's weight in the column of its class."""
    return functional.one_hot(y, classes).to(weight) * weight[:, None]


def deviations(features: Tensor, y: Tensor, weight: Tensor, count: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """As if the samples came one at a time: each minus its class's mean just before it (B, d), and the class's weight then (B,)."""
    earlier = (y[:, None] == y[None, :]).tril(-1).to(weight) * weight[None, :]
    in_batch, off = earlier.sum(1), features - mean[y]
    before = count[y] + in_batch
    return off - (earlier @ off) / before.clamp_min(torch.finfo(before.dtype).tiny)[:, None], before


def inverse(matrix: Tensor) -> Tensor:
    """Inverse of a symmetric positive definite matrix (..., d, d), in float64; the pseudo-inverse where it is singular."""
    matrix = precise(matrix)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not failed and factor.diagonal().min() ** 2 > 1e-13 * matrix.diagonal().max():
        return torch.cholesky_inverse(factor)
    found: Tensor = torch.linalg.pinv(matrix, rtol=1e-12, hermitian=True)
    return found


def precise(tensor: Tensor) -> Tensor:
    """In float64, on the CPU where the device has none."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(tensor, BLOCK) for tensor in tensors), strict=True)


def _plain(setup: Setup) -> Learner:
    return Learner(
        setup.model,
        setup.optimizer(setup.model.parameters()),
        seed=setup.seed,
        reset_optimizer=setup.reset_optimizer,
        decompose=setup.decompose,
    )
