"""Arrays on disk: rows on demand, equal to memory, split as views, safe to send to another process."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from clframe.data import Subset, from_arrays, from_memmap
from clframe.data.lazy import CachedRows, LazySource
from clframe.data.memmap import MemmapRows
from clframe.errors import DataError, OptionError

IMAGES = np.random.default_rng(1).integers(0, 256, (50, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(50) % 5


@pytest.fixture
def files(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", IMAGES)
    np.save(tmp_path / "y.npy", LABELS)
    return tmp_path


def test_equal_to_memory(files: Path) -> None:
    lazy = from_memmap(files / "x.npy", files / "y.npy", files / "x.npy", files / "y.npy")
    memory = from_arrays(IMAGES, LABELS, IMAGES, LABELS)
    ids = torch.tensor([30, 2, 2, 49])
    assert isinstance(lazy.train, LazySource)
    assert lazy.train.input_shape == (3, 6, 5)
    assert torch.equal(lazy.train.fetch(ids), memory.train.fetch(ids))
    assert torch.equal(lazy.test.fetch(ids), memory.test.fetch(ids))


def test_split_as_views(files: Path) -> None:
    lazy, memory = from_memmap(files / "x.npy", LABELS), from_arrays(IMAGES, LABELS)
    assert isinstance(lazy.train, Subset)
    ids = torch.arange(len(memory.test))
    assert torch.equal(lazy.test.fetch(ids), memory.test.fetch(ids))


def test_fingerprint_is_stable_and_sees_content(files: Path) -> None:
    first = from_memmap(files / "x.npy", LABELS).fingerprint()
    assert from_memmap(files / "x.npy", LABELS).fingerprint() == first
    assert from_memmap(files / "x.npy", LABELS[::-1]).fingerprint() != first
    np.save(files / "x.npy", IMAGES[::-1])
    assert from_memmap(files / "x.npy", LABELS).fingerprint() != first


def test_pickle_carries_the_path_not_the_data(files: Path) -> None:
    np.save(files / "big.npy", np.zeros((2000, 100), dtype=np.float32))
    rows = MemmapRows(files / "big.npy")
    sent = pickle.dumps(rows)
    assert len(sent) < 2000
    assert pickle.loads(sent).read(np.array([3])).shape == (1, 100)


def test_moving_delivers_elsewhere(files: Path) -> None:
    source = from_memmap(files / "x.npy", LABELS, files / "x.npy", LABELS).train
    assert source.to(torch.device("cpu")) is source
    assert source.to(torch.device("meta")).fetch(torch.tensor([0])).device.type == "meta"


class CountingRows:
    """Counts how many rows are read."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (10, 3)
        self.count = 0

    def read(self, ids: np.ndarray) -> np.ndarray:
        self.count += len(ids)
        return np.repeat(ids[:, None], 3, axis=1).astype(np.uint8)


def test_cache_reads_each_row_once_where_it_fits() -> None:
    rows = CountingRows()
    cached = CachedRows(rows)
    for ids in ([1, 2], [2, 3, 3], [1, 2, 3]):
        assert cached.read(np.array(ids))[:, 0].tolist() == ids
    assert rows.count == 3


def test_cache_keeps_nothing_beyond_its_limit() -> None:
    rows = CountingRows()
    cached = CachedRows(rows, limit=29)
    for _ in range(3):
        assert cached.read(np.array([4]))[0, 0] == 4
    assert rows.count == 3


def test_errors(files: Path) -> None:
    with pytest.raises(DataError, match=r"readable \.npy file"):
        from_memmap(files / "none.npy", LABELS)
    (files / "bad.npy").write_bytes(b"not numpy at all")
    with pytest.raises(DataError, match=r"bad\.npy: must be a readable"):
        from_memmap(files / "bad.npy", LABELS)
    (files / "cut.npy").write_bytes((files / "x.npy").read_bytes()[:300])
    with pytest.raises(DataError, match=r"cut\.npy: must be a readable"):
        from_memmap(files / "cut.npy", LABELS)
    with pytest.raises(DataError, match="same length; got 50 and 3"):
        from_memmap(files / "x.npy", [0, 1, 0])
    np.save(files / "flat.npy", np.zeros(5))
    with pytest.raises(DataError, match="shape"):
        from_memmap(files / "flat.npy", [0, 1, 0, 1, 0])
    np.save(files / "nan.npy", np.array([[0.0], [np.nan]]))
    with pytest.raises(DataError, match=r"row 1.*got nan"):
        from_memmap(files / "nan.npy", [0, 1])
    with pytest.raises(OptionError, match="x_test"):
        from_memmap(files / "x.npy", LABELS, files / "x.npy")
    with pytest.raises(DataError, match="file of labels"):
        from_memmap(files / "x.npy", files / "none.npy")
