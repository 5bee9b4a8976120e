"""An Avalanche strategy as bytes, between two experiences: what its own checkpoints would have to do."""

from __future__ import annotations

import inspect
import io
import pickle
import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from clframe.errors import RunError
from clframe.locate import in_a_line


class Window:
    """Where samples of the stream are fetched from; not saved.

    Attributes:
        train: the experience that was begun last; it gives samples of the earlier ones as well.
    """

    train: Any = None

    def fetch(self, i: int) -> Tensor:
        """The input of one sample."""
        x: Tensor = self.train.fetch(torch.tensor([i])).x[0]
        return x

    def __deepcopy__(self, memo: object) -> Window:
        return self


class Fixtures:
    """What stays the same object when a strategy is put back: the window, and every module and parameter of the run's network.

    The network's values are saved beside the strategy, and copied back into it.

    Args:
        window: of the strategy.
        network: of the run.
    """

    def __init__(self, window: Window, network: nn.Module) -> None:
        self.network = network
        self.named = {"window": window, **_pieces(network)}
        self.names = {id(thing): name for name, thing in self.named.items()}

    def refuse_replaced(self) -> None:
        """Refuse a network whose modules or parameters were replaced since: they could not be put back.

        Raises:
            RunError: a piece of it is another one.
        """
        if any(self.named.get(name) is not thing for name, thing in _pieces(self.network).items()):
            raise RunError(
                "a strategy that replaces layers of the run's network cannot be saved; this Avalanche strategy does. Run it "
                "without a directory (out=None), or let your function make a model of its own."
            )


_at_hand: list[Mapping[str, Any]] = []


def saved(state: Any, fixtures: Fixtures) -> Tensor:
    """A state that holds Avalanche's objects, as bytes (n,).

    Raises:
        RunError: something in it cannot be pickled.
    """
    fixtures.refuse_replaced()
    buffer = io.BytesIO()
    try:
        torch.save({"values": fixtures.network.state_dict(), "state": state}, buffer, pickle_module=_Pickle(fixtures.names))
    except Exception as error:  # whatever a user's object raises
        raise RunError(
            f"this Avalanche strategy must be picklable to be saved; {in_a_line(error)}. Run it without a directory (out=None), or "
            "replace what cannot be pickled, such as a lambda among its options by a function of a module."
        ) from error
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def restored(state: Tensor, fixtures: Fixtures, device: torch.device) -> Any:
    """What `saved` was given; its network's values are those of the state."""
    with _holding(fixtures.named):
        found = torch.load(io.BytesIO(state.cpu().numpy().tobytes()), map_location=device, weights_only=False)
    fixtures.network.load_state_dict(found["values"])
    return found["state"]


class _Pickle:
    """What `torch.save` asks of a pickle module.

    Fixtures are saved by their names, and so are iterators that were made and not begun, as A-GEM keeps one between experiences.
    Equal strings are saved as one, so that a strategy that was put back gives the same bytes; for that it is Python's own pickler.
    """

    __name__ = "clframe"
    dumps = staticmethod(pickle.dumps)

    def __init__(self, names: Mapping[int, str]) -> None:
        class Pickler(pickle._Pickler):
            dispatch: ClassVar = {**pickle._Pickler.dispatch, str: _save_string}

            def reducer_override(self, thing: Any) -> Any:
                if id(thing) in names:
                    return _fixture, (names[id(thing)],)
                if isinstance(thing, types.GeneratorType) and inspect.getgeneratorstate(thing) == inspect.GEN_CREATED:
                    owner = inspect.getgeneratorlocals(thing).get("self")
                    if owner is not None and thing.__name__ == "__iter__":
                        return iter, (owner,)
                return NotImplemented

        self.Pickler = Pickler


def _save_string(pickler: Any, text: str) -> None:
    text = sys.intern(text)
    known = pickler.memo.get(id(text))
    if known is None:
        pickle._Pickler.save_str(pickler, text)  # type: ignore[attr-defined]
    else:
        pickler.write(pickler.get(known[0]))


@contextmanager
def _holding(named: Mapping[str, Any]) -> Iterator[None]:
    _at_hand.append(named)
    try:
        yield
    finally:
        _at_hand.pop()


def _fixture(name: str) -> Any:
    return _at_hand[-1][name]


def _pieces(network: nn.Module) -> dict[str, Any]:
    modules = {f"module {name}": module for name, module in network.named_modules()}
    parameters = {f"parameter {name}": parameter for name, parameter in network.named_parameters()}
    return {**modules, **parameters, **{f"buffer {name}": buffer for name, buffer in network.named_buffers()}}
