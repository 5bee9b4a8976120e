"""Tables: columns by role, the split, and what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from clframe.data import column, from_table, load
from clframe.errors import DataError, OptionError


def frame() -> pd.DataFrame:
    n = np.arange(40)
    return pd.DataFrame(
        {
            "u": n * 1.5,
            "v": n % 7,
            "label": [("cat", "ant")[i % 2] for i in n],
            "site": [("north", "south")[i // 20] for i in n],
            "w": n / 10,
            "year": 2020 + n // 10,
            "part": [("train", "train", "Test", "validation", "train")[i % 5] for i in n],
        }
    )


ROLES = {"task": "site", "weight": "w", "experience": "year", "split": "part"}


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_roles(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"t.{kind}"
    if kind == "parquet":
        frame().to_parquet(path, index=False)
    elif kind == "csv":
        frame().to_csv(path, index=False)
    else:
        path.write_bytes(gzip.compress(frame().to_csv(index=False).encode()))
    data = from_table(path, **ROLES)
    is_test = frame()["part"] != "train"
    assert (len(data.train), len(data.test)) == (24, 16)
    assert data.train.class_names == ("ant", "cat")
    assert data.train.input_shape == (2,)
    assert data.train.task is not None
    assert data.train.task.tolist() == (frame()["site"] == "south")[~is_test].astype(int).tolist()
    assert data.train.weight is not None
    np.testing.assert_allclose(data.train.weight, frame()["w"][~is_test])
    assert column(data.test, "experience").tolist() == (frame()["year"] - 2020)[is_test].tolist()
    fetched = data.train.fetch(torch.arange(24))
    torch.testing.assert_close(fetched.mean(0), torch.zeros(2), atol=1e-6, rtol=0)


def test_plain_values_and_chosen_columns(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False)
    data = from_table(tmp_path / "t.csv", columns=["v"], standardise=False, split="part")
    assert data.train.fetch(torch.tensor([0, 1, 2]))[:, 0].tolist() == [0.0, 1.0, 4.0]


def test_split_without_a_column_keeps_every_experience(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False)
    data = from_table(tmp_path / "t.csv", columns=["u", "v"], experience="year", seed=3)
    assert set(column(data.test, "experience")) == {0, 1, 2, 3}
    assert data.fingerprint() == from_table(tmp_path / "t.csv", columns=["u", "v"], experience="year", seed=3).fingerprint()
    assert data.fingerprint() != from_table(tmp_path / "t.csv", columns=["u", "v"], experience="year", seed=4).fingerprint()


def test_categories_are_labels(tmp_path: Path) -> None:
    table = frame()[["u", "label"]].astype({"label": "category"})
    table.to_parquet(tmp_path / "t.parquet", index=False)
    assert load(str(tmp_path / "t.parquet")).train.class_names == ("ant", "cat")


def changed(path: Path, **columns: object) -> Path:
    frame().assign(**columns).to_csv(path, index=False)
    return path


CASES = {
    "text feature": ({}, {}, "got string in column 'site'.*columns="),
    "missing label": ({}, {"label": "klass"}, "there must be a column 'klass'; got columns u, v"),
    "missing role": ({}, {"task": "domain"}, "there must be a column 'domain'"),
    "missing feature": ({}, {"columns": ["q"]}, "there must be a column 'q'"),
    "nan": ({"u": [float("nan") if i == 3 else 1.0 for i in range(40)]}, {"columns": ["u"]}, "nan in column 'u', row 3"),
    "inf": ({"u": [1e300 if i == 4 else 1.0 for i in range(40)]}, {"columns": ["u"]}, "inf in column 'u', row 4"),
    "float label": ({"label": np.arange(40) / 2}, {"columns": ["u"]}, r"got 0\.5 in row 1"),
    "empty label": ({"label": [None if i == 2 else i % 2 for i in range(40)]}, {"columns": ["u"]}, "got nan in row 2"),
    "split word": ({"part": ["train"] * 39 + ["tset"]}, {"columns": ["u"], "split": "part"}, "got 'tset' in row 39"),
    "no test rows": ({"part": ["train"] * 40}, {"columns": ["u"], "split": "part"}, "got none for 'test'"),
    "class missing in test": (
        {"label": ["a"] * 39 + ["b"], "part": ["test"] * 9 + ["train"] * 31},
        {"columns": ["u"], "split": "part"},
        "'b' got none in test",
    ),
    "negative weight": ({"w": [-1.0] * 40}, {"columns": ["u"], "weight": "w"}, r"got -1\.0 in row 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(tmp_path: Path, case: str) -> None:
    columns, options, message = CASES[case]
    path = changed(tmp_path / "t.csv", **columns)
    with pytest.raises(DataError, match=message) as caught:
        from_table(path, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_label_is_not_a_feature(tmp_path: Path) -> None:
    path = changed(tmp_path / "t.csv")
    with pytest.raises(OptionError, match="features only; got 'label'"):
        from_table(path, columns=["u", "label"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got nothing at this path"):
        from_table(tmp_path / "none.csv")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="must be a readable"):
        from_table(tmp_path / "bad.parquet")
    (tmp_path / "bad.csv").write_text("a,label\n1,2\n1,2,3\n")
    with pytest.raises(DataError, match="must be a readable"):
        from_table(tmp_path / "bad.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match="must be a readable"):
        from_table(tmp_path / "empty.csv")
    (tmp_path / "head.csv").write_text("a,label\n")
    with pytest.raises(DataError, match="at least one row; got 0"):
        from_table(tmp_path / "head.csv")
    (tmp_path / "only.csv").write_text("label\n1\n0\n")
    with pytest.raises(DataError, match="must hold a feature column"):
        from_table(tmp_path / "only.csv")
