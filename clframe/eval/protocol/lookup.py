"""Find the setting that fits a method and a stream, and refuse one whose tuning saw the data that it would be evaluated on."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clframe import pieces
from clframe.errors import DataError, OptionError, unknown_name
from clframe.eval.protocol.access import Hashes, Samples
from clframe.eval.protocol.frozen import Setting, read
from clframe.registry import parse, split
from clframe.scenarios import Stream
from clframe.scenarios.kind import kind_of

TUNED = Path(__file__).with_name("tuned.json")
"""The settings that ship with clframe."""


def settings_for(
    method: str,
    scenario: str | Stream,
    source: str = "tuned",
    *,
    seeds: Iterable[int] = (0,),
    data_dir: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """The strategy and the options of `clframe.run` that a protocol chose for a method on streams of this kind.

    Args:
        method: as the study has it, such as "er(size=200)".
        scenario: the stream that it is to be evaluated on.
        source: "tuned", for the settings that ship with clframe, or the path of a study's settings.json; where several fit, with
            the protocol, the scenario or both after a colon: "settings.json:gtep", "settings.json:digits/gtep".
        seeds: the seeds of the runs: the streams of all of them are held against what tuning saw.
        data_dir: the folder of data sets.

    Raises:
        OptionError: no setting, or several, for this method and this kind of stream; a file that is no settings file.
        DataError: tuning saw some of these samples.

    Example:
        >>> import clframe
        >>> strategy, options = settings_for("slda", "split-digits")
        >>> strategy.partition("=")[0], options["batch_size"], options["tuning"].partition(":")[0]
        ('slda(shrinkage', 10, 'gtep')
        >>> result = clframe.run("split-digits", strategy, evaluate="boundaries", **options)
        >>> result.budget.tuning_trials
        60
    """
    setting = Shelf(source, data_dir).find(method, scenario, seeds)
    return setting.strategy, {**setting.options, **setting.told}


class _Seen(NamedTuple):
    """A stream as far as settings care: its kind, and hashes of its samples."""

    kind: str
    trained: Hashes
    tested: Hashes


class Shelf:
    """The settings of a file, and the streams that they were asked for.

    Args:
        source: as in `settings_for`.
        data_dir: the folder of data sets.

    Raises:
        OptionError: no settings file, or one without the protocol or scenario that was named.

    Example:
        >>> Shelf("tuned").find("er(size=200)", "split-digits", [0]).kind
        'class-incremental'
    """

    def __init__(self, source: str, data_dir: str | None = None) -> None:
        self.source, self.data_dir = source, data_dir
        file, label = _parted(source)
        self.settings = read(file)
        if label:
            known = sorted({one for setting in self.settings for one in _labels(setting)})
            if label not in known:
                raise OptionError(f"settings: {unknown_name(f'a protocol or scenario of {str(file)!r}', label, known)}")
            self.settings = [setting for setting in self.settings if label in _labels(setting)]
        self._samples = Samples(data_dir)
        self._streams: dict[Hashable, _Seen] = {}

    def find(self, method: str, scenario: str | Stream, seeds: Iterable[int]) -> Setting:
        """The setting for a method on this kind of stream.

        Args:
            method, scenario, seeds: as in `settings_for`.

        Raises:
            ClframeError: as `settings_for` does.
        """
        numbers = list(seeds)
        named = [s for s in self.settings if _normal(s.method) == _normal(method)]
        if not named:
            raise self._unknown(method)
        kind = self._seen(scenario, numbers[0]).kind
        found = [s for s in named if s.kind == kind]
        if not found:
            there = " and ".join(repr(k) for k in dict.fromkeys(s.kind for s in named))
            raise OptionError(
                f"a setting must be for the kind of the scenario; {pieces.written(scenario)!r} is {kind!r}, and {self.source!r} "
                f"has {method!r} for {there}. Choose such a scenario, or tune on one of this kind with clframe protocol."
            )
        setting = self._preferred(method, found)
        for seed in numbers:
            self._refuse_seen(setting, scenario, seed)
        return setting

    def _preferred(self, method: str, found: Sequence[Setting]) -> Setting:
        """The only one, or the one under "gtep", or the one that could be followed in deployment."""
        for some in (found, [s for s in found if s.protocol == "gtep"], [s for s in found if s.deployable]):
            if len(some) == 1:
                return some[0]
        there = [f"{s.scenario}/{s.protocol}" for s in found]
        raise OptionError(
            f"settings must say which of several is meant; {self.source!r} has {', '.join(there)} for {method!r}. "
            f"Write --settings '{_parted(self.source)[0]}:{there[0]}'."
        )

    def _refuse_seen(self, setting: Setting, scenario: str | Stream, seed: int) -> None:
        _, trained, tested = self._seen(scenario, seed)
        everything = np.union1d(trained, tested)
        both = setting.seen.shared(everything)
        if not both:
            return
        least = "" if setting.seen.complete else "at least "
        parts = f"training samples: {setting.seen.shared(trained)}, test samples: {setting.seen.shared(tested)}"
        raise DataError(
            f"a setting must be evaluated on data that its tuning did not see; {least}{both} of the {len(everything)} samples of "
            f"{pieces.written(scenario)!r} (seed {seed}; {parts}) are in {setting.tuning!r}, where {self.source!r} has tuned "
            f"{setting.method!r}. Give other data or another setting, or give the values yourself as options and say what they "
            "were tuned on with --tuning '...'."
        )

    def _seen(self, scenario: str | Stream, seed: int) -> _Seen:
        key = (scenario if isinstance(scenario, str) else id(scenario), seed)
        if key not in self._streams:
            stream = pieces.stream(scenario, "finetune", seed, self.data_dir)
            self._streams[key] = _Seen(kind_of(stream), self._samples.trained(stream), self._samples.tested(stream))
        return self._streams[key]

    def _unknown(self, method: str) -> OptionError:
        known = list(dict.fromkeys(s.method for s in self.settings))
        same = [m for m in known if _names(m) == _names(method)]
        near = same or difflib.get_close_matches(method, known, n=3, cutoff=0.5)
        guess = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        return OptionError(
            f"a method must be written as in its setting; got {method!r}. {guess}{self.source!r} has: {', '.join(known) or 'none'}."
        )


def _parted(source: str) -> tuple[Path, str]:
    """The file of "tuned", "FILE", "tuned:LABEL" or "FILE:LABEL", and the label."""
    if source == "tuned":
        return TUNED, ""
    colons = [i for i, character in enumerate(source) if character == ":"]
    for i in reversed([] if Path(source).exists() else colons):
        if source[:i] == "tuned" or Path(source[:i]).is_file():
            return (TUNED if source[:i] == "tuned" else Path(source[:i])), source[i + 1 :]
    return Path(source), ""


def _labels(setting: Setting) -> tuple[str, str, str]:
    return setting.protocol, setting.scenario, f"{setting.scenario}/{setting.protocol}"


def _normal(method: str) -> list[tuple[str, str]]:
    """A method without what does not count: spaces, the order of options, the order of parts."""
    return sorted((name, repr(sorted(options.items()))) for name, options in map(parse, split(method, "+")))


def _names(method: str) -> list[str]:
    return sorted(parse(part)[0] for part in split(method, "+"))
