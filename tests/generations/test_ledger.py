"""The pool: what goes in comes out, is named by its bytes, knows its descent; and what is refused."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from clframe.errors import ClframeError, DataError, OptionError, RunError
from clframe.generations import Ledger, Record
from clframe.generations.ledger.descent import nearest_parents
from clframe.generations.ledger.table import arrow_table, encoded

MODEL = {"weights": "5f2c", "config": "a1", "code": "9d"}


def numbers(seed: int, n: int = 5) -> dict[str, Any]:
    return {"x": np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32), "y": np.arange(n) % 2}


@pytest.fixture
def pool(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "pool")


@pytest.fixture
def family(pool: Ledger) -> list[Record]:
    """Two real shards, then three generations that accumulate."""
    made = [pool.append(numbers(0), kind="real", licence="cc0"), pool.append(numbers(1), kind="real")]
    for g in (1, 2, 3):
        made.append(pool.append(numbers(g + 1, 10), kind="synthetic", parents=[r.id for r in made], model=MODEL))
    return made


FORMS: dict[str, Any] = {
    "numbers": {"x": np.arange(6.0).reshape(2, 3), "y": np.array([True, False]), "z": np.array([1, 2], np.float16)},
    "images": {"image": np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5), "big": np.arange(2, dtype=">i4")},
    "texts": {"text": ["a", "ü" * 300], "raw": [b"\x00", b""], "time": np.array(["2024-01-01", "2025-01-01"], "datetime64[s]")},
    "ragged": {"tokens": [[1, 2], [3]], "label": np.array(["u", "v"])},
}


@pytest.mark.parametrize("form", FORMS)
def test_what_goes_in_comes_out(pool: Ledger, form: str) -> None:
    given = FORMS[form]
    record = pool.append(given, kind="real")
    found = pool.read(record.id[:9])
    assert set(found) == set(given) == set(record.columns) and record.rows == 2
    for name, values in given.items():
        for here, there in zip(found[name], values, strict=True):
            np.testing.assert_array_equal(here, there)
        assert found[name].flags.writeable
        if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
            assert found[name].shape == values.shape and found[name].dtype == values.dtype.newbyteorder("=")
    one = next(iter(given))
    assert list(pool.read(record.id, [one], check=False)) == [one]
    assert pool.fsck() == []
    assert record.tokens == (3 if form == "ragged" else None)


def test_the_same_content_in_any_form_is_one_shard(pool: Ledger) -> None:
    given = numbers(0)
    record = pool.append(given, kind="real", licence="cc0")
    frame = pd.DataFrame({"y": given["y"], "x": list(given["x"])}, index=range(5, 10))
    for form in (frame, pa.Table.from_pandas(frame), dict(reversed(given.items()))):
        assert pool.append(form, kind="real", licence="cc0") == record
    assert len(pool) == 1 and len(pool._log.path.read_bytes().splitlines()) == 1
    assert (
        record.id == hashlib.sha256(pool.path(record.id).read_bytes()).hexdigest()
        and record.bytes == pool.path(record.id).stat().st_size
    )
    assert record.columns == {"x": "float[3]", "y": "int64"}


def test_the_record_is_kept(pool: Ledger, family: list[Record]) -> None:
    told: dict[str, Any] = {
        "sampler": {"temperature": np.float32(0.5), "seed": 3},
        "filter": {"rule": "r", "generated": 12, "accepted": 10},
        "licence": "cc0",
        "embedding_model": "m",
        "cells": np.arange(3),
        "losses": {"mean": 0.5},
    }
    made = pool.append(numbers(9, 10), kind="synthetic", parents=[family[0].short], model=MODEL, generation=7, tokens=4, **told)
    found = Ledger(pool.folder).record(made.id)
    assert (
        found == made
        and found.parents == (family[0].id,)
        and found.generation == 7
        and found.tokens == 4
        and found.created > "2024"
    )
    assert (
        found.cells == [0, 1, 2]
        and found.sampler == told["sampler"]
        and found.filter == told["filter"]
        and hash(found) == hash(made)
    )
    edited = pool.append(numbers(10), kind="edited", parents=[family[0].id])
    assert (edited.generation, edited.model) == (1, None)
    assert pickle.loads(pickle.dumps(pool)).records() == pool.records()


def test_descent(pool: Ledger, family: list[Record]) -> None:
    a, b, g1, g2, g3 = family
    assert pool.records() == family and [r.generation for r in family] == [0, 0, 1, 2, 3]
    assert pool.ancestors(g2.id) == [a, b, g1] and pool.descendants(g1.id) == [g2, g3] and pool.ancestors(a.id) == []
    assert pool.rows() == 40 and pool.rows([a.id, g1.id]) == 15
    assert pool.real_share() == 0.25 and pool.real_share([a.id, g1.id]) == pytest.approx(1 / 3)
    assert pool.effective_generations() == 4 and pool.effective_generations([a.id]) == 1
    near = nearest_parents(family)
    assert near[g3.id] == (g2.id,) and near[g1.id] == (a.id, b.id)
    assert Ledger(pool.folder, create=False).records() == family


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"kind": "rael"}, "Did you mean 'real'"),
    "real with a model": ({"kind": "real", "model": MODEL}, "synthetic or edited where the rows have a model"),
    "real with parents": ({"kind": "real", "parents": ["A"]}, "where the rows have parents"),
    "real with a sampler": ({"kind": "real", "sampler": {"seed": 1}}, "where the rows have a sampler"),
    "real of a generation": ({"kind": "real", "generation": 1}, "generation must be 0 for real rows; got 1"),
    "no parent": ({"kind": "synthetic", "model": MODEL}, "parents must be given for synthetic rows"),
    "no model": ({"kind": "synthetic", "parents": ["A"]}, "model must be given for synthetic rows"),
    "edited without parents": ({"kind": "edited"}, "parents must be given for edited rows"),
    "missing parent": ({"kind": "synthetic", "parents": ["ffff"], "model": MODEL}, "parents must be of a shard"),
    "empty id": ({"kind": "synthetic", "parents": [""], "model": MODEL}, "parents must be of a shard"),
    "generation": ({"kind": "synthetic", "parents": ["A"], "model": MODEL, "generation": 0}, "generation must be at least 1"),
    "half a generation": ({"kind": "synthetic", "parents": ["A"], "model": MODEL, "generation": 1.5}, "must be a whole number"),
    "one parent": ({"kind": "synthetic", "parents": "abc", "model": MODEL}, "parents must be a list of ids; got 'abc'"),
    "a name": ({"kind": "synthetic", "parents": ["A"], "model": "gpt2"}, "model must be a mapping; got 'gpt2'"),
    "filter without counts": ({"filter": {"rule": "r"}}, "Give all three"),
    "accepted": ({"filter": {"rule": "r", "generated": 9, "accepted": 9}}, "accepted = 5, the rows of the shard"),
    "generated": ({"filter": {"rule": "r", "generated": 4, "accepted": 5}}, "generated >= accepted"),
    "no rows": ({"table": {"x": np.zeros((0, 3))}}, "must have rows; got none"),
    "no columns": ({"table": {}}, "must have columns; got none"),
    "lengths": ({"table": {"x": np.zeros(2), "y": np.zeros(3)}}, "got x 2, y 3"),
    "no array": ({"table": [1, 2]}, "a mapping of arrays; got 'list'"),
    "one value": ({"table": {"x": 3.0}}, "one value for every row"),
    "width": ({"table": {"x": np.zeros((2, 0))}}, "must have values in its rows"),
    "missing value": ({"table": {"t": ["a", None]}}, "got none in row 1"),
    "missing inside": ({"table": {"t": [[1, None], [2, 3]]}}, "must have a value in every row"),
    "complex": ({"table": {"x": np.zeros(2, complex)}}, "must hold numbers, text or bytes"),
    "mixed": ({"table": {"x": ["a", 3]}}, "must hold numbers, text or bytes"),
    "structs": ({"table": {"x": [{"a": 1}]}}, "got struct"),
    "not plain": ({"losses": {"mean": float("nan")}}, "losses['mean'] must be text, a finite number"),
    "an object": ({"embedding_model": object()}, "embedding_model must be text"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_leaves_nothing(pool: Ledger, name: str) -> None:
    first = pool.append(numbers(0), kind="real")
    before = sorted(pool.folder.rglob("*"))
    options, words = BAD[name]
    options = {"table": numbers(5), "kind": "real", **options}
    if isinstance(options.get("parents"), list):
        options["parents"] = [first.id if p == "A" else p for p in options["parents"]]
    with pytest.raises(ClframeError) as error:
        pool.append(options.pop("table"), **options)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert sorted(pool.folder.rglob("*")) == before and Ledger(pool.folder).records() == [first]


def test_the_beginning_of_an_id(pool: Ledger) -> None:
    seen: dict[str, int] = {}
    for value in range(17):  # two of seventeen ids begin with the same letter
        letter = hashlib.sha256(encoded(arrow_table({"x": [value]}))).hexdigest()[0]
        if letter in seen:
            break
        seen[letter] = value
    pair = [pool.append({"x": [v]}, kind="real") for v in (seen[letter], value)]
    with pytest.raises(OptionError, match=f"the id of one shard; got '{letter}'"):
        pool.record(letter)
    assert [pool.record(r.short) for r in pair] == pair


def test_content_has_one_record(pool: Ledger, family: list[Record]) -> None:
    real, made = family[0], family[3]
    with pytest.raises(OptionError, match=r"in the pool as synthetic, generation 2 .*got it as real, generation 0"):
        pool.append(numbers(3, 10), kind="real")
    with pytest.raises(OptionError, match=r"in the pool as real, generation 0 .*got it as synthetic"):
        pool.append(numbers(0), kind="synthetic", parents=[made.id], model=MODEL)
    with pytest.raises(OptionError, match=r"with another licence: licence 'cc0' there, None here"):
        pool.append(numbers(0), kind="real")
    assert pool.records() == family and real.licence == "cc0"


def test_synthetic_rows_marked_real_are_found_row_by_row(pool: Ledger, family: list[Record]) -> None:
    fresh, made = numbers(20), pool.read(family[3].id)
    mixed = {name: np.concatenate([fresh[name], made[name][4:6]]) for name in fresh}
    with pytest.raises(OptionError, match=rf"2 of 7 are, the first is row 5, in {family[3].short}, generation 2"):
        pool.append(mixed, kind="real")
    with pytest.raises(OptionError, match="1 of 1 are"):  # as other types, in another order
        pool.append({"y": made["y"][:1].astype(np.int16), "x": made["x"][:1].astype(np.float64)}, kind="real")
    allowed = pool.append(mixed, kind="real", shared_rows=True)
    assert pool.append({n: v[4:6] for n, v in made.items()}, kind="real").rows == 2  # they are in a real shard by now
    assert pool.append(fresh, kind="real").rows == 5 and allowed in pool.records()


def test_rows_that_a_generator_learnt_by_heart_stay_real(pool: Ledger) -> None:
    real = pool.append({"t": ["a", "b", "c"]}, kind="real")
    pool.append({"t": ["b", "x"]}, kind="synthetic", parents=[real.id], model=MODEL)
    assert pool.append({"t": ["b", "d"]}, kind="real").rows == 2
    with pytest.raises(OptionError, match="1 of 2 are, the first is row 1"):
        pool.append({"t": ["e", "x"]}, kind="real")


def test_hashes_of_rows_are_made_again_where_they_are_missing(pool: Ledger, family: list[Record]) -> None:
    for record in family[2:]:
        place = pool._shards.rows_path(record.id)
        place.write_bytes(place.read_bytes()[:-8]) if record is family[2] else place.unlink()
    again = Ledger(pool.folder)
    with pytest.raises(OptionError, match="10 of 10 are"):
        again.append({**numbers(4, 10), "y": numbers(4, 10)["y"].astype(np.int8)}, kind="real")
    assert again.fsck() == [] and len(again.row_hashes(family[3].id)) == 10


def test_a_folder_that_is_no_pool(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("x")
    for place, words in (("other", "without log.jsonl"), ("other/notes.txt", "must be a pool")):
        with pytest.raises(RunError, match=words):
            Ledger(tmp_path / place)
    with pytest.raises(RunError, match="there is none"):
        Ledger(tmp_path / "new", create=False)
    assert not (tmp_path / "new").exists()
    with pytest.raises(DataError, match="must have rows to say their shares"):
        Ledger(tmp_path / "new").real_share()
    with pytest.raises(OptionError, match="id must be of a shard"):
        Ledger(tmp_path / "new").record("ab")


def test_a_full_disk_adds_nothing(pool: Ledger, family: list[Record], monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(pool.folder.rglob("*.*"))

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left"):
        pool.append(numbers(30), kind="real")
    monkeypatch.undo()
    assert sorted(pool.folder.rglob("*.*")) == before and pool.fsck() == [] and len(Ledger(pool.folder)) == 5
