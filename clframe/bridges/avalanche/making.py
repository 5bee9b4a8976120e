"""Making an Avalanche strategy for a run: what it is given, what it is called, what it says of itself."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from avalanche.logging import InteractiveLogger
from avalanche.training.plugins import BiCPlugin, EvaluationPlugin, GEMPlugin
from avalanche.training.plugins.clock import Clock
from avalanche.training.supervised import JointTraining
from avalanche.training.templates.base_sgd import BaseSGDTemplate, PeriodicEval
from torch.optim.lr_scheduler import MultiStepLR

from clframe.bridges.avalanche.networks import Features, for_avalanche
from clframe.errors import CompositionError, MissingExtraError
from clframe.types import Strategy

if TYPE_CHECKING:
    from clframe.strategies.build import Setup

ALWAYS = ("train_mb_size", "train_epochs", "device", "evaluator")
"""What a function with **options is given, beside `model` and `optimizer`."""
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Maker:
    """Makes a strategy for each run; what `clframe.run` takes as a strategy.

    Attributes:
        make, online, shuffle, options: as `strategy` was given them.
        build: makes the clframe strategy.
        name: what tables call it.
    """

    make: Callable[..., Any]
    online: bool
    shuffle: bool
    options: Mapping[str, Any]
    build: Callable[[Setup, Maker], Strategy] = field(repr=False)
    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is None:
            plain = {k: v for k, v in self.options.items() if isinstance(v, PLAIN)}
            plain |= {k: True for k in ("online",) if self.online}
            kind = getattr(self.make, "__name__", type(self.make).__name__)
            words = ",".join(f"{k}={v}" for k, v in {"name": kind, **plain}.items())
            object.__setattr__(self, "name", f"avalanche({words})")

    def __call__(self, setup: Setup) -> Strategy:
        """The strategy of one run."""
        return self.build(setup, self)

    def made(self, setup: Setup, device: torch.device) -> Any:
        """The Avalanche strategy of one run.

        Raises:
            CompositionError: no strategy was made, or one that trains a whole stream at once.
        """
        model = for_avalanche(setup.model)
        with quiet():
            given: dict[str, Any] = {
                "model": model,
                "optimizer": setup.optimizer(setup.model.parameters()),
                "feature_extractor": Features(setup.model),
                "classifier": setup.model.head,
                "criterion": torch.nn.CrossEntropyLoss(),
                "train_mb_size": setup.batch_size or 1,
                "train_epochs": 1 if self.online else setup.epochs,
                "device": device,
                "evaluator": EvaluationPlugin(),
            }
            parameters = inspect.signature(self.make).parameters
            any_name = any(p.kind is p.VAR_KEYWORD for p in parameters.values()) and not isinstance(self.make, type)
            named = {k: v for k, v in given.items() if k in parameters or (any_name and k in ("model", "optimizer", *ALWAYS))}
            made = self.make(**{**named, **copy.deepcopy(dict(self.options))})
        if not isinstance(made, BaseSGDTemplate) or isinstance(made, JointTraining):
            raise CompositionError(
                "an Avalanche strategy must train one experience after the other, as those of avalanche.training.supervised do; "
                f"got {type(made).__name__}. Give such a strategy; for joint training there is clframe's 'joint'."
            )
        _refuse_broken(made)
        made.evaluator.loggers = [logger for logger in made.evaluator.loggers if not isinstance(logger, InteractiveLogger)]
        return made

    def walk(self, made: Any, batch_size: int, epochs: int | None) -> None:
        """Give the run's batch size and epochs to a strategy that has Avalanche's defaults (1 and 1)."""
        if made.train_mb_size == 1 and "train_mb_size" not in self.options:
            made.train_mb_size = batch_size
        if epochs is not None and made.train_epochs == 1 and "train_epochs" not in self.options:
            made.train_epochs = epochs

    def described(self, made: Any) -> dict[str, Any]:
        """Class, plain attributes and plugins, ready for JSON."""
        return {
            "strategy": f"Avalanche {type(made).__name__}",
            "online": self.online,
            "shuffle": self.shuffle,
            "options": _plain(vars(made)),
            "plugins": plain_plugins(made),
        }


def plain_plugins(made: Any) -> list[dict[str, Any]]:
    """The plugins of a strategy, without those that every strategy has and those of this bridge, ready for JSON."""
    own = [p for p in made.plugins if not isinstance(p, EvaluationPlugin | PeriodicEval | Clock)]
    own = [p for p in own if not type(p).__module__.startswith(__package__ or "clframe.")]
    return [{"plugin": type(p).__name__, "options": _plain(vars(p))} for p in own]


def _refuse_broken(made: Any) -> None:
    """Refuse at once what would fail after the first experience, because torch has changed since or a solver is missing."""
    if any(isinstance(p, GEMPlugin) for p in made.plugins) and find_spec("quadprog") is None:
        raise MissingExtraError("Avalanche's GEM needs quadprog, which is not installed. Run: pip install quadprog")
    if any(isinstance(p, BiCPlugin) for p in made.plugins) and "verbose" not in inspect.signature(MultiStepLR).parameters:
        raise CompositionError(
            f"Avalanche's BiC needs a torch whose MultiStepLR takes 'verbose'; torch {torch.__version__} has none. "
            "Take clframe's 'bic'."
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, warnings are not shown: Avalanche's are of its own deprecations and missing loggers.

    Its decorator for deprecated functions sets the filters itself, and shows its warnings whatever they were.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.showwarning = lambda *_, **__: None
        yield


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in sorted(attributes.items()) if isinstance(v, PLAIN) and not k.startswith("_")}
