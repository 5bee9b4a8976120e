"""`clframe pool check`: exit 1 when an alarm rings, 0 when none does, 2 when it is asked wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clframe.cli.main import main
from clframe.generations import Ledger

QUICK = "mauve: null\ndensity: null\ncoverage: null\nvendi_ratio: null\nexchanges: 399\n"


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.chdir(tmp_path)
    random, made = np.random.default_rng(0), Ledger("p")
    real = made.append({"x": random.normal(size=(400, 3))}, kind="real")
    loss = random.normal(size=50)
    for scale, losses in ((1.0, loss), (0.4, loss + 1)):
        x = scale * random.normal(size=(200, 3))
        made.append({"x": x}, kind="synthetic", generation=len(made), parents=[real.id], model={"w": 1}, losses={"heldout": losses})
    Path("t.yaml").write_text(QUICK)
    Path("words.txt").write_text("one\ntwo\n")
    np.save("held.npy", random.normal(size=(300, 3)))
    return made


def test_exit_codes_and_what_is_printed(pool: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pool", "check", "p", "--generation", "1", "--thresholds", "t.yaml"]) == 0
    said = capsys.readouterr().out
    assert "rings\n" not in said.splitlines()[0] and said.rstrip().endswith("alarms rings") and "not measured" in said
    assert main(["pool", "check", "p", "--thresholds", "t.yaml", "--real", "held.npy"]) == 1
    said = capsys.readouterr().out
    assert "RINGS" in said and "generation 2: " in said and "variance_ratio" in said.splitlines()[-1]
    assert main(["pool", "check", "p", "--thresholds", "t.yaml", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    by_name = {one["name"]: one for one in found["alarms"]}
    assert found["rings"] and by_name["loss_since_last"]["rings"] and abs(by_name["loss_since_last"]["value"] - 1) < 1e-6
    assert by_name["variance_ratio"]["value"] < 0.3 < by_name["variance_ratio"]["low"] and "distinct_1" in found["left_out"]


def test_texts_with_held_out_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    of = [[" ".join(f"w{w}" for w in random.integers(k, size=10)) for _ in range(80)] for k in (90, 90, 90, 6)]
    made = Ledger("p")
    real = made.append({"text": of[0]}, kind="real")
    for texts in of[2:]:
        made.append({"text": texts}, kind="synthetic", generation=len(made), parents=[real.id], model={"w": 1})
    Path("held.txt").write_text("\n".join(of[1]))
    Path("t.yaml").write_text(QUICK)
    assert main(["pool", "check", "p", "--real", "held.txt", "--generation", "1", "--thresholds", "t.yaml"]) == 0
    capsys.readouterr()
    assert main(["pool", "check", "p", "--real", "held.txt", "--thresholds", "t.yaml", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {"distinct_1", "distinct_2", "gram_entropy"} <= {one["name"] for one in found["alarms"] if one["rings"]}
    assert "variance_ratio" in found["left_out"]


def test_thresholds_are_printed_and_read_again(pool: Ledger, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pool", "check", "--print-thresholds"]) == 0
    text = capsys.readouterr().out
    assert "variance_ratio: 0.9" in text
    Path("all.yaml").write_text(text)
    assert main(["pool", "check", "--print-thresholds", "--thresholds", "all.yaml"]) == 0
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["p", "--thresholds", "no.yaml"], "thresholds must be a readable YAML file"),
        (["q"], "q must be a pool; there is none"),
        ([], "must have a pool"),
        (["p", "--generation", "7"], "one with synthetic rows: 1, 2"),
        (["p", "--real", "no.npy"], "must be a file; there is none"),
        (["p", "--real", "words.txt"], "Give a file with embeddings"),
        (["p", "--threshold", "x"], "--thresholds"),
    ],
)
def test_what_is_refused(pool: Ledger, words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pool", "check", *words]) == 2
    assert told in capsys.readouterr().err
