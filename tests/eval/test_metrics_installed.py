"""Metrics of installed packages are in the table like any other."""

from __future__ import annotations

import pytest

from clframe.errors import OptionError
from clframe.eval.metrics import METRICS, compute, dip
from clframe.eval.metrics.summary import _INSTALLED, MetricTable


def test_an_entry_point_is_a_metric_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_INSTALLED._found, "theirs", "clframe.eval.metrics.summary:METRICS")
    table = MetricTable(METRICS["acc"])
    assert list(table) == ["acc", "theirs"] and len(table) == 2 and "theirs" in METRICS
    with pytest.raises(OptionError, match=r"'theirs' of clframe\.metrics must be a Metric"):
        table["theirs"]


def test_an_installed_metric_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_INSTALLED._found, "theirs", "tests_theirs:METRIC")
    monkeypatch.setattr(type(_INSTALLED), "load", lambda self, name: METRICS["acc"])
    try:
        assert compute(dip(), ["theirs"]) == {"theirs": 0.75}
    finally:
        METRICS.pop("theirs", None)
