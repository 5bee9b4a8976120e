"""Data sets by name: embedded, in the data folder, on the Hugging Face hub, or at a path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clframe.data.arrays import from_arrays
from clframe.data.dataset import Dataset
from clframe.data.faults import reason
from clframe.data.folder import from_folder
from clframe.data.images import Size
from clframe.data.npz import from_npz
from clframe.data.table import from_table
from clframe.errors import DataError, bad_option, unknown_name


@dataclass(frozen=True, slots=True)
class Entry:
    """A named data set: its name on the hub, and which columns and size it has there or in a folder."""

    hub: str
    label: str = "label"
    size: int | None = None


CATALOG = {
    "mnist": Entry("ylecun/mnist"),
    "fashion-mnist": Entry("zalando-datasets/fashion_mnist"),
    "kmnist": Entry("tanganke/kmnist"),
    "cifar10": Entry("uoft-cs/cifar10"),
    "cifar100": Entry("uoft-cs/cifar100", label="fine_label"),
    "tiny-imagenet": Entry("zh-plus/tiny-imagenet", size=64),
}
SUFFIXES = (".npz", ".parquet", ".csv", ".csv.gz")


@dataclass(frozen=True, slots=True)
class Options:
    """What `load` was given beyond the name; None where it was not."""

    label: str | None
    task: str | None
    weight: str | None
    experience: str | None
    split: str | None
    columns: Sequence[str] | None
    image: str | None
    size: Size | None
    standardise: bool | None

    def given(self, kind: str, *allowed: str) -> dict[str, Any]:
        """The options that were given; one that does not apply to this kind of data is refused."""
        chosen = {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) is not None}
        for name, value in chosen.items():
            if name not in allowed:
                raise bad_option(name, f"left out for {kind}", value, f"Options of {kind}: {', '.join(allowed) or 'none'}.")
        return chosen


def names(data_dir: str | Path | None = None) -> tuple[str, ...]:
    """Every name that `load` knows: the catalog, and the files of the data folder.

    Example:
        >>> [name for name in names() if name in ("digits", "mnist", "cifar100")]
        ['cifar100', 'digits', 'mnist']
    """
    folder = _data_dir(data_dir)
    found = [] if folder is None else [p.name.removesuffix(s) for s in SUFFIXES for p in folder.glob(f"*{s}")]
    canonical = {name.replace("-", "_"): name for name in CATALOG}
    return tuple(sorted({"digits", *CATALOG, *(canonical.get(name, name) for name in found)}))


def load(
    name: str,
    data_dir: str | Path | None = None,
    *,
    label: str | None = None,
    task: str | None = None,
    weight: str | None = None,
    experience: str | None = None,
    split: str | None = None,
    columns: Sequence[str] | None = None,
    image: str | None = None,
    size: Size | None = None,
    standardise: bool | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    allow_missing: bool = False,
) -> Dataset:
    """A data set by name or path.

    Looked for in this order: digits (embedded); NAME.npz, NAME.parquet, NAME.csv or a folder NAME in the data folder, also
    with `_` for `-`; a path; the Hugging Face hub, for a name of the catalog or an OWNER/NAME, where there is a network.

    Args:
        name: one of `names()`, a path (`.npz`, `.csv`, `.csv.gz`, `.parquet`, a folder), or OWNER/NAME of the hub.
        data_dir: the data folder; by default the environment variable CLFRAME_DATA.
        label: label column of a table or hub data set.
        task: task column of these.
        weight: weight column of these.
        experience: experience column of these.
        split: column of a table that says "train" or "test".
        columns: feature columns of a table or hub data set.
        image: image column of a hub data set or a Parquet file of images.
        size: resize images that are files or columns.
        standardise: to mean 0 and deviation 1 by the training part; None means what suits the kind of data.
        test_fraction: share set apart where the data has no test part (digits keeps its own).
        seed: draws that part.
        allow_missing: accept classes without training or test samples.

    Raises:
        OptionError: an unknown name, or an option that does not apply.
        DataError: the data is not there, with what to put where; or it breaks a rule.

    Example:
        >>> load("digits").train.class_names
        ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
    """
    options = Options(label, task, weight, experience, split, columns, image, size, standardise)
    common: dict[str, Any] = {"test_fraction": test_fraction, "seed": seed, "allow_missing": allow_missing}
    if name == "digits":
        return _digits(**options.given("digits", "standardise"))
    folder = _data_dir(data_dir)
    path = _find(name, folder)
    if path is not None:
        return _from_path(path, name if name in CATALOG else None, options, common)
    if name in CATALOG or _is_hub_name(name):
        return _from_hub(name, folder, options, common)
    if name.endswith(SUFFIXES) or "/" in name or os.sep in name:
        raise DataError(f"{name}: must be a file or folder; got nothing at this path. Check the path or the name.")
    raise unknown_name("data set", name, names(data_dir))


def _digits(standardise: bool | None = None) -> Dataset:
    """scikit-learn's digits: 1,797 images of 8x8, values 0..16, with a fixed stratified test part of a fifth."""
    images, labels = _read_digits()
    return from_arrays(images.copy(), labels.copy(), name="digits", standardise=standardise)


@lru_cache(maxsize=1)
def _read_digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read once a process: it is a text file, and takes longer to read than a small model to train."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype("uint8"), bunch.target


def _data_dir(data_dir: str | Path | None) -> Path | None:
    chosen = data_dir or os.environ.get("CLFRAME_DATA")
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise DataError(f"data_dir must be a folder; got {str(chosen)!r}. Create it, or correct --data-dir or CLFRAME_DATA.")
    return folder


def _find(name: str, folder: Path | None) -> Path | None:
    """The file or folder of this name in the data folder, or the path that the name is."""
    if folder is not None:
        for spelling in dict.fromkeys((name, name.replace("-", "_"))):
            for candidate in (*(folder / f"{spelling}{suffix}" for suffix in SUFFIXES), folder / spelling):
                if candidate.is_dir() or (candidate.is_file() and candidate.name.endswith(SUFFIXES)):
                    return candidate
    path = Path(name).expanduser()
    if path.is_file() and not name.endswith(SUFFIXES):
        raise DataError(f"{name}: a file must end in {', '.join(SUFFIXES)}; got {path.suffix or 'no ending'!r}. Convert it.")
    return path if name not in CATALOG and path.exists() else None


def _from_path(path: Path, known: str | None, options: Options, common: dict[str, Any]) -> Dataset:
    """Read a file or folder by its kind."""
    name = known or path.name.removesuffix(".gz").rsplit(".", 1)[0] or path.name
    if path.name.endswith(".npz"):
        return from_npz(path, name=name, allow_missing=common["allow_missing"], **options.given("an .npz file", "standardise"))
    if path.is_dir() and not _has_arrow(path):
        chosen = options.given("a folder of images", "size", "standardise")
        if known is not None and CATALOG[known].size is not None:
            chosen.setdefault("size", CATALOG[known].size)
        return from_folder(path, name=name, **chosen, **common)
    if path.is_dir() or (path.suffix == ".parquet" and _has_images(path)):
        return _arrow(_open_arrow(path), name, known, options, common)
    table = ("label", "task", "weight", "experience", "split", "columns", "standardise")
    return from_table(path, name=name, **options.given("a table", *table), **common)


def _arrow(data: Any, name: str, known: str | None, options: Options, common: dict[str, Any]) -> Dataset:
    from clframe.data.huggingface import from_huggingface

    allowed = ("label", "task", "weight", "experience", "columns", "image", "size", "standardise")
    chosen = options.given("a Hugging Face data set", *allowed)
    if known is not None:
        chosen = {k: v for k, v in asdict(CATALOG[known]).items() if k in ("label", "size") and v is not None} | chosen
    return from_huggingface(data, name=name, **chosen, **common)


def _has_arrow(path: Path) -> bool:
    return any((path / f).is_file() for f in ("dataset_dict.json", "dataset_info.json")) or any(path.rglob("train*.parquet"))


def _has_images(path: Path) -> bool:
    """Whether a Parquet file holds encoded images, as the hub's do."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        schema = pa.parquet.read_schema(path)
    except Exception:  # damaged: the reader of tables says so
        return False
    return any(pa.types.is_struct(f.type) and {g.name for g in f.type} >= {"bytes", "path"} for f in schema)


def _open_arrow(path: Path) -> Any:
    """A Parquet file, a folder of `train*.parquet` and `test*.parquet`, or one written by `save_to_disk`."""
    import datasets
    import pyarrow as pa
    import pyarrow.parquet

    try:
        if path.is_file():
            return _images_cast(datasets.Dataset(pa.parquet.read_table(path, memory_map=True)))
        parts = {part: sorted(path.rglob(f"{part}*.parquet")) for part in ("train", "test", "validation", "valid", "val")}
        if parts["train"]:
            tables = {part: pa.concat_tables([pa.parquet.read_table(f) for f in files]) for part, files in parts.items() if files}
            return {part: _images_cast(datasets.Dataset(table)) for part, table in tables.items()}
        return datasets.load_from_disk(str(path))
    except Exception as error:
        raise DataError(f"{path}: must be readable Parquet or Arrow; got {reason(error)}. Write it again.") from error


def _images_cast(data: Any) -> Any:
    """Columns of encoded images are images, whether or not the file says so."""
    import datasets
    import pyarrow as pa

    for field in data.data.schema:
        if pa.types.is_struct(field.type) and {g.name for g in field.type} >= {"bytes", "path"}:
            data = data.cast_column(field.name, datasets.Image())
    return data


def _is_hub_name(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not name.endswith((*SUFFIXES, "/"))


def _from_hub(name: str, folder: Path | None, options: Options, common: dict[str, Any]) -> Dataset:
    from clframe.data.huggingface import hub_reachable, hub_splits

    repository = CATALOG[name].hub if name in CATALOG else name
    if not hub_reachable():
        short = name.rsplit("/", 1)[-1]
        where = "the folder named by --data-dir or CLFRAME_DATA" if folder is None else str(folder)
        raise DataError(
            f"{name}: must be in {where}, or there must be a network to fetch {repository} from Hugging Face; got neither. "
            f"Put {short}.npz (x_train, y_train, x_test, y_test), {short}.parquet or a folder {short} of images by class there."
        )
    return _arrow(hub_splits(repository), name, name if name in CATALOG else None, options, common)
