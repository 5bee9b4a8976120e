"""Protocols: what is looked at to choose the options of a method, and what its score is then taken on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from clframe.errors import OptionError, bad_option
from clframe.eval.protocol.along.choosers import Chooser
from clframe.registry import Registry, call, parse

_SLICE = re.compile(r"(\[\d*:\d*\]\s*)+$")


@dataclass(frozen=True)
class Place:
    """A stream, in words, and what its experiences are tested on.

    Attributes:
        scenario: as for `clframe.run`, a slice included.
        tested_on: "test" or "validation".
    """

    scenario: str
    tested_on: str = "test"


@dataclass(frozen=True)
class Streams:
    """One scenario of a study: the stream that is scored, and one of other data to tune on, where there is one.

    Attributes:
        name: what tables call it.
        evaluation, tuning: in words.
    """

    name: str
    evaluation: str
    tuning: str | None = None


@dataclass(frozen=True)
class Protocol:
    """One way of choosing.

    Attributes:
        name: as written in a study.
        looks_at: what the choice looks at, in words; "nothing" for settings that are given.
        deployable: whether it could be followed where a stream comes once and is not known beforehand.
        reuses: whether data that the choice looked at counts in the score.
        seeds: "other" (the tuning seeds, one choice), "same" (the evaluation seeds, one choice), or "each" (every evaluation
            seed chooses for itself: its stream is what the choice may look at).
        phases: (streams, validation share) -> where to tune (None: nowhere), where to score.
        chooser: how options are chosen at every experience of the stream; None where whole streams are gone through.
    """

    name: str
    looks_at: str
    deployable: bool
    reuses: bool
    seeds: Literal["other", "same", "each"]
    phases: Callable[[Streams, float], tuple[Place | None, Place]]
    chooser: Chooser | None = None


def fixed() -> Protocol:
    """Nothing is chosen: the options are those of the method and of the study."""
    return Protocol("fixed", "nothing", True, False, "same", lambda s, share: (None, Place(s.evaluation)))


def end_of_training() -> Protocol:
    """The oracle: the whole stream is gone through with every trial, and the best of them is reported on the same stream.

    This is what most papers do. The choice looks at validation samples of every experience, so it knows the future; the
    final training uses them, too. One setting is chosen for all seeds.

    Reference: Lee et al., "Hyperparameter selection in continual learning", 2024, "end-of-training".
    """

    def phases(s: Streams, share: float) -> tuple[Place, Place]:
        return Place(validated(s.evaluation, share), "validation"), Place(s.evaluation)

    return Protocol("end-of-training", "validation samples of the whole stream that is scored", False, True, "same", phases)


def gtep() -> Protocol:
    """Generalisable two-phase evaluation: options are tuned on a stream of the same kind over other data.

    The tuning stream shares the scenario with the evaluation stream (how many experiences, of how many classes), not the data.
    Its validation samples choose; the evaluation stream is seen with one setting only.

    Reference: Cha and Cho, "Hyperparameters in continual learning: a reality check", 2024.
    Differences:
        1. The released code scores the trials on the tuning data's test samples; here on validation samples.
        2. It has the same seeds, so the same class orders, in both phases; here they are different by default.
        3. Its halves of a data set are by label; here they are whatever the study says.
    """

    def phases(s: Streams, share: float) -> tuple[Place, Place]:
        if s.tuning is None:
            raise OptionError(
                f"scenarios.{s.name} must name a 'tuning' stream of other data for protocol 'gtep', and an 'evaluation' stream. "
                f"Write {s.name}: {{tuning: split-digits(classes=0-4), evaluation: split-digits(classes=5-9)}}, or choose another "
                "protocol."
            )
        return Place(validated(s.tuning, share), "validation"), Place(s.evaluation)

    return Protocol("gtep", "validation samples of the tuning stream, other data", True, False, "other", phases)


def first_tasks(m: int = 3, reuse: bool = False) -> Protocol:
    """The first m experiences choose, and may be gone through many times; the score is taken on the others.

    Every seed chooses for itself, because its stream begins with classes of its own.

    Args:
        m: how many.
        reuse: go through the whole stream after the choice, and score all of it.

    Reference: Chaudhry et al., "Efficient lifelong learning with A-GEM", 2019 (m = 3 of 20, not scored); with `reuse` as in
        Soutif-Cormerais et al., "A comprehensive empirical evaluation on online continual learning", 2023.
    Differences: 1. The released code of A-GEM takes the trials' scores on test samples; here on validation samples.
    """
    if m < 1:
        raise bad_option("m", "a positive integer", m, "Give m=3.")

    def phases(s: Streams, share: float) -> tuple[Place, Place]:
        scored = s.evaluation if reuse else f"{s.evaluation}[{m}:]"
        return Place(f"{validated(s.evaluation, share)}[:{m}]", "validation"), Place(scored)

    what = "the first experience" if m == 1 else f"the first {m} experiences"
    name = f"first-tasks(m={m}{', reuse=true' if reuse else ''})"
    return Protocol(name, f"validation samples of {what}", True, reuse, "each", phases)


def first_task() -> Protocol:
    """The first experience chooses for the whole stream, and counts in the score.

    Reference: Lee et al., 2024, "first-task".
    """
    found = first_tasks(1, reuse=True)
    return replace(found, name="first-task")


ALONG = "clframe.eval.protocol.along.protocols"

PROTOCOLS = Registry(
    "protocol",
    {
        "fixed": f"{__name__}:fixed",
        "end-of-training": f"{__name__}:end_of_training",
        "gtep": f"{__name__}:gtep",
        "first-tasks": f"{__name__}:first_tasks",
        "first-task": f"{__name__}:first_task",
        "current-task": f"{ALONG}:current_task",
        "seen-tasks": f"{ALONG}:seen_tasks",
        "stability-decay": f"{ALONG}:stability_decay",
        "adaptive": f"{ALONG}:adaptive",
    },
    group="clframe.protocols",
)


def protocol(written: str) -> Protocol:
    """A protocol by name, with options.

    Raises:
        OptionError: an unknown name or option.

    Example:
        >>> tuning, scored = protocol("first-tasks(m=2)").phases(Streams("digits", "split-digits"), 0.2)
        >>> tuning.scenario, scored.scenario
        ('split-digits(validation=0.2)[:2]', 'split-digits[2:]')
    """
    name, options = parse(written)
    made: Protocol = call("protocol", name, PROTOCOLS.load(name), options)
    return made


def validated(scenario: str, share: float) -> str:
    """The scenario with a validation split.

    Example:
        >>> validated("split-digits(experiences=4)[:2]", 0.1)
        'split-digits(experiences=4,validation=0.1)[:2]'
    """
    cut = _SLICE.search(scenario)
    whole, rest = (scenario[: cut.start()], cut[0]) if cut else (scenario, "")
    name, options = parse(whole)
    if name.endswith((".yaml", ".yml")):
        raise OptionError(
            f"a scenario that is tuned on must be written in words, so that a validation share can be put in; got {scenario!r}. "
            "Write the kind with its options, or take protocol 'fixed'."
        )
    if "validation" in options:
        raise OptionError(
            f"the validation share of a study must be given once; got 'validation' in {scenario!r}. Leave it out there: "
            "the study's own 'validation' is put in where a protocol tunes."
        )
    inner = whole.strip().removesuffix(")") if "(" in whole else f"{whole.strip()}("
    return f"{inner}{',' if options else ''}validation={share}){rest}"
