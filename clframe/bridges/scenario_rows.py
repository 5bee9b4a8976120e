"""The samples of a scenario as rows: id, input, label, and the experiences and places in which each comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clframe.data.huggingface import ArrowFeatures
from clframe.data.lazy import CachedRows
from clframe.data.samples import make_samples
from clframe.types import Ids, Source

if TYPE_CHECKING:
    import datasets

BLOCK = 1000


def written(source: Source, parts: Any) -> datasets.Dataset:
    """The samples of these experiences in the order of their ids, with the experiences and places that they come in."""
    import datasets

    shape = source.input_shape
    array = getattr(datasets, f"Array{len(shape)}D")(shape, "float32") if 1 < len(shape) < 6 else None
    features = {
        "id": datasets.Value("int64"),
        "input": array or datasets.List(datasets.Value("float32")),
        "label": datasets.ClassLabel(names=list(source.class_names)),
        "experience": datasets.List(datasets.Value("int64")),
        "place": datasets.List(datasets.Value("int64")),
        **({} if source.weight is None else {"weight": datasets.Value("float32")}),
    }
    where: dict[int, tuple[list[int], list[int]]] = {}
    for k, ids in enumerate(parts):
        for place, i in enumerate(np.asarray(ids).tolist()):
            experiences, places = where.setdefault(i, ([], []))
            experiences.append(k)
            places.append(place)
    ids = np.array(sorted(where), dtype=np.int64)
    blocks = []
    for start in range(0, len(ids), BLOCK):
        some = ids[start : start + BLOCK]
        columns: dict[str, Any] = {
            "id": some,
            "input": list(source.fetch(torch.from_numpy(some)).cpu().numpy().reshape(-1, *shape)),
        }
        columns |= {"label": source.y[some], "experience": [where[i][0] for i in some.tolist()]}
        columns["place"] = [where[i][1] for i in some.tolist()]
        columns |= {} if source.weight is None else {"weight": source.weight[some]}
        blocks.append(datasets.Dataset.from_dict(columns, features=datasets.Features(features)))
    return datasets.concatenate_datasets(blocks)


def read(rows: datasets.Dataset, trained: int, experiences: int, how: dict[str, Any]) -> tuple[Any, list[Ids], list[Ids]]:
    """Rows and samples of a source, and the ids of each experience: of the first `trained` rows, and of those held out."""
    ids = np.asarray(rows.with_format("numpy")["id"][:], dtype=np.int64)
    by_id = np.argsort(ids, kind="stable")
    number = np.empty(len(ids), dtype=np.int64)
    number[by_id] = np.arange(len(ids))
    columns = rows.with_format("arrow")[:]
    lists = [columns[name].to_pylist() for name in ("experience", "place")]
    found: list[list[Ids]] = []
    for low, high in ((0, trained), (trained, len(ids))):
        flat = [(k, p, number[r]) for r in range(low, high) for k, p in zip(lists[0][r], lists[1][r], strict=True)]
        table = np.array(sorted(flat), dtype=np.int64).reshape(-1, 3)
        found.append([table[table[:, 0] == k, 2] for k in range(experiences)])
    ordered = rows.select(by_id)
    weight = np.asarray(columns["weight"])[by_id] if "weight" in columns.column_names else None
    samples = make_samples(
        len(ids),
        np.asarray(columns["label"])[by_id],
        class_names=how["classes"],
        weight=weight,
        columns={"id": ids[by_id]},
        name=how["data"],
    )
    return (CachedRows(ArrowFeatures(ordered, ["input"], how["data"])), samples), found[0], found[1]
