"""What is refused before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clframe import pieces
from clframe.errors import ClframeError, OptionError
from clframe.eval.protocol.access import Samples, refuse_overlap
from clframe.eval.protocol.cases import Case, Values, length, search_of, tuning_seeds
from clframe.eval.protocol.planned import walks, words_and_options
from clframe.eval.protocol.protocols import Place
from clframe.eval.protocol.study import Study
from clframe.experiment import rehearse
from clframe.strategies.build import stream_of


def check(study: Study, cases: Sequence[Case]) -> None:
    """Build one of everything, and compare the samples of the two phases; nothing is trained.

    Every value of a list, and both ends of a range, are built once for every method.

    Raises:
        ClframeError: something cannot be built, or a protocol that keeps its phases apart has samples in both.
    """
    for case in {(c.streams.name, c.protocol.name): c for c in cases}.values():
        _refuse_streams(study, case)
    known, compared, methods = Samples(study.options.get("data_dir")), set(), set()
    for case in cases:
        first = search_of(study, case).drawn[0]
        extremes = [{**first, name: v} for name, d in study.methods[case.method].items() for v in d.extremes]
        _refuse_what_is_no_choice(study, case)
        _rehearse(study, case, first)
        if case.protocol.chooser is not None:
            _refuse_what_cannot_change(study, case, [first, *extremes])
        if case.tuning is not None and case.method not in methods:
            methods.add(case.method)
            for values in extremes:
                _rehearse(study, case, values)
        phases = (case.streams.name, case.protocol.name)
        if case.tuning is not None and not case.protocol.reuses and phases not in compared:
            compared.add(phases)
            every = ((a, b) for a in tuning_seeds(study, case) for b in study.evaluation_seeds)
            pairs = zip(study.evaluation_seeds, study.evaluation_seeds, strict=True) if case.protocol.seeds == "each" else every
            refuse_overlap(case.streams.name, case.tuning, case.scored, pairs, known)


def _refuse_streams(study: Study, case: Case) -> None:
    """Refuse streams that cannot be built, before any method is named."""
    for key, place in (("tuning", case.tuning), ("evaluation", Place(case.streams.evaluation))):
        if place is None:
            continue
        try:
            pieces.stream(place.scenario, "finetune", study.evaluation_seeds[0], study.options.get("data_dir"))
        except ClframeError as error:
            held = f" (with validation: {study.validation:g} put in)" if "validation=" in place.scenario else ""
            raise type(error)(f"scenarios.{case.streams.name}, {key}{held}: {error}") from error


def _refuse_what_is_no_choice(study: Study, case: Case) -> None:
    """Refuse a protocol that would look at the future, although it says that it does not."""
    if case.protocol.seeds != "each" or case.protocol.chooser is not None:
        return
    whole = length(study, Place(case.streams.evaluation))
    if case.tuning is not None and length(study, case.tuning) >= whole:
        raise OptionError(
            f"scenarios.{case.streams.name}: {case.protocol.name!r} must tune on fewer experiences than there are; "
            f"{case.streams.evaluation!r} has {whole}. Give a smaller m, or take 'end-of-training'."
        )
    if study.search == "tpe":
        raise OptionError(
            f"search must not be sequential under {case.protocol.name!r}, where every seed chooses for itself and would learn from "
            "the others' trials; got 'tpe'. Take random, quasi-random or grid."
        )


def _refuse_what_cannot_change(study: Study, case: Case, some: Sequence[Values]) -> None:
    """Refuse what cannot be chosen at every experience."""
    chooser, name = case.protocol.chooser, case.protocol.name
    assert chooser is not None
    where = f"methods.{case.method} under {name!r}"
    if study.metric != "acc":
        raise OptionError(f"metric must be acc under {name!r}, which scores single experiences; got {study.metric!r}. Take acc.")
    if stream_of(case.method) != "given":
        raise OptionError(f"{where}: a method must go along the stream as it is; {case.method!r} does not. Leave it out.")
    try:
        chooser.check(study.methods[case.method])
        stand = walks(study, case, Path())[0].standpoint()
        stand.rehearse(some)
    except ClframeError as error:
        raise type(error)(f"{where}: {error}") from error


def _rehearse(study: Study, case: Case, values: Values) -> None:
    """Build what the case runs, and refuse it where it cannot be built."""
    for place, seeds in ((case.tuning, tuning_seeds(study, case)), (case.scored, study.evaluation_seeds)):
        if place is None:
            continue
        words, options = words_and_options(study, place, case.method, values)
        try:
            rehearse(place.scenario, words, seed=seeds[0], **options)
        except ClframeError as error:
            given = ", ".join(f"{k}={v}" for k, v in values.items())
            where = f"methods.{case.method} on scenarios.{case.streams.name}" + (f" with {given}" if given else "")
            raise type(error)(f"{where}: {error}") from error
