"""Any Avalanche strategy, with its plugins, as a clframe strategy: its own training loop, one iteration at a time."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from clframe.bridges.avalanche.answers import answer
from clframe.bridges.avalanche.generators import Generators
from clframe.bridges.avalanche.making import Maker, quiet
from clframe.bridges.avalanche.networks import MultiHead, networks_in
from clframe.bridges.avalanche.pausing import Pause
from clframe.bridges.avalanche.saving import Fixtures, Window, restored, saved
from clframe.bridges.avalanche.sizes import state_bytes
from clframe.bridges.avalanche.training import batch_as_experience, experience_of
from clframe.bridges.avalanche.turns import Turns
from clframe.errors import RunError
from clframe.strategies.part import bytes_of
from clframe.types import Batch, Train

if TYPE_CHECKING:
    from clframe.strategies.build import Setup


def strategy(
    make: Callable[..., Any], *, name: str | None = None, online: bool = False, shuffle: bool = True, **options: Any
) -> Maker:
    """An Avalanche strategy to be given to `clframe.run`, `clframe.compare` or a protocol, as any other strategy is.

    Args:
        make: a strategy class of Avalanche, or a function that makes a strategy. It is called with `options`, and with those of
            these that its signature names: `model` (the run's network), `optimizer` (the run's), `feature_extractor` and
            `classifier` (the network in two pieces), `criterion` (the cross-entropy), `train_mb_size` and `train_epochs` (the run's
            `batch_size` and `epochs`), `device`, `evaluator` (a silent one).
        name: what tables call it; by default the class and its options.
        online: train each batch as an experience of its own, as Avalanche's scripts for online streams do. It needs no boundaries.
        shuffle: whether Avalanche shuffles the samples of an experience.
        options: of the strategy, such as `mem_size=200` or `plugins=[...]`; copied for each run.

    Raises:
        CompositionError: when a run is built: what was made is no strategy that trains one experience after the other.

    Example:
        >>> import clframe
        >>> from avalanche.training.supervised import Naive, Replay
        >>> from clframe.bridges.avalanche import strategy
        >>> result = clframe.run("split-digits", strategy(Replay, mem_size=100), evaluate="every(k=10)")
        >>> result.accuracy.shape[1], result.strategy
        (5, 'avalanche(name=Replay,mem_size=100)')
        >>> mine = strategy(lambda model, optimizer: Naive(model=model, optimizer=optimizer), name="my naive")
        >>> clframe.run("split-digits", mine, evaluate="boundaries").strategy
        'my naive'

    Differences:
        1. Avalanche draws its own batches from the samples of the experience, with generators of the strategy's own, seeded by the
           run's seed. clframe's batches only count the updates.
        2. A strategy that makes more or fewer iterations in an experience than the run has updates, such as `Cumulative`, makes
           them in even shares: the last one at the end of the experience.
        3. Avalanche's own evaluation is not run; `InteractiveLogger` is taken out of a strategy that has one.
        4. `eval` of Avalanche also grows models (`model_adaptation`); here measuring changes nothing. A class or a task that has
           no output yet counts as wrong.
    """
    return Maker(make, name=name, online=online, shuffle=shuffle, options=options, build=AvalancheStrategy)


class AvalancheStrategy:
    """One Avalanche strategy along one stream: see `strategy`.

    `strategy.train(experience)` runs in a thread that waits after every iteration until the next update is asked for; the thread
    and clframe's loop never run at the same time. Everything that Avalanche draws comes from generators of its own.

    The state is that of the last boundary, pickled, and the number of updates since then: on resume within an experience these
    updates are made again, with the same draws, so that a resumed run is bit-equal.

    Args:
        setup: what the run is made from.
        maker: how to make the strategy.

    Attributes:
        avalanche: the Avalanche strategy.
        model: its model.

    Raises:
        CompositionError: no strategy was made, or one that trains a whole stream at once.
    """

    def __init__(self, setup: Setup, maker: Maker) -> None:
        self.requires = frozenset() if maker.online else frozenset({"boundaries"})
        self._setup, self._maker, self._window = setup, maker, Window()
        self._device = next(setup.model.parameters()).device
        self._fixtures = Fixtures(self._window, setup.model)
        self._generators = Generators(setup.seed, "avalanche")
        with self._generators.inside():
            self.avalanche = maker.made(setup, self._device)
        self._pause = Pause()
        self.avalanche.plugins.append(self._pause)
        self.model: torch.nn.Module = self.avalanche.model
        self._seen: list[tuple[int, ...]] = []
        self._number = 0
        self._turns: Any = None
        self._leaf: Any = None
        self._start: Tensor | RunError | None = None
        self._closing: Any = None
        self._between()

    def begin(self, train: Train) -> None:
        """An experience begins; Avalanche hears of it at its first update."""
        self._between()
        self._window.train = train
        for network in networks_in(self.model):
            network.begin(train.classes, train.task)
        if isinstance(self.model, MultiHead) and train.task is not None:
            self.model.known_train_tasks_labels.add(train.task)

    def observe(self, batch: Batch) -> Mapping[str, Tensor]:
        """The iterations of Avalanche that fall to this update; the batch is theirs only where each is an experience."""
        if self._maker.online:
            return self._learn(batch)
        if self._turns is None:
            self._start = None  # begin may have changed the network
            self._open(len(batch))
        return self._go_on()

    def end(self, train: Train) -> None:
        """Avalanche finishes the experience: iterations that are left, and what its plugins do at the end."""
        if self._maker.online:
            return
        if self._turns is None:
            self._open(1)
        assert self._turns is not None and self._leaf is not None
        with self._at_work():
            while self._turns.advance():
                pass
        self._seen.append(tuple(sorted(set(self._leaf.targets))))
        self._number += 1
        self._between()

    def predict(self, x: Tensor, task: Tensor | None = None) -> Tensor:
        """Scores (B, C), as Avalanche's `eval` has them."""
        return answer(self.avalanche, x, task, self._setup.model.num_classes)

    def state_dict(self) -> dict[str, Any]:
        """The strategy at the last boundary, as bytes, and the updates since then.

        Raises:
            RunError: it cannot be pickled.
        """
        start = self._state() if self._start is None else self._start
        if isinstance(start, RunError):
            raise start
        return {"avalanche": start, "observed": self._observed, "batch_size": self._batch_size}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned, and make the updates since the boundary again."""
        self._between()
        found = restored(state["avalanche"], self._fixtures, self._device)
        self.avalanche, self._generators.state = found["strategy"], found["generators"]
        self._seen, self._number = found["seen"], found["number"]
        self._pause = next(plugin for plugin in self.avalanche.plugins if isinstance(plugin, Pause))
        self.model = self.avalanche.model
        if state["observed"]:
            self._open(state["batch_size"], state["avalanche"])
            for _ in range(state["observed"]):
                self._go_on()
        self._start = state["avalanche"]

    def ledger(self) -> dict[str, Any]:
        """Bytes of the optimizer and of what the strategy keeps, remembered samples as if stored; samples of its iterations.

        What plugins send through the model on their own, such as Fisher samples, is not counted.
        """
        train = self._window.train
        kept = state_bytes(self.avalanche, train.sample_bytes if train is not None else 0)
        passes = self._pause.samples
        optimizer = bytes_of(self.avalanche.optimizer.state_dict()["state"])
        return {"optimizer_bytes": optimizer, "state_bytes": {"avalanche": kept}, "forwards": passes, "backwards": passes}

    def describe(self) -> dict[str, Any]:
        """The class, its options, and its plugins with theirs, for the spec of a run."""
        return self._maker.described(self.avalanche)

    def _between(self) -> None:
        """Nothing of an experience has been trained: whatever was in progress is dropped."""
        if self._turns is not None:
            self._closing.detach()
            self._turns.close()
            self._leaf.x = None
        self._turns = self._leaf = self._start = None
        self._observed, self._batch_size, self._steps = 0, 1, 1

    def _open(self, batch_size: int, start: Tensor | None = None) -> None:
        """Let Avalanche begin the experience, up to its first iteration."""
        self._start = self._state_or_error() if start is None else start
        train, self._batch_size = self._window.train, batch_size
        size = self._setup.batch_size or batch_size
        self._maker.walk(self.avalanche, size, self._setup.epochs)
        experience, self._leaf = experience_of(train, self._number, self._seen, self._window)
        self._steps = self._setup.epochs * -(-len(self._leaf) // size)
        target, shuffle = self.avalanche, self._maker.shuffle
        self._turns = Turns(lambda turns: target.train(experience, eval_streams=[], shuffle=shuffle))
        self._closing = weakref.finalize(self, self._turns.close)
        self._pause.open(self._turns)
        with self._at_work():
            self._turns.advance()

    def _go_on(self) -> dict[str, Tensor]:
        self._observed += 1
        due = min(self._observed, self._steps) * self._pause.planned // self._steps
        before = self._pause.iterations
        with self._at_work():
            while self._pause.iterations < due and self._turns.advance():
                pass
        return {"loss": self._pause.loss} if self._pause.iterations > before else {}

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        experience, leaf = batch_as_experience(batch, self._number, self._window)
        self._maker.walk(self.avalanche, self._setup.batch_size or len(batch), None)
        with self._at_work():
            self.avalanche.train(experience, eval_streams=[], shuffle=self._maker.shuffle)
        leaf.x = None
        self._number += 1
        return {"loss": self._pause.loss}

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Inside, Avalanche's code runs: with its own generators, without its warnings."""
        try:
            with self._generators.inside(), quiet():
                yield
        finally:
            self.model = self.avalanche.model

    def _state(self) -> Tensor:
        state = {"strategy": self.avalanche, "generators": self._generators.state, "seen": self._seen, "number": self._number}
        return saved(state, self._fixtures)

    def _state_or_error(self) -> Tensor | RunError:
        try:
            return self._state()
        except RunError as error:
            return error
