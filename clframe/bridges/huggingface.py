"""Hugging Face data sets: scenarios and coresets out as a DatasetDict with a card, and back equal by ids; streaming data in."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.bridges import scenario_rows
from clframe.bridges.card import card
from clframe.bridges.streaming import landed
from clframe.data.lazy import lazy_dataset
from clframe.errors import CompositionError, DataError, RunError
from clframe.scenarios import Stream, order
from clframe.selection.choice import Choice
from clframe.selection.coreset import Coreset
from clframe.selection.estimate import Estimate
from clframe.selection.materialize import as_dataset
from clframe.types import Reveals

if TYPE_CHECKING:
    import datasets

__all__ = ["landed", "save", "to_coreset", "to_datasets", "to_scenario", "told"]

CARD, MADE = "README.md", "clframe.json"
ORDERS = {made.__name__: made for made in (order.Shuffled, order.AsGiven, order.Cumulative, order.Joint)}
COLUMNS = {"row": "rows", "probability": "expected", "count": "count", "stratum": "stratum", "score": "score"}
"""Columns of a coreset beside its id and weight, and what a `Choice` calls them."""
_HEAD = "Made by clframe: "


def to_datasets(thing: Stream | Coreset, source: datasets.Dataset | None = None) -> datasets.DatasetDict:
    """A scenario or a coreset as a `datasets.DatasetDict`.

    A scenario has splits train, test and, where it holds samples out, validation, with the columns id (in the source), input
    (float32 as the scenario delivers it, normalised), label, weight where there are weights, and the lists experience and place:
    in which experiences the sample comes, and at which place of each. A coreset has one split, train: the chosen rows of `source`
    with columns coreset_id, coreset_weight, coreset_row, coreset_probability, coreset_count, coreset_stratum, coreset_score.

    Args:
        thing: the scenario or the coreset. All inputs of a scenario are held in memory at once.
        source: of a coreset, the data set with the rows that it was chosen from, in their order; ids and weights alone by default.

    Raises:
        CompositionError: the scenario trains on a coreset or has an order of its own, which cannot be written.
        DataError: `source` has another number of rows than the pool.

    Example:
        >>> from clframe.scenarios import class_incremental
        >>> made = to_datasets(class_incremental("digits", experiences=2, class_order="sorted"))
        >>> made["train"].num_rows, made["train"].column_names
        (1438, ['id', 'input', 'label', 'experience', 'place'])
    """
    import datasets

    if isinstance(thing, Coreset):
        splits, told = {"train": _chosen(thing, source)}, {"kind": "coreset", "manifest": dict(thing.manifest)}
    else:
        splits, told = _splits(thing), _told(thing)
    for split in splits.values():
        split.info.description = _HEAD + json.dumps(told, default=_number)
    return datasets.DatasetDict(splits)


def save(thing: Stream | Coreset, folder: str | Path, source: datasets.Dataset | None = None) -> Path:
    """Write `to_datasets` into a folder, whole or not at all: a Parquet file a split, a dataset card (README.md), and clframe.json.

    `datasets.load_dataset(folder)` reads it; the folder can be uploaded to the hub as it is.

    Args:
        thing, source: as in `to_datasets`.
        folder: a folder that is not there yet.

    Raises:
        RunError: the folder is there, or cannot be written; and what `to_datasets` refuses.
    """
    place = Path(folder)
    if place.exists():
        raise RunError(f"{place} must not be there yet; it is. Give another folder, or remove it.")
    made = to_datasets(thing, source)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as name:
            inside = Path(name) / "made"
            inside.mkdir()
            for split, rows in made.items():
                rows.to_parquet(inside / f"{split}.parquet")
            (inside / MADE).write_text(json.dumps(told(made), indent=1) + "\n")
            (inside / CARD).write_text(card(thing, made, place.name))
            shutil.move(inside, place)
    except OSError as error:
        raise RunError(f"{place} must be a folder that can be written; {error}. Give another.") from error
    return place


def told(made: datasets.DatasetDict | str | Path) -> dict[str, Any]:
    """How a DatasetDict, or a folder that `save` wrote, was made.

    Raises:
        DataError: neither `to_datasets` nor `save` made it.
    """
    if isinstance(made, str | Path):
        try:
            found: dict[str, Any] = json.loads((Path(made) / MADE).read_text())
        except (OSError, ValueError) as error:
            raise DataError(
                f"{made} must be a folder that clframe wrote; it has no {MADE} that can be read. Give another."
            ) from error
        return found
    description = next(iter(made.values())).info.description
    if not description.startswith(_HEAD):
        raise DataError("the DatasetDict must be one that clframe made; it does not say so. Use data.from_huggingface.")
    found = json.loads(description.removeprefix(_HEAD))
    return found


def to_scenario(made: datasets.DatasetDict | str | Path) -> Stream:
    """The scenario that `to_datasets` or `save` wrote: the same experiences, ids, tests, order and reveals.

    Where every id of the source was written, ids are the same; otherwise samples are numbered anew in their order, and
    `clframe.data.column(stream.data.train, "id")` has what they were.

    Args:
        made: the DatasetDict, or the folder.

    Raises:
        DataError: no scenario of clframe.

    Example:
        >>> from clframe.scenarios import class_incremental
        >>> stream = class_incremental("digits", experiences=2)
        >>> back = to_scenario(to_datasets(stream))
        >>> all((a == b).all() for a, b in zip(back.segments, stream.segments))
        True
    """
    import datasets

    how = told(made)
    if how["kind"] != "scenario":
        raise DataError(f"the data must be a scenario; it is a {how['kind']}. Use to_coreset.")
    splits = _read(made)
    held = "validation" in splits
    pool = datasets.concatenate_datasets([splits["train"], splits["validation"]]) if held else splits["train"]
    count = how["experiences"]
    train, segments, held_out = scenario_rows.read(pool, len(splits["train"]), count, how)
    test, tests, _ = scenario_rows.read(splits["test"], len(splits["test"]), count, how)
    data = lazy_dataset(how["data"], [train, test], standardise=False, allow_missing=True)
    return Stream(
        how["name"],
        data,
        segments,
        tests,
        Reveals(**how["reveals"]),
        how["tasks"],
        held_out if held else (),
        ORDERS[how["order"]](),
        how["seed"],
        online=how["online"],
        tested_on=how["tested_on"],
    )


def to_coreset(made: datasets.DatasetDict | str | Path) -> Coreset:
    """The coreset that `to_datasets` or `save` wrote: equal ids, rows, weights and manifest.

    Raises:
        DataError: no coreset of clframe.
    """
    how = told(made)
    if how["kind"] != "coreset":
        raise DataError(f"the data must be a coreset; it is a {how['kind']}. Use to_scenario.")
    rows, manifest = _read(made)["train"].with_format("arrow")[:], how["manifest"]
    column = {name: np.asarray(rows[f"coreset_{name}"]) for name in ("id", "weight", *COLUMNS)}
    e = manifest.get("mean_loss")
    infinite = {name: np.inf if e is not None and e[name] is None else e and e[name] for name in ("error", "freedom")}
    estimate = None if e is None else Estimate(e["mean"], infinite["error"], infinite["freedom"])
    fields = {field: column[name] for name, field in COLUMNS.items()}
    return Coreset(column["id"], Choice(weight=column["weight"], estimate=estimate, facts=manifest["facts"], **fields), manifest)


def _told(stream: Stream) -> dict[str, Any]:
    kind = type(stream.order).__name__
    if stream.curation is not None or kind not in ORDERS:
        why = "trains on a coreset" if stream.curation is not None else f"has an order of its own, {kind}"
        raise CompositionError(
            f"a scenario must be ids and labels to be written; {stream.name!r} {why}. Write the stream below it."
        )
    return {
        "kind": "scenario",
        "name": stream.name,
        "data": stream.data.name,
        "experiences": len(stream),
        "classes": list(stream.data.train.class_names),
        "reveals": dataclasses.asdict(stream.reveals),
        "tasks": None if stream.tasks is None else [int(t) for t in stream.tasks],
        "order": kind,
        "seed": stream.seed,
        "online": stream.online,
        "tested_on": stream.tested_on,
        "fingerprint": stream.fingerprint(),
        "shape": list(stream.data.train.input_shape),
    }


def _splits(stream: Stream) -> dict[str, datasets.Dataset]:
    found = {
        "train": scenario_rows.written(stream.data.train, stream.segments),
        "test": scenario_rows.written(stream.data.test, stream.tests),
    }
    if len(stream.validation):
        found["validation"] = scenario_rows.written(stream.data.train, stream.validation)
    return found


def _chosen(coreset: Coreset, source: datasets.Dataset | None) -> datasets.Dataset:
    import datasets

    table = coreset.table().rename(columns=lambda name: f"coreset_{name}")
    if source is None:
        return datasets.Dataset.from_pandas(table, preserve_index=False)
    found = as_dataset(coreset, source)
    for name in table.columns.drop("coreset_weight"):
        found = found.add_column(name, table[name].to_numpy())
    return found


def _read(made: datasets.DatasetDict | str | Path) -> Any:
    import datasets

    if not isinstance(made, str | Path):
        return made
    import pyarrow.parquet as pq

    return {file.stem: datasets.Dataset(pq.read_table(file)) for file in sorted(Path(made).glob("*.parquet"))}


def _number(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} in a description")
