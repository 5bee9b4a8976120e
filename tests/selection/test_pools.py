"""Pools: the same rows from memory, shards, Parquet, data sets and spooled batches; and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from clframe.errors import DataError, RunError
from clframe.selection import Pool, open_pool, pool_of, select
from clframe.selection.pool import embed as embedding
from clframe.selection.pool import pool_of_dataset, spool

N, D = 500, 6
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
LABEL = np.arange(N) % 3


@pytest.fixture(params=["memory", "shards", "parquet", "dataset", "spooled"])
def pool(request: pytest.FixtureRequest, tmp_path: Path) -> Pool:
    if request.param == "memory":
        return pool_of(X, label=LABEL)
    if request.param == "shards":
        for i, part in enumerate(np.array_split(X, 4)):
            np.save(tmp_path / f"{i}.npy", part)
        return Pool(open_pool(tmp_path).vectors, columns={"label": LABEL})
    table = {"embedding": list(X), "label": LABEL}
    if request.param == "parquet":
        pd.DataFrame(table).to_parquet(tmp_path / "p.parquet", row_group_size=90, index=False)
        return open_pool(tmp_path / "p.parquet", label="label")
    if request.param == "dataset":
        return pool_of_dataset(datasets.Dataset.from_dict({k: list(v) for k, v in table.items()}), label="label")
    return pool_of(spool((X[i : i + 37] for i in range(0, N, 37)), tmp_path / "made"), label=LABEL)


def test_every_kind_reads_the_same_rows(pool: Pool) -> None:
    assert (pool.n, pool.d) == (N, D)
    for start, stop in ((0, 1), (3, 260), (88, 92), (499, 500), (0, N)):
        np.testing.assert_array_equal(pool.vectors.read(start, stop), X[start:stop])
    rows = np.array([499, 3, 3, 120, 0, 260])
    np.testing.assert_array_equal(pool.vectors.take(rows), X[rows])
    assert pool.column("label").tolist() == LABEL.tolist()
    assert pool.fingerprint() == pool_of(X, label=LABEL).fingerprint() != pool_of(X + 1, label=LABEL).fingerprint()


def test_every_kind_can_be_sent_to_another_process(pool: Pool) -> None:
    again = pickle.loads(pickle.dumps(pool))
    np.testing.assert_array_equal(again.vectors.read(80, 100), X[80:100])


def test_what_was_spooled_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.selection.pool.spooling.SHARD", 100)
    batches = [X[i : i + 30] for i in range(0, N, 30)]

    def stopped() -> Any:
        yield from batches[:9]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spool(stopped(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part-00000.npy", "part-00001.npy"]
    before = (tmp_path / "part-00000.npy").stat().st_mtime_ns
    found = spool(batches, tmp_path)
    assert (tmp_path / "part-00000.npy").stat().st_mtime_ns == before
    np.testing.assert_array_equal(found.read(0, N), X)
    np.testing.assert_array_equal(spool([], tmp_path).read(0, N), X)  # it is finished: nothing is asked for


def test_a_model_embeds_in_evaluation_mode_and_is_left_as_it_was(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(D, 2))
    seen: list[int] = []
    found = embedding(model, torch.from_numpy(X).split(64), tmp_path, tell=seen.append)
    assert model.training and seen[-1] == N
    with torch.no_grad():
        expected = model[1](torch.from_numpy(X)).half().float().numpy()
    np.testing.assert_allclose(found.read(0, N), expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda p: spool([], p / "a"), DataError, "at least one batch"),
        (lambda p: spool([X[:3], X[:3, :2]], p / "a"), DataError, "all batches must have 6 numbers a row; got 2"),
        (lambda p: (np.save(p / "other.npy", X), spool([X], p)), RunError, "must be empty"),
        (
            lambda p: (np.save(p / "a.npy", X), np.save(p / "b.npy", X[:, :2]), open_pool(p)),
            DataError,
            "b.npy must hold rows of 6 numbers",
        ),
        (lambda p: (np.save(p / "a.npy", np.asfortranarray(X)), open_pool(p / "a.npy")), DataError, "columns first"),
        (lambda p: (p / "a.npy").write_bytes(b"no array") and open_pool(p / "a.npy"), DataError, "must be a readable .npy file"),
        (
            lambda p: (p / "a.parquet").write_bytes(b"no table") and open_pool(p / "a.parquet"),
            DataError,
            "must be a readable Parquet file",
        ),
        (lambda p: (ragged(p), open_pool(p / "r.parquet")), DataError, "must hold lists of one length"),
        (lambda p: (ragged(p), open_pool(p / "r.parquet", embedding="embeding")), DataError, "Did you mean 'embedding'"),
        (
            lambda p: (gaps(p), open_pool(p / "g.parquet", loss="loss")),
            DataError,
            "must have a value in every row; got none in row 1",
        ),
        (lambda p: open_pool(p), DataError, "must be .npy or .parquet files of one kind; got no such file"),
        (
            lambda p: pool_of_dataset(datasets.Dataset.from_dict({"embedding": [[1.0], [1.0, 2.0]]})).vectors.read(0, 2),
            DataError,
            "lengths",
        ),
        (lambda p: pool_of_dataset(datasets.Dataset.from_dict({"x": [[1.0]]})), DataError, "got 'embedding'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path, call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call(tmp_path)


def ragged(place: Path) -> None:
    pd.DataFrame({"embedding": [[1.0, 2.0], [1.0]]}).to_parquet(place / "r.parquet", index=False)


def gaps(place: Path) -> None:
    pd.DataFrame({"embedding": [[1.0], [2.0]], "loss": [1.0, None]}).to_parquet(place / "g.parquet", index=False)


def test_one_number_of_one_embedding_changes_the_hash_wherever_it_is_and_however_it_is_read(tmp_path: Path) -> None:
    other = X.copy()
    other[len(X) // 2 + 1, -1] += 1
    np.save(tmp_path / "x.npy", X)
    assert pool_of(other).fingerprint() != pool_of(X).fingerprint() == open_pool(tmp_path / "x.npy").fingerprint()


def test_of_a_pool_that_is_too_large_to_read_once_more_some_embeddings_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.zeros((3000, 2))
    monkeypatch.setattr("clframe.selection.pool.pool.HASHED", x.size * 4 - 1)
    before = pool_of(x)
    x[1] = 1
    between = pool_of(x)
    assert before.fingerprint() == between.fingerprint() and before.hashed == "1,000 of 3,000 embeddings, evenly spaced"
    x[0] = 1
    assert pool_of(x).fingerprint() != before.fingerprint()
    told = select(before, 5, "uniform").manifest["pool"]
    assert told["hash"] == before.fingerprint() and told["hash_of"] == f"shape, ids, columns, {before.hashed}"
