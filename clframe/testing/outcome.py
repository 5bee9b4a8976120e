"""A check, and what came of it."""

from __future__ import annotations

import traceback
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from clframe.errors import ClframeError

Status = Literal["passed", "failed", "known failure", "not applicable"]


class CheckFailed(AssertionError):
    """The thing breaks the rule that a check proves; the message says what was found where."""


class NotApplicable(unittest.SkipTest):
    """The rule does not concern this thing; pytest reports it as skipped."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one check.

    Attributes:
        name: name of the check, such as "resume is exact".
        status: "passed", "failed", "known failure" or "not applicable".
        message: what was found, or why the check does not apply; empty where it passed.
    """

    name: str
    status: Status
    message: str = ""


@dataclass(frozen=True)
class Check:
    """One rule, applied to one thing. Calling it raises AssertionError where the rule is broken.

    Attributes:
        name: such as "resume is exact".
        claim: one sentence: what is proved.
        rule: the function that does it.
        subject: the thing.
        known: reason for which the thing declares that it fails this check, or None.

    Example: in a test file of your own package.
        >>> import pytest
        >>> from clframe.testing import checks_for
        >>> @pytest.mark.parametrize("check", checks_for("er(size=50)"), ids=str)
        ... def test_conformance(check):
        ...     check()
    """

    name: str
    claim: str
    rule: Callable[[Any], None]
    subject: Any
    known: str | None = None

    def __call__(self) -> None:
        """Raise AssertionError if the check fails; skip (in pytest and unittest) what does not apply or is a known failure."""
        outcome = self.outcome()
        if outcome.status == "failed":
            raise AssertionError(f"{self.name}: {outcome.message}")
        if outcome.status != "passed":
            raise NotApplicable(f"{outcome.status}: {outcome.message}")

    def outcome(self) -> Outcome:
        """Run the check."""
        try:
            self.rule(self.subject)
        except NotApplicable as reason:
            return Outcome(self.name, "not applicable", str(reason))
        except CheckFailed as error:
            return self._failed(str(error))
        except ClframeError as error:
            return self._failed(str(error))
        except Exception as error:  # whatever the code under test raises
            last = traceback.extract_tb(error.__traceback__)[-1]
            return self._failed(f"{type(error).__name__}: {error or 'no message'} ({last.filename}:{last.lineno})")
        if self.known is not None:
            return Outcome(
                self.name, "failed", f"declared a known failure ({self.known}), but it passes. Take the declaration back."
            )
        return Outcome(self.name, "passed")

    def _failed(self, message: str) -> Outcome:
        if self.known is not None:
            return Outcome(self.name, "known failure", f"{self.known} [{message}]")
        return Outcome(self.name, "failed", message)

    def __str__(self) -> str:
        return self.name


def require(condition: bool, message: str) -> None:
    """Fail the check with this sentence unless the condition holds."""
    if not condition:
        raise CheckFailed(message)
