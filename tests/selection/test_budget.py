"""Sizes in percent, tokens and bytes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.selection import pool_of, select
from clframe.selection.budget import Budget, size_of
from clframe.selection.choice import Ask
from clframe.selection.methods import method

RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.integers(1, 400, size=3000)
POOL = pool_of(
    RANDOM.normal(size=(3000, 2)), tokens=TOKENS, minutes=TOKENS / 60, bytes=4 * TOKENS, label=["a"] * 3000, order=np.arange(3000)
)


@pytest.mark.parametrize(
    ("written", "column", "amount"),
    [
        ("20_000 tokens", "tokens", 20_000),
        ("2e4 tokens", "tokens", 20_000),
        ("20k tokens", "tokens", 20_000),
        ("0.1 m tokens", "tokens", 100_000),
        ("500 minutes", "minutes", 500),
        ("0.1MB", "bytes", 100_000),
        ("10 % of tokens", "tokens", TOKENS.sum() / 10),
        ("10 % tokens", "tokens", TOKENS.sum() / 10),
    ],
)
def test_a_budget_is_read_as_users_write_it(written: str, column: str, amount: float) -> None:
    found = size_of(written, POOL)
    assert isinstance(found, Budget) and found.column == column and found.amount == pytest.approx(amount)


def test_sizes_are_rows_where_no_column_is_named() -> None:
    assert [size_of(s, POOL) for s in (5, "5", "1k", "1,000", "1 %", "0.001%")] == [5, 5, 1000, 1000, 30, 1]


@pytest.mark.parametrize("chosen", ["uniform", "scored(column=tokens,how=proportional)", "scored(column=tokens)", "k-center"])
def test_what_is_chosen_costs_about_the_budget(chosen: str) -> None:
    budget = size_of("20k tokens", POOL)
    assert isinstance(budget, Budget)
    size, choice, facts = budget.met(*2 * [lambda m: method(chosen)(Ask(POOL, m, seed=1))])
    spread = 4 * TOKENS.std() * np.sqrt(len(choice.rows)) if chosen == "uniform" else 400 + TOKENS.max()
    assert facts["spent"] == TOKENS[choice.rows].sum() and abs(facts["spent"] - 20_000) < spread
    assert size == round(20_000 / TOKENS.mean()) if chosen == "uniform" else len(choice.rows) <= size


def test_no_loss_is_asked_for_while_the_number_of_rows_is_looked_for() -> None:
    coreset = select(POOL, "20k tokens", "scored(column=tokens,how=proportional)", loss=np.ones(3000))
    assert coreset.manifest["queries"] == len(coreset)
    assert abs(coreset.manifest["budget"]["spent"] - 20_000) <= 400


def test_with_equal_probabilities_the_number_of_rows_does_not_depend_on_what_is_drawn() -> None:
    budget = size_of("20k tokens", POOL)
    assert isinstance(budget, Budget)
    sizes = {budget.met(*2 * [lambda m, s=s: method("uniform")(Ask(POOL, m, seed=s))])[0] for s in range(5)}  # type: ignore[misc]
    assert sizes == {round(20_000 / TOKENS.mean())}


@pytest.mark.parametrize(("written", "rows"), [("0.1 %", 3), ("1k tokens", round(1000 / TOKENS.mean()))])
def test_a_message_about_size_names_what_was_written(written: str, rows: int) -> None:
    says = rf"size must be at least 3,000, the floors .*; got '{written}', which is {rows} rows\. Give a larger size"
    with pytest.raises(OptionError, match=says):
        select(POOL, written, "stratified(by=order)")


def test_a_size_is_a_number_everywhere_else() -> None:
    found = size_of("10 %", POOL)
    assert found == 300 and pickle.loads(pickle.dumps(found)) == 300 and f"{found:,} {found}" == "300 300"
    made = select(POOL, "10 %", "uniform").manifest["size"]
    assert made == 300 and type(made) is int


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("many", "size must be a number of rows.*got 'many'"),
        ("1.5", "size must be a whole number of rows; got '1.5'"),
        ("0 %", "a share above 0 % and up to 100 %"),
        ("101 %", "a share above 0 % and up to 100 %"),
        ("0 tokens", "above 0 and at most the .* tokens of the pool; got '0 tokens'"),
        ("1e9 tokens", "at most the .* tokens of the pool"),
        ("10 tokns", "column must be a known name; got 'tokns'.*'tokens'"),
        ("10 label", "must hold numbers"),
    ],
)
def test_other_sizes_are_refused_in_a_sentence(written: str, says: str) -> None:
    with pytest.raises((OptionError, DataError), match=says):
        size_of(written, POOL)
