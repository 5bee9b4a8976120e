"""The code on the how-to pages works, and `clframe check` prints what the pages say."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from clframe.cli.main import main
from clframe.eval.metrics import METRICS
from clframe.testing import checks_for

PAGES = Path(__file__).parent.parent.parent / "docs" / "how-to"
STRATEGY, SCENARIO, METRIC = (f"add-a-{what}.md" for what in ("strategy", "scenario", "metric"))


def code(page: str, block: int) -> str:
    """A Python block of a page."""
    return re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)[block]


@pytest.mark.parametrize(
    ("page", "file", "words"),
    [(STRATEGY, "my_file.py", "my_file.py:L2"), (SCENARIO, "my_scenario.py", "my_scenario.py:doubling")],
)
def test_the_page_shows_what_check_prints(
    page: str, file: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / file).write_text(code(page, 0))
    monkeypatch.chdir(tmp_path)
    assert main(["check", words]) == 0
    assert f"$ clframe check {words}\n{capsys.readouterr().out.strip()}\n" in (PAGES / page).read_text()


@pytest.mark.parametrize(("page", "thing"), [(STRATEGY, "finetune"), (SCENARIO, "split-digits")])
def test_the_page_lists_every_check(page: str, thing: str) -> None:
    text = (PAGES / page).read_text()
    for check in checks_for(thing):
        assert f"| {check.name} | {check.claim} |" in text


def test_the_metric_of_the_page_passes_the_test_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_metric.py").write_text(code(METRIC, 0))
    (tmp_path / "test_mine.py").write_text(code(METRIC, 2))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        runpy.run_path(str(tmp_path / "test_mine.py"))["test_worst_final"]()
        assert METRICS["worst_final"].better == "high"
    finally:
        METRICS.pop("worst_final", None)
        sys.modules.pop("my_metric", None)
