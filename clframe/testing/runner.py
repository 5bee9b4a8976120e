"""Which checks concern a thing, and running them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from clframe.testing import document_checks, memory_checks, part_checks, scenario_checks, state_checks, strategy_checks
from clframe.testing.outcome import Check, Outcome
from clframe.testing.subject import MemorySubject, ScenarioSubject, StrategySubject, Subject, subject_of

Rules = tuple[Callable[[Any], None], ...]

STRATEGY: Rules = (
    strategy_checks.deterministic,
    strategy_checks.evaluation_is_pure,
    state_checks.resume_is_exact,
    state_checks.snapshots_are_exact,
    part_checks.order_free,
    strategy_checks.inputs_stay_untouched,
    part_checks.writes_only_its_own_state,
    state_checks.declares_its_state,
    state_checks.state_is_plain,
    state_checks.memory_is_bounded_as_declared,
    strategy_checks.sees_only_what_is_revealed,
    strategy_checks.refuses_what_hides_its_requirements,
    strategy_checks.terms_are_named_and_finite,
    strategy_checks.predicts_a_score_a_class,
    strategy_checks.global_generators_stay_untouched,
    strategy_checks.runs_class_incremental,
    strategy_checks.runs_task_incremental,
    strategy_checks.runs_domain_incremental,
    strategy_checks.runs_without_boundaries,
    part_checks.describes_itself,
)
SCENARIO: Rules = (
    scenario_checks.pure_function_of_its_seed,
    scenario_checks.ids_are_in_range,
    scenario_checks.every_experience_has_updates,
    scenario_checks.validation_is_held_out,
    scenario_checks.seeking_is_exact,
    scenario_checks.building_reads_no_data,
    scenario_checks.hides_what_it_says,
)
MEMORY: Rules = (
    memory_checks.keeps_within_its_size,
    memory_checks.deterministic,
    memory_checks.inputs_stay_untouched,
    memory_checks.state_is_exact,
    memory_checks.slots_are_where_they_are_said_to_be,
    memory_checks.draws_what_it_holds,
    memory_checks.probabilities_are_honest,
)
EVERYTHING: Rules = (document_checks.documented, document_checks.known_failures_are_checks)


def checks_for(thing: str | Callable[..., Any], options: Mapping[str, object] | None = None) -> list[Check]:
    """The checks that concern a strategy, a scenario or a memory.

    Args:
        thing: a Part or Strategy class, a function that returns a Recipe or a Stream, a Memory class; or words for one:
            a registered name, "er+lwf", "module:Name" or "path/to/file.py:Name", with options as in "er(size=50)".
        options: options of the constructor, where `thing` is a class or a function.

    Raises:
        OptionError: an unknown name or option, something that cannot be imported or is none of these.

    Example:
        >>> [check.name for check in checks_for("reservoir")][:2]
        ['keeps within its size', 'deterministic']
    """
    subject = subject_of(thing, options)
    checks = []
    for rule in rules_for(subject):
        name = rule.__name__.replace("_", " ")
        claim = (rule.__doc__ or "").strip().partition("\n")[0]
        checks.append(Check(name, claim, rule, subject, subject.known_failures.get(name)))
    return checks


def run_checks(thing: str | Callable[..., Any], options: Mapping[str, object] | None = None) -> list[Outcome]:
    """Run every check that concerns the thing; arguments and errors as in `checks_for`.

    Example:
        >>> {outcome.status for outcome in run_checks("class-balanced")}
        {'passed'}
    """
    return [check.outcome() for check in checks_for(thing, options)]


def rules_for(subject: Subject) -> Rules:
    """The rules for a thing of its kind."""
    if isinstance(subject, StrategySubject):
        return STRATEGY + EVERYTHING
    if isinstance(subject, ScenarioSubject):
        return SCENARIO + EVERYTHING
    assert isinstance(subject, MemorySubject)
    return MEMORY + EVERYTHING
