"""Which values are tried: the same unit numbers for the same option of every method, so that draws are paired."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from scipy.stats import qmc

from clframe.errors import MissingExtraError, bad_option, unknown_name
from clframe.eval.protocol.space import Choice, Space
from clframe.eval.protocol.tpe import suggest
from clframe.seeding import rng

SEARCHES = ("random", "quasi-random", "grid", "tpe")

MIN_STARTUP = 4
"""Random trials before a sequential search begins."""


@dataclass(frozen=True)
class Search:
    """How one method is searched.

    Attributes:
        how: "random", "quasi-random", "grid" or "tpe".
        space: what may be chosen.
        trials: settings at most.
        seed: root of the draws.
        known: the options of all spaces of a study.
        maximise: whether more of the score is better.
    """

    how: str
    space: Space
    trials: int
    seed: int = 0
    known: tuple[str, ...] = ()
    maximise: bool = True

    @property
    def drawn(self) -> list[dict[str, Any]]:
        """The different settings that are known beforehand."""
        if self.trials < 1:
            return []
        found = draws(self.how, self.space, self.trials, self.seed, self.known)
        return [values for i, values in enumerate(found) if values not in found[:i]]

    @property
    def count(self) -> int:
        """How many settings there will be."""
        return self.trials if self.how == "tpe" and self.space else len(self.drawn)

    def propose(self, tried: Sequence[tuple[Mapping[str, Any], float | None]]) -> dict[str, Any] | None:
        """The next setting, given all that were tried; None when there has been enough."""
        drawn = self.drawn
        if len(tried) < len(drawn):
            return drawn[len(tried)]
        return suggest(self.space, tried, self.maximise, self.seed) if len(tried) < self.count else None


def check_search(name: str) -> str:
    """The name of a search.

    Raises:
        OptionError: an unknown one.
        MissingExtraError: one that needs a package that is not installed.
    """
    if name not in SEARCHES:
        raise unknown_name("search", name, SEARCHES)
    if name == "tpe" and find_spec("optuna") is None:
        raise MissingExtraError("search 'tpe' needs Optuna, which is not installed. Run: pip install 'clframe[tune]'")
    return name


def draws(how: str, space: Space, trials: int, seed: int, known: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The values of every trial that can be drawn beforehand: all of them, or the first quarter where "tpe" goes on from there.

    "random": every option has a stream of unit numbers of its own, addressed by its name, so that trial r draws the same
    number for "lr" whatever else is in the space. "quasi-random": a Halton sequence, randomly shifted, with one dimension for
    each of `known`; a space takes the columns of its own options. "grid": all combinations of the lists, in the order of the
    space.

    Args:
        how: "random", "quasi-random", "grid" or "tpe".
        space: what may be chosen; an empty one gives one trial without values.
        trials: how many; a grid must not have more.
        seed: root of the draws.
        known: the options of all spaces of a study, for the columns of the quasi-random sequence.

    Raises:
        OptionError: a grid over a range, or one that has more combinations than trials.

    Example:
        >>> from clframe.eval.protocol.space import space
        >>> small, large = space("a", {"lr": [1, 2, 3, 4]}), space("b", {"ewc.strength": [5, 6], "lr": [1, 2, 3, 4]})
        >>> [d["lr"] for d in draws("random", small, 5, 0)] == [d["lr"] for d in draws("random", large, 5, 0)]
        True
        >>> draws("grid", space("c", {"lr": [1, 2], "epochs": [3]}), 9, 0)
        [{'lr': 1, 'epochs': 3}, {'lr': 2, 'epochs': 3}]
    """
    if not space:
        return [{}]
    if how == "grid":
        return _grid(space, trials)
    if how == "tpe":
        trials = min(trials, max(MIN_STARTUP, trials // 4))
    if how in ("random", "tpe"):
        numbers: Mapping[str, Any] = {name: rng(seed, "search", name).random(trials) for name in space}
    else:
        names = sorted({*known, *space})
        shift = rng(seed, "search", "shift").random(len(names))
        table = (qmc.Halton(len(names), scramble=False).random(trials) + shift) % 1.0
        numbers = {name: table[:, i] for i, name in enumerate(names)}
    return [{name: d.at(float(numbers[name][r])) for name, d in space.items()} for r in range(trials)]


def _grid(space: Space, trials: int) -> list[dict[str, Any]]:
    lists = []
    for name, d in space.items():
        if not isinstance(d, Choice):
            kind = f"{'log-' if d.log else ''}range: [{d.low}, {d.high}]"
            raise bad_option(
                f"{name} in the space", "a list of values in a grid search", kind, "List the values, or search at random."
            )
        lists.append(d.values)
    found = [dict(zip(space, values, strict=True)) for values in itertools.product(*lists)]
    if len(found) > trials:
        rule = f"at least the size of the grid, {len(found)}"
        raise bad_option("trials", rule, trials, f"Give trials={len(found)}, fewer values, or search at random.")
    return found
