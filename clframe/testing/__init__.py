"""The conformance suite: what every strategy, scenario and memory must do, as checks that anybody can run on their own.

    clframe check my_file.py:Cls

or in a test file:

    @pytest.mark.parametrize("check", checks_for(Cls), ids=str)
    def test_conformance(check):
        check()
"""

from __future__ import annotations

from clframe.testing.outcome import Check, CheckFailed, NotApplicable, Outcome
from clframe.testing.runner import checks_for, run_checks

__all__ = ["Check", "CheckFailed", "NotApplicable", "Outcome", "checks_for", "run_checks"]
