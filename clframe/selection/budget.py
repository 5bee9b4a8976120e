"""Sizes that are not numbers of rows: so many tokens, so many bytes, or a share of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from clframe.errors import bad_option
from clframe.selection.choice import Choice
from clframe.selection.draws.draw import Numbers
from clframe.selection.pool.pool import Pool

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "kb": 10**3, "mb": 10**6, "gb": 10**9}
ROUNDS = 6
FORM = re.compile(r"([0-9][0-9_,.]*(?:e[0-9]+)?)\s*(%|(?:kb|mb|gb|k|m|g)\b)?\s*(?:of\s+)?([A-Za-z_]\w*)?", re.IGNORECASE)


@final
class Size(int):
    """A number of rows that follows from what a user wrote, which messages name.

    Example:
        >>> Size(60, "10 %"), Size(60, "10 %") == 60, f"{Size(60, '10 %')}"
        ('10 %', which is 60 rows, True, '60')
    """

    written: str

    def __new__(cls, rows: int, written: str = "") -> Size:
        """So many rows."""
        made = super().__new__(cls, rows)
        made.written = written
        return made

    def __repr__(self) -> str:
        return f"{self.written!r}, which is {int(self):,} row{'s' * (self != 1)}" if self.written else int.__repr__(self)

    __str__ = int.__repr__


@final
@dataclass(frozen=True)
class Budget:
    """What the chosen rows may cost, each by its value in a column.

    Attributes:
        amount: in the unit of the column.
        column: its name, such as tokens or bytes.
        cost: of each row (n,).
        written: as its user wrote it, for messages.
    """

    amount: float
    column: str
    cost: Numbers
    written: str = ""

    def of(self, choice: Choice) -> float:
        """What a choice costs; a row that was drawn twice is there once."""
        return float(self.cost[choice.rows].sum())

    def rows(self, spent: float, size: int) -> int:
        """How many rows cost as much as the budget, if `size` of them cost `spent`."""
        found = min(len(self.cost), max(1, round(size * self.amount / spent))) if spent else len(self.cost)
        return Size(int(found), self.written)

    def met(self, choose: Callable[[int], Choice], tried: Callable[[int], Choice]) -> tuple[int, Choice, dict[str, Any]]:
        """A choice that costs about as much as the budget.

        The number of rows is the budget over the mean cost of a row, which is right in expectation where all rows are equally
        probable. Otherwise it is corrected by what a choice of so many rows costs, until that is within a fiftieth of the budget,
        at most `ROUNDS` times; as the number then depends on what was drawn, estimates are unbiased up to terms of the order of
        1 / rows.

        Args:
            choose: makes the choice.
            tried: makes it while the number is looked for, without asking for losses where the method can do without.

        Returns:
            The number of rows that was asked for, the choice, and what it costs, for the manifest.
        """
        size = self.rows(float(self.cost.sum()), len(self.cost))
        for _ in range(ROUNDS):
            choice = tried(size)
            spent = self.of(choice)
            if np.ptp(choice.expected) <= 0.1 * choice.expected.max() or abs(spent - self.amount) <= self.amount / 50:
                break
            size = self.rows(spent, size)
        choice = choose(size)
        return size, choice, {"column": self.column, "asked": self.amount, "spent": self.of(choice)}


def size_of(written: int | str, pool: Pool) -> int | Budget:
    """A size as users write it: rows, "10 %" of them, "2e6 tokens", "500 MB" (of the column bytes) or "10 % of tokens".

    Raises:
        OptionError: none of these, or more than the pool has.
        DataError: no such column, or one that does not hold numbers of 0 or more.

    Example:
        >>> from clframe.selection.pool import pool_of
        >>> pool = pool_of(np.zeros((100, 1)), tokens=np.full(100, 20))
        >>> size_of(7, pool), size_of("7", pool), size_of("10 %", pool) + 0, size_of("500 tokens", pool).amount
        (7, 7, 10, 500.0)
    """
    if isinstance(written, int):
        return written
    found = FORM.fullmatch(written.strip())
    column = column_of(written)
    if written.strip().lstrip("+-").isdecimal() and not found:
        raise bad_option("size", "a positive number of rows", written, "Give 1 or more.")
    if not found:
        raise bad_option("size", "a number of rows, '10 %', or '2e6 tokens' with a column of that name", written, "Write 1000.")
    number, unit = float(re.sub("[_,]", "", found[1])), (found[2] or "").lower()
    share = unit == "%"
    if share and not 0 < number <= 100:
        raise bad_option("size", "a share above 0 % and up to 100 %", written, "Write 10 %.")
    if not column:
        rows = round(number / 100 * pool.n) if share else number * UNITS[unit]
        if rows != int(rows):
            raise bad_option("size", "a whole number of rows", written, "Write 1000.")
        return int(rows) if written.strip().isdecimal() else Size(int(max(1, rows)) if share else int(rows), written.strip())
    cost = pool.numbers(column, least=0.0)
    whole = float(cost.sum())
    amount = number / 100 * whole if share else number * UNITS[unit]
    if not 0 < amount <= whole:
        rule = f"above 0 and at most the {whole:,.6g} {column} of the pool"
        raise bad_option("size", rule, written, "Give another size, or 100 % for all rows.")
    return Budget(amount, column, cost, written.strip())


def column_of(written: str) -> str:
    """The column that a size speaks of; "" for none.

    Example:
        >>> column_of("2e6 tokens"), column_of("500 MB"), column_of("10 %")
        ('tokens', 'bytes', '')
    """
    found = FORM.fullmatch(written.strip())
    if not found:
        return ""
    return found[3] or ("bytes" if (found[2] or "").lower().endswith("b") else "")
