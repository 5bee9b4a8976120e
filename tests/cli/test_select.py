"""`clframe select` on files: choose, look, write, compare, and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from clframe.cli.main import main
from clframe.selection import load, pool_of, select
from clframe.selection.methods.auto_words import described

N = 600


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    random = np.random.default_rng(0)
    x = random.normal(size=(N, 4)).astype(np.float32)
    loss = np.exp(x[:, 0]).astype(np.float64)
    table = {
        "embedding": list(x),
        "loss": loss,
        "label": (x[:, 1] > 0).astype(int),
        "id": [f"s{i}" for i in range(N)],
        "text": ["t"] * N,
        "tokens": [8, 12] * (N // 2),
    }
    pd.DataFrame(table).to_parquet(tmp_path / "pool.parquet", row_group_size=100, index=False)
    np.save(tmp_path / "x.npy", x.astype(np.float16))
    np.save(tmp_path / "loss.npy", loss)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_choose_inspect_and_write(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["select", "pool.parquet", "--loss", "loss", "--label", "label", "--id", "id", "--size", "100", "--out", "chosen"]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "100 of 600 rows of pool by auto" in said.out and "95 % interval" in said.out and "600 rows of 4 numbers" in said.err
    coreset = load("chosen")
    chosen = described(coreset.manifest["facts"]["chosen"])
    assert f"auto chose {chosen}: by a pilot of 30 losses, " in said.out and "a=0" not in said.out
    assert coreset.ids.tolist() == [f"s{r}" for r in coreset.rows] and coreset.weights.sum() == pytest.approx(N, rel=0.2)
    assert main(["select", "inspect", "chosen", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == 100
    assert main(["select", "inspect", "chosen", "--rows", "2"]) == 0
    unequal = "most weight" if len(set(coreset.weights)) > 1 else "all weights are equal"
    assert unequal in capsys.readouterr().out
    assert main(["select", "inspect", "chosen", "--rows", "-1"]) == 2
    assert "rows must be zero or positive; got -1" in capsys.readouterr().err
    assert main(["select", "materialize", "chosen", "pool.parquet", "--out", "few.parquet"]) == 0
    written = pq.read_table("few.parquet").to_pandas()
    assert written["id"].tolist() == coreset.ids.tolist() and set(written["text"]) == {"t"}
    assert written["coreset_weight"].tolist() == coreset.weights.tolist()


def test_few_rows_for_skewed_losses_and_repeated_rows_are_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("skewed.npy", np.exp(2 * np.random.default_rng(0).normal(size=N)))
    choose = ["select", "x.npy", "--loss", "skewed.npy", "--out"]
    assert main([*choose, "few", "--size", "60", "--method", "uniform"]) == 0
    said = capsys.readouterr().out
    skew = load("few").manifest["mean_loss"]["skewness"]
    assert f"few rows for losses so skewed ({skew:.1f})" in said and skew > 2 and "draws" not in said
    assert main(["select", "x.npy", "--loss", "loss.npy", "--size", "300", "--method", "sensitivity", "--out", "twice"]) == 0
    said = capsys.readouterr().out
    assert "(300 draws, some of the same row)" in said and len(load("twice").rows) < 300
    assert (
        main([*choose, "none", "--size", "-5"]) == 2
        and "size must be a positive number of rows; got '-5'" in capsys.readouterr().err
    )


def test_embeddings_that_are_not_finite_are_refused_whatever_the_method(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.load("x.npy")
    x[77, 1] = np.nan
    np.save("bad.npy", x)
    assert main(["select", "bad.npy", "--loss", "loss.npy", "--size", "60", "--method", "uniform", "--out", "few"]) == 2
    assert "embeddings must be finite; got NaN or infinity in row 77" in capsys.readouterr().err and not Path("few").exists()


def test_arrays_on_disk(place: Path) -> None:
    assert (
        main(["select", "x.npy", "--loss", "loss.npy", "--size", "50", "--method", "stratified", "--k", "10", "--out", "chosen"])
        == 0
    )
    assert main(["select", "materialize", "chosen", "x.npy", "--out", "few.npy"]) == 0
    np.testing.assert_array_equal(np.load("few.npy"), np.load("x.npy")[load("chosen").rows])


def test_a_data_set_of_the_chosen_rows(place: Path) -> None:
    import datasets

    from clframe.selection.materialize import as_dataset

    source = datasets.Dataset.from_dict({"text": [f"t{i}" for i in range(N)]})
    coreset = select(pool_of(np.load("x.npy")), 20, "uniform")
    found = as_dataset(coreset, source)
    assert found["text"][:] == [f"t{r}" for r in coreset.rows] and found["coreset_weight"][0] == N / 20


def test_methods_side_by_side(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "select",
        "compare",
        "pool.parquet",
        "--loss",
        "loss",
        "--size",
        "60",
        "--methods",
        "stratified",
        "--repeats",
        "10",
        "--k",
        "20",
    ]
    assert main([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [r["method"] for r in rows] == ["uniform", "stratified"] and rows[0]["queries"] == 60
    assert main([*words, "--size", "5 %, 60", "--json"]) == 0
    assert [r["size"] for r in json.loads(capsys.readouterr().out)] == [30, 30, 60, 60]
    assert main(words) == 0
    assert "/ uniform" in " ".join(capsys.readouterr().out.split())


def test_the_same_coreset_can_be_written_again_and_another_one_not(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["select", "pool.parquet", "--size", "50", "--method", "uniform", "--out", "chosen"]
    assert main(words) == 0 and main(words) == 0
    assert main([*words, "--seed", "1"]) == 2
    assert "holds another coreset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pool.parquet", "--size", "700"], "size must be between 1 and the 600 rows"),
        (["pool.parquet", "--size", "0"], "size must be between 1 and the 600 rows of the pool; got 0. Give 1 or more."),
        (
            ["pool.parquet", "--size", "1 %", "--method", "stratified(by=id)", "--id", "id"],
            "the floors of the 600 strata of 'id'; got '1 %', which is 6 rows. Give a larger size",
        ),
        (
            ["x.npy", "--loss", "wide.npy", "--size", "70"],
            "wide.npy (loss) must have one value for each embedding, shape (n,); got shape (600, 2). Give one column of it.",
        ),
        (["x.npy", "--loss", "text.npy", "--size", "70"], "text.npy (loss) must hold numbers; got text such as 'a'"),
        (["pool.parquet", "--size", "70", "--loss", "los"], "Did you mean 'loss'"),
        (["nothing.parquet", "--size", "70"], "nothing.parquet must be a file or folder; got none"),
        (["pool.parquet", "--embedding", "text", "--size", "70"], "must hold lists of numbers; got"),
        (
            ["compare", "pool.parquet", "--loss", "loss", "--size", "70", "--repeats", "0"],
            "repeats must be a positive integer; got 0",
        ),
        (["x.npy", "pool.parquet", "--size", "70"], "must be .npy or .parquet files of one kind"),
        (["cut.npy", "--size", "70"], "was cut short"),
        (
            ["x.npy", "--loss", "short.npy", "--size", "70"],
            "short.npy (loss) must have one value for each of the 600 embeddings; got 599",
        ),
        (["pool.parquet", "--size", "70", "--method", "sensitivity"], "needs losses"),
        (["compare", "pool.parquet", "--size", "70"], "must have the loss of every row"),
        (["compare", "pool.parquet", "--loss", "loss", "--size", "50,many"], "size must be a number of rows, '10 %', or"),
        (
            ["compare", "pool.parquet", "--loss", "loss", "--size", "50,400 tokens"],
            "as methods are compared at equal numbers of rows; got '400 tokens'. Give --size 40, which costs as much on average.",
        ),
        (["compare", "pool.parquet", "--loss", "loss", "--size", "40 tokns"], "column must be a known name; got 'tokns'"),
        (["inspect", "nowhere"], "nowhere must hold coreset.parquet and manifest.json"),
    ],
)
def test_what_breaks_a_rule_leaves_nothing_behind(
    place: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "cut.npy").write_bytes((place / "x.npy").read_bytes()[:-100])
    np.save(place / "short.npy", np.load("loss.npy")[1:])
    np.save(place / "wide.npy", np.ones((N, 2)))
    np.save(place / "text.npy", np.full(N, "a"))
    before = {p.name for p in place.iterdir()}
    assert main(["select", *words]) == 2
    assert says in capsys.readouterr().err
    assert {p.name for p in place.iterdir()} == before


def test_near_duplicates_are_named_with_what_they_duplicate(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.load("x.npy").astype(np.float32)
    np.save("twice.npy", np.concatenate([x, x[:5] * 2]))
    assert main(["select", "dedup", "twice.npy", "--threshold", "0.00001,0.5", "--k", "4", "--out", "kept"]) == 0
    assert "threshold 0.5" in capsys.readouterr().out
    table = pd.read_parquet("kept/keep-1e-05.parquet")
    pairs = {frozenset((row.id, row.original)) for row in table[~table.kept].itertuples()}
    assert {frozenset((N + i, i)) for i in range(5)} <= pairs
    words = ["select", "dedup", "twice.npy", "--threshold", "0.00001", "--k", "4", "--work", "kept.work", "--out", "again"]
    assert main(words) == 0
    pd.testing.assert_frame_equal(pd.read_parquet("again/keep-1e-05.parquet"), table)
    assert not list(place.glob("*.work"))
    assert [main(["select", "dedup", "twice.npy", *wrong]) for wrong in (["--jobs", "0"], ["--threshold", "2"])] == [2, 2]
    assert not list(place.glob("*.work")) and not (place / "duplicates").exists()
    capsys.readouterr()
    assert main(["select", "dedup", "twice.npy", "--threshold", "small"]) == 2
    assert "threshold must be numbers separated by commas" in capsys.readouterr().err


def test_rows_in_another_order_are_not_taken_for_those_that_were_chosen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", "pool.parquet", "--id", "id", "--size", "50", "--method", "uniform", "--out", "chosen"]) == 0
    pd.read_parquet("pool.parquet").iloc[::-1].to_parquet("turned.parquet", index=False)
    assert main(["select", "materialize", "chosen", "turned.parquet", "--out", "few.parquet"]) == 2
    assert "must have the ids of the coreset" in capsys.readouterr().err and not (place / "few.parquet").exists()


def test_messages_name_the_column_that_was_given(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.read_parquet("pool.parquet").assign(cls="cat", twice="s1")
    table.to_parquet("more.parquet", index=False)
    assert main(["select", "compare", "more.parquet", "--loss", "cls", "--size", "10"]) == 2
    assert "column 'cls' (loss) must hold numbers; got text such as 'cat'" in capsys.readouterr().err
    by_label = ["--size", "10", "--method", "stratified(by=label)"]
    assert main(["select", "x.npy", "--loss", "loss.npy", *by_label]) == 2
    assert "Known: loss. Give it beside the embeddings; on the command line as --label or --columns." in capsys.readouterr().err
    assert main(["select", "more.parquet", "--id", "twice", "--size", "10"]) == 2
    assert "ids must differ; got 's1' in rows 0 and 1" in capsys.readouterr().err
