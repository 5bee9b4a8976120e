"""A study: methods x protocols x scenarios x seeds, as one YAML file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clframe.errors import ClframeError, OptionError, bad_option, unknown_name
from clframe.eval.metrics import METRICS
from clframe.eval.protocol.protocols import Protocol, Streams, protocol
from clframe.eval.protocol.pruning import Halving, pruning
from clframe.eval.protocol.reading import load, numbers
from clframe.eval.protocol.search import check_search
from clframe.eval.protocol.setting import RUN_OPTIONS, check
from clframe.eval.protocol.space import Space, space
from clframe.experiment import run
from clframe.registry import check_types

FORBIDDEN = ("scenario", "strategy", "seed", "out", "progress", "tuning", "tuning_trials", "tested_on")
"""Options of a run that a study sets itself."""
FIRST_TUNING_SEED = 1000


@dataclass(frozen=True)
class Study:
    """What is compared, and how options are chosen.

    Attributes:
        name: the path of its file.
        methods: method in words -> what may be chosen for it, the shared space included.
        scenarios: the streams.
        protocols: the ways of choosing.
        search: how values are drawn: "random", "quasi-random" or "grid".
        trials: settings tried for each method (a method without anything to choose has one).
        metric: what the choice maximises or minimises, on validation samples.
        validation: share of each experience's training samples held out while tuning.
        tuning_seeds, evaluation_seeds: the seeds of either phase.
        seed: root of the draws.
        options: of all runs.
        pruning: when trials are given up; None for never.
        equal: what every method has the same of: "trials", or "compute", where a method whose trials cost more has fewer.
        target: score that time-to-target is taken to; None for the median of the methods.
    """

    name: str
    methods: Mapping[str, Space]
    scenarios: tuple[Streams, ...]
    protocols: tuple[Protocol, ...]
    search: str = "random"
    trials: int = 10
    metric: str = "acc"
    validation: float = 0.2
    tuning_seeds: tuple[int, ...] = (FIRST_TUNING_SEED,)
    evaluation_seeds: tuple[int, ...] = (0, 1, 2)
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    pruning: Halving | None = None
    equal: str = "trials"
    target: float | None = None

    @property
    def maximise(self) -> bool:
        """Whether more of the metric is better."""
        return bool(METRICS[self.metric].higher_is_better)

    @property
    def known(self) -> list[str]:
        """Every option that may be chosen for some method."""
        return sorted({name for found in self.methods.values() for name in found})


def read(path: str | Path) -> Study:
    """A study from its YAML file; every mistake in it is answered with the file, the key and the remedy.

    Raises:
        OptionError: a key, method, option, protocol or value that is not known or out of range.
    """
    place, written = Path(path), load(path)
    try:
        return parse_study(written, name=str(place))
    except ClframeError as error:
        raise OptionError(f"{place}: {error}") from error


def parse_study(written: object, name: str = "study") -> Study:
    """A study from what its YAML file says.

    Example:
        >>> found = parse_study({"methods": ["finetune"], "scenarios": "split-digits", "protocols": ["fixed"], "seeds": 2})
        >>> found.evaluation_seeds, found.tuning_seeds
        ((0, 1), (1000, 1001))
    """
    known = (
        *("methods", "space", "scenarios", "protocols", "search", "trials", "equal", "pruning"),
        *("metric", "target", "validation", "seeds", "seed", "options"),
    )
    written = numbers(written)
    if written is None:
        raise bad_option("a study", f"a mapping with the keys {', '.join(known)}", "an empty file", "Begin with 'methods:'.")
    if not isinstance(written, Mapping):
        raise bad_option("a study", f"a mapping with the keys {', '.join(known)}", written, "Begin with 'methods:'.")
    for key in written:
        if key not in known:
            raise unknown_name("a key of a study", str(key), known)
    options = _options(written.get("options", {}))
    shared = space("space", written.get("space", {}))
    found = Study(
        name=name,
        methods=_methods(written.get("methods"), shared, options),
        scenarios=tuple(_scenarios(written.get("scenarios"))),
        protocols=_protocols(written.get("protocols", ["fixed"])),
        search=check_search(str(written.get("search", "random"))),
        trials=_positive("trials", written.get("trials", 10), "a budget of at least one trial"),
        metric=_metric(str(written.get("metric", "acc"))),
        validation=_share(written.get("validation", 0.2)),
        **_seeds(written.get("seeds", 3)),
        seed=_seed(written.get("seed", 0)),
        options=options,
        pruning=None if (rule := written.get("pruning")) is None else pruning(str(rule)),
        equal=_equal(str(written.get("equal", "trials"))),
        target=_target(written.get("target")),
    )
    refuse_what_does_not_go_together(found)
    return found


def refuse_what_does_not_go_together(study: Study) -> None:
    """Refuse pruning and budgets of equal compute where they cannot be.

    Raises:
        OptionError: with the key.
    """
    if study.pruning is not None and study.search == "tpe":
        raise bad_option("pruning", "left out with search: tpe, which goes one by one", "halving", "Take random or quasi-random.")
    if study.pruning is not None and study.metric != "acc":
        raise bad_option("metric", "acc with pruning, which judges by accuracy", study.metric, "Leave pruning out, or take acc.")
    often = study.metric.startswith(("wf_", "wp_")) or study.metric == "lca"
    if often and study.options.get("evaluate") == "boundaries":
        raise bad_option("metric", "one that boundaries are enough for, with evaluate: boundaries", study.metric, "Take acc.")
    if study.equal == "compute" and study.pruning is not None:
        raise bad_option("equal", "trials with pruning", "compute", "Leave one of them out.")


def _equal(value: str) -> str:
    if value not in ("trials", "compute"):
        raise unknown_name("equal", value, ("trials", "compute"))
    return value


def _target(value: object) -> float | None:
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 1):
        raise bad_option("target", "an accuracy in (0, 1]", value, "Leave it out for the median of the methods.")
    return None if value is None else float(value)


def _methods(written: object, shared: Space, options: Mapping[str, Any]) -> dict[str, Space]:
    if isinstance(written, list) and all(isinstance(method, str) for method in written):
        twice = next((m for i, m in enumerate(written) if m in written[:i]), None)
        if twice is not None:
            raise bad_option("methods", "different from each other", twice, "It is there twice: leave one out.")
        written = dict.fromkeys(written)
    if not isinstance(written, Mapping) or not written:
        raise bad_option("methods", "a list of methods, or a mapping of each to what may be chosen", written, "Write [er, lwf].")
    found = {}
    for method, own in written.items():
        alone = space(f"methods.{method}", {} if own is None else own)
        spaces = {**shared, **alone}
        check(str(method), {name: d for name, d in shared.items() if name not in alone}, f"space, for {method!r}")
        check(str(method), alone, f"methods.{method}")
        for name, dimension in spaces.items():
            for value in dimension.extremes:
                _refuse_another_type(f"space.{name}" if name in shared and name not in alone else f"methods.{method}", name, value)
        fixed = sorted(set(spaces) & set(options))
        if fixed:
            raise bad_option(
                f"options, for methods.{method},", "options that are not chosen as well", fixed[0], "Leave it out of one of them."
            )
        found[str(method)] = spaces
    return found


def _refuse_another_type(where: str, name: str, value: object) -> None:
    """Refuse a word or a yes for a number, among the options of a run."""
    if name not in RUN_OPTIONS:
        return
    try:
        if isinstance(value, bool) and name != "reset_optimizer":
            raise bad_option(name, "a number or a word", value, "Write a value.")
        check_types("run", "of this study", run, {name: value})
    except OptionError as error:
        raise OptionError(f"{where}: {error}") from error


def _scenarios(written: object) -> list[Streams]:
    if isinstance(written, str):
        written = {written: written}
    if not isinstance(written, Mapping) or not written:
        rule = "a scenario, or a mapping of names to scenarios"
        raise bad_option("scenarios", rule, written, "Write {digits: split-digits}.")
    found = []
    for name, streams in written.items():
        if isinstance(streams, str):
            found.append(Streams(str(name), streams))
            continue
        for key in streams if isinstance(streams, Mapping) else ():
            if key not in ("tuning", "evaluation"):
                raise OptionError(f"scenarios.{name}: {unknown_name('a key', str(key), ('tuning', 'evaluation'))}")
        if not isinstance(streams, Mapping) or "evaluation" not in streams:
            rule = "a scenario in words, or {tuning: ..., evaluation: ...}"
            raise bad_option(f"scenarios.{name}", rule, streams, "Write {tuning: split-fashion-mnist, evaluation: split-mnist}.")
        found.append(Streams(str(name), str(streams["evaluation"]), None if (t := streams.get("tuning")) is None else str(t)))
    return found


def _protocols(written: object) -> tuple[Protocol, ...]:
    words = [written] if isinstance(written, str) else written
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise bad_option("protocols", "a list of protocols", written, "Write [gtep, end-of-training].")
    found = tuple(map(protocol, words))
    twice = next((p.name for i, p in enumerate(found) if p.name in [q.name for q in found[:i]]), None)
    if twice is not None:
        raise bad_option("protocols", "different from each other", twice, "It is there twice: leave one out.")
    return found


def _options(written: object) -> dict[str, Any]:
    if not isinstance(written, Mapping):
        raise bad_option("options", "a mapping of options of a run", written, "Write {batch_size: 10}.")
    known = [name for name in inspect.signature(run).parameters if name not in FORBIDDEN]
    for key in written:
        if key not in known:
            raise OptionError(f"options: {unknown_name('an option of a run', str(key), known)}")
    found = {str(k): v for k, v in written.items()}
    check_types("run", "of this study", run, found)
    return found


def _seed(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise bad_option("seed", "an integer", value, "Write seed: 0.")
    return value


def _seeds(written: object) -> dict[str, tuple[int, ...]]:
    """`3`, or {tuning: ..., evaluation: ...} with a number of seeds or a list of them each."""
    asked = written if isinstance(written, Mapping) else {"tuning": written, "evaluation": written}
    if set(asked) != {"tuning", "evaluation"}:
        raise bad_option("seeds", "a number, or {tuning: ..., evaluation: ...}", written, "Write seeds: 3.")
    found = {}
    for phase, first in (("tuning", FIRST_TUNING_SEED), ("evaluation", 0)):
        value: Any = asked[phase]
        numbers = list(range(first, first + value)) if isinstance(value, int) and not isinstance(value, bool) else value
        whole = isinstance(numbers, list) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers)
        good = whole and numbers
        name = f"seeds.{phase}" if isinstance(written, Mapping) else "seeds"
        if not good or len(set(numbers)) < len(numbers):
            raise bad_option(name, "a number of seeds, or a list of different ones", value, "Write seeds: 3.")
        found[f"{phase}_seeds"] = tuple(numbers)
    return found


def _positive(name: str, value: object, rule: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise bad_option(name, rule, value, f"Write {name}: 10.")
    return value


def _share(value: object) -> float:
    if not isinstance(value, int | float) or not 0 < value < 1:
        rule = "a share in (0, 1): the choice looks at nothing but validation samples"
        raise bad_option("validation", rule, value, "Write validation: 0.2.")
    return float(value)


def _metric(name: str) -> str:
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    if METRICS[name].better is None:
        raise bad_option("metric", "one of which more or less is better", name, "Write metric: acc.")
    return name
