"""The method pages: one for each method, as the docstring, the results and the costs make it, with every logged term explained."""

from __future__ import annotations

import pytest

from clframe.strategies import STRATEGIES
from clframe.testing.subject import StrategySubject, subject_of
from clframe.testing.trial import trial
from papers.methods import pages
from papers.methods.docstrings import entries, sections
from papers.methods.families import FAMILIES
from papers.methods.settings import BENCHMARKS, METHODS

BASELINES = ("finetune", "cumulative", "joint")


def test_every_method_belongs_to_a_family() -> None:
    assert sorted(name for members in FAMILIES.values() for name in members) == sorted(STRATEGIES.table)


def test_every_method_is_in_the_table_of_methods() -> None:
    words = " ".join(METHODS.values())
    assert not [name for name in STRATEGIES.table if name not in words and name != "cumulative"]
    assert {name for bench in BENCHMARKS.values() for name in bench.methods()} == set(METHODS)


@pytest.mark.parametrize("name", [n for n in STRATEGIES.table if n not in BASELINES])
def test_every_logged_term_is_explained(name: str) -> None:
    subject = subject_of(name)
    assert isinstance(subject, StrategySubject)
    logged = {term for _, term, _ in trial(subject, subject.world, epochs=1).terms}
    explained = {term.strip() for key in entries(sections(STRATEGIES.load(name)).get("Logs", "")) for term in key.split(",")}
    own = {term for term in logged if not term.startswith("er/")} - {"ce"}
    assert own <= explained, f"{name} logs {sorted(own - explained)}, which its docstring does not explain under Logs"


@pytest.mark.parametrize("name", [n for n in STRATEGIES.table if n not in BASELINES])
def test_every_method_says_what_it_rests_on(name: str) -> None:
    told = sections(STRATEGIES.load(name))
    assert {"Example", "Reference", "Differences"} <= set(told), f"{name} has the sections {sorted(told)}"
    assert "    " in told[""] or "=" in told[""], f"the docstring of {name} has no equation"


def test_the_pages_are_as_they_would_be_written() -> None:
    assert pages.main(["--check"]) == 0, "run: make pages"
