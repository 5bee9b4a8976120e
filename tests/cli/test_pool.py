"""`clframe pool` on files: add, draw, look, prove, and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clframe.cli.main import main
from clframe.generations import Ledger

MODEL = ["--model", "weights=5f2c,epochs=3"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.normal(size=(20, 3)))
    np.savez(tmp_path / "made.npz", x=random.normal(size=(10, 3)), y=np.arange(10))
    pd.DataFrame({"text": ["a", "b"]}).to_parquet(tmp_path / "t.parquet")
    pd.DataFrame({"text": ["c"], "n": [1]}).to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "t.jsonl").write_text('{"text": "d"}\n{"text": "e"}\n')
    (tmp_path / "bad.npy").write_text("no array")
    (tmp_path / "t.txt").write_text("one\ntwo\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_add_log_show_and_fsck(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["x.npy", "t.parquet", "t.csv", "t.jsonl", "t.txt"]
    assert main(["pool", "add", "p", *files, "--kind", "real", "--licence", "cc0"]) == 0
    pool = Ledger("p")
    assert [r.rows for r in pool.records()] == [20, 2, 1, 2, 2] and pool.records()[0].licence == "cc0"
    capsys.readouterr()
    assert main(["pool", "add", "p", "x.npy", "--kind", "real", "--licence", "cc0"]) == 0
    assert "was there already" in capsys.readouterr().out and len(pool) == 5
    words = ["pool", "add", "p", "made.npz", "--kind", "synthetic", "--parents", "all", *MODEL, "--sampler", '{"seed": 1}']
    assert main([*words, "--filter", "rule=length,generated=12,accepted=10", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)[0]
    assert made["model"] == {"weights": "5f2c", "epochs": 3} and made["sampler"] == {"seed": 1} and len(made["parents"]) == 5
    assert main(["pool", "log", "p", "--svg", "p.svg"]) == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[1].startswith("●") and made["id"][:12] in lines[1] and "weights 5f2c" in lines[1] and "5 more" not in lines[1]
    assert lines[0].startswith("○") and "27 rows" in lines[0] and "and 4 more shards" in lines[0]
    assert "6 shards, 37 rows, 73 % real" in said
    assert (place / "p.svg").read_text().count("generation ") == 2
    assert main(["pool", "log", "p", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["records"][-1] == made
    assert main(["pool", "show", "p", made["id"][:8]]) == 0
    said = capsys.readouterr().out
    assert "rule                   length" in said and "real share             1" in said and "ancestors" in said
    assert main(["pool", "show", "p", "--generation", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows by kind"] == {"real": 27}
    assert main(["pool", "fsck", "p"]) == 0
    assert "6 shards, 37 rows; every hash is right" in capsys.readouterr().out
    with open("p/log.jsonl", "ab") as file:
        file.write(b'{"half')
    assert main(["pool", "log", "p"]) == 0 and "ends in half a line, 6 bytes" in capsys.readouterr().err
    assert main(["pool", "add", "p", "x.npy", "made.npz", "--kind", "edited", "--parents", "all"]) == 2
    assert "is in the pool as real, generation 0" in capsys.readouterr().err
    np.save("more.npy", np.zeros((2, 3)))
    assert main(["pool", "add", "p", "more.npy", "--kind", "real"]) == 0 and main(["pool", "fsck", "p"]) == 0
    capsys.readouterr()
    (place / "p" / "shards" / "stray.parquet").write_text("x")
    assert main(["pool", "fsck", "p", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["kind"] == "stray"
    assert main(["pool", "fsck", "p"]) == 1
    assert "rm p/shards/stray.parquet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["add", "p", "x.npy", "--kind", "real", *MODEL], "Rows that a model made"),
        (["add", "p", "x.npy", "--kind", "synthetic", *MODEL], "parents must be given"),
        (["add", "p", "x.doc", "--kind", "real"], "must end in .parquet"),
        (["add", "p", "none.npy", "--kind", "real"], "none.npy must be a file; there is none"),
        (["add", "p", "bad.npy", "--kind", "real"], "must be a readable .npy file"),
        (["add", "p", "t.txt", "--kind", "real", "--model", "5f2c"], "model must be values by name; got '5f2c'"),
        (["add", ".", "t.txt", "--kind", "real"], "without log.jsonl"),
        (["log", "none"], "there is none. Begin one with clframe pool add none FILE."),
        (["log", "empty", "--last", "-1"], "last must be zero or positive"),
        (["log", "empty", "--svg", "a.png"], "must be a file that ends in .svg"),
        (["show", "empty"], "must have an id or a generation"),
        (["show", "empty", "ab"], "id must be of a shard in empty; got 'ab'"),
        (["show", "empty", "--generation", "2"], "generation must be one that the pool has: none; got 2"),
        (["fsk", "empty"], "Did you mean 'fsck'"),
    ],
)
def test_what_is_refused(place: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    Ledger("empty")
    assert main(["pool", *words]) == 2
    assert told in capsys.readouterr().err
    assert not (place / "none").exists() and (not (place / "p").exists() or not len(Ledger("p")))


def test_an_empty_pool(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Ledger("empty")
    assert main(["pool", "log", "empty"]) == 0 and "no shards yet" in capsys.readouterr().out
    assert main(["pool", "log", "empty", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"records": [], "real_share": None, "effective_generations": None}
    assert main(["pool", "fsck", "empty"]) == 0 and main(["pool"]) == 2 and main(["pool", "--help"]) == 0
