"""A study of a paper: groups of runs, the quantities that are taken from them, a figure, and at what scale."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import clframe
from clframe.errors import unknown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
SCALES = ("default", "full")

Tell = Callable[[str, int, int], None]
"""Called with (what is done, steps done, steps in all)."""

Runs = Mapping[str, Any]
"""What is finished, by the name of its group: `clframe.Results` of a `Group`, cells of a `papers.measured.Measured`."""

BySeed = dict[int, float | None]
"""A quantity of each seed; None where it is not defined."""


@dataclass(frozen=True)
class Interval:
    """A quantity whose 95 % interval does not come from seeds, such as a root mean square error over draws.

    Attributes:
        n: draws that it is made of.
        mean: the quantity.
        low, high: ends of its interval.
    """

    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Place:
    """Where a study is run.

    Attributes:
        data_dir: folder of data sets; None for the environment variable CLFRAME_DATA.
        out: directory of what its groups leave, OUT/STUDY/SCALE.
        jobs: how much is done at the same time.
        device: as in `clframe.run`.
    """

    data_dir: str | None
    out: Path
    jobs: int
    device: str


class Work(Protocol):
    """One group of a study: it can be run, and says with what settings. `Group` and `papers.measured.Measured` are two."""

    @property
    def name(self) -> str:
        """Short name, part of the keys of the quantities."""
        ...

    def __len__(self) -> int:
        """How many runs."""
        ...

    def settings(self) -> dict[str, Any]:
        """Everything that the outcome depends on, for obtained.json."""
        ...

    def run(self, place: Place, tell: Tell) -> Any:
        """Do what is not done yet."""
        ...

    def costs(self, finished: Any) -> list[tuple[Mapping[str, Any], float]]:
        """Environment and processor seconds of each run."""
        ...


@dataclass(frozen=True)
class Group:
    """Runs that differ in scenario, strategy and seed only: one call of `clframe.compare`.

    Attributes:
        name: short name, part of the keys of the quantities.
        scenarios: scenarios in words.
        strategies: strategies in words.
        options: options of `clframe.run`, the same for all.
        seeds: how many seeds, from 0.
    """

    name: str
    scenarios: tuple[str, ...]
    strategies: tuple[str, ...]
    options: Mapping[str, Any]
    seeds: int = 5

    def __len__(self) -> int:
        return len(self.scenarios) * len(self.strategies) * self.seeds

    def settings(self) -> dict[str, Any]:
        """Scenarios, strategies, seeds and options."""
        return {
            "scenarios": list(self.scenarios),
            "strategies": list(self.strategies),
            "seeds": list(range(self.seeds)),
            "options": dict(self.options),
        }

    def run(self, place: Place, tell: Tell) -> clframe.Results:
        """Make the runs that are not there yet.

        Raises:
            ClframeError: a run cannot be made.
        """
        return clframe.compare(
            list(self.scenarios),
            list(self.strategies),
            seeds=self.seeds,
            jobs=place.jobs,
            out=place.out / self.name,
            progress=tell,
            **{"data_dir": place.data_dir, "device": place.device, **self.options},
        )

    def costs(self, finished: clframe.Results) -> list[tuple[Mapping[str, Any], float]]:
        """Environment and processor seconds of each run."""
        return [(result.environment, result.budget.cpu_seconds) for result in finished]


@dataclass(frozen=True)
class Grid:
    """A choice of options on the validation split, before and apart from the runs that are reported.

    Attributes:
        scenario: scenario in words, with a validation split.
        strategy: strategy in words, with a field {name} for each of `in_strategy`.
        options: fixed options of `clframe.run`.
        choices: values by name; names that are not in `in_strategy` are options of `clframe.run`.
        in_strategy: names that are filled into the strategy.
        seeds: seeds of these trials, none of which is reported.
    """

    scenario: str
    strategy: str
    options: Mapping[str, Any]
    choices: Mapping[str, Sequence[float | int]]
    in_strategy: tuple[str, ...]
    seeds: tuple[int, ...] = (100, 101)


@dataclass(frozen=True)
class Study:
    """One folder of papers/.

    Attributes:
        name: name of the folder.
        title: what was run again.
        scales: what each scale is, in a sentence.
        groups: the groups of runs at a scale.
        quantities: key -> value by seed, or a value with its interval, from the finished runs.
        figure: the figure of the finished runs.
        grid: how the options were chosen, where they were.
        pictured: name of the figure's file.
        chosen: what was taken from the grid: (values that were held fixed, the best options among those).
        samples: writes what else there is to look at, to files that begin with a path (`beside`).
    """

    name: str
    title: str
    scales: Mapping[str, str]
    groups: Callable[[str], Sequence[Work]]
    quantities: Callable[[Runs], Mapping[str, BySeed | Interval]]
    figure: Callable[[Runs], Figure]
    grid: Grid | None = None
    pictured: str = "task1"
    chosen: tuple[tuple[Mapping[str, float], Mapping[str, float]], ...] = ()
    samples: Callable[[Runs, Path], None] | None = None

    @property
    def folder(self) -> Path:
        """Where NOTES.md, expected.json and obtained.json lie."""
        return HERE / self.name

    def obtained(self, scale: str) -> Path:
        """The file that the runs of a scale write."""
        return self.folder / f"obtained{_suffix(scale)}.json"

    def picture(self, scale: str) -> Path:
        """The figure of a scale."""
        return self.folder / f"{self.pictured}{_suffix(scale)}.png"

    def beside(self, scale: str) -> Path:
        """The beginning of the files with samples of a scale."""
        return self.folder / f"samples{_suffix(scale)}"


def names() -> list[str]:
    """Every study, in alphabetical order."""
    return sorted(p.parent.name for p in HERE.glob("*/study.py"))


def load(name: str) -> Study:
    """A study by the name of its folder.

    Raises:
        OptionError: an unknown name, with the nearest ones.
    """
    if name not in names():
        raise unknown_name("paper", name, names())
    study: Study = importlib.import_module(f"papers.{name}.study").STUDY
    return study


def _suffix(scale: str) -> str:
    return "" if scale == "default" else f"-{scale}"
