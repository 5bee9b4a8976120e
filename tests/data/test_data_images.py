"""Image folders and Hugging Face data sets."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from clframe.data import Dataset, column, from_arrays, from_folder, from_huggingface, load
from clframe.errors import DataError, OptionError

PIXELS = np.random.default_rng(2).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)
LABELS = [("ant", "bee")[i % 2] for i in range(20)]


def write(root: Path, rows: range, suffix: str = "png", mode: str = "RGB") -> None:
    for i in rows:
        folder = root / LABELS[i]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i]).convert(mode).save(folder / f"{i:02d}.{suffix}")


def memory(train: range, test: range) -> torch.Tensor:
    order = sorted(test, key=lambda i: (LABELS[i], i))
    train_order = sorted(train, key=lambda i: (LABELS[i], i))
    data = from_arrays(PIXELS[train_order], np.array(LABELS)[train_order], PIXELS[order], np.array(LABELS)[order])
    return data.test.fetch(torch.arange(len(order)))


def fetch_all(data: Dataset) -> None:
    for source in (data.train, data.test):
        source.fetch(torch.arange(len(source)))


@pytest.mark.parametrize("cache", [1 << 20, 0])
@pytest.mark.parametrize("test_folder", ["test", "val"])
def test_train_and_test_folders(tmp_path: Path, cache: int, test_folder: str) -> None:
    write(tmp_path / "train", range(12))
    write(tmp_path / test_folder, range(12, 20))
    data = from_folder(tmp_path, cache_bytes=cache)
    assert (len(data.train), len(data.test)) == (12, 8)
    assert data.train.class_names == ("ant", "bee")
    assert data.train.input_shape == (3, 6, 5)
    expected = memory(range(12), range(12, 20))
    for _ in range(2):
        assert torch.equal(data.test.fetch(torch.arange(8)), expected)


def test_classes_alone_are_split(tmp_path: Path) -> None:
    write(tmp_path, range(20))
    data = from_folder(tmp_path)
    assert (len(data.train), len(data.test)) == (16, 4)
    assert data.fingerprint() == load(str(tmp_path)).fingerprint()


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    write(tmp_path, range(20), mode="L")
    assert from_folder(tmp_path).train.input_shape == (1, 6, 5)


def test_one_grey_image_among_colours_is_converted(tmp_path: Path) -> None:
    write(tmp_path, range(20))
    Image.fromarray(PIXELS[0]).convert("L").save(tmp_path / "ant" / "00.png")
    data = from_folder(tmp_path)
    assert data.train.fetch(torch.arange(16)).shape == (16, 3, 6, 5)


def test_another_size(tmp_path: Path) -> None:
    write(tmp_path, range(20))
    Image.new("RGB", (9, 7)).save(tmp_path / "bee" / "other.png")
    with pytest.raises(DataError, match=r"other\.png: .* size of the first, 6x5; got 7x9\. Give size="):
        from_folder(tmp_path)
    data = from_folder(tmp_path, size=(8, 4))
    assert data.train.fetch(torch.arange(len(data.train))).shape == (len(data.train), 3, 8, 4)
    with pytest.raises(OptionError, match="size must be positive"):
        from_folder(tmp_path, size=0)


def test_tiny_imagenet_layout(tmp_path: Path) -> None:
    for i in range(12):
        folder = tmp_path / "tiny-imagenet" / "train" / LABELS[i] / "images"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i]).save(folder / f"{i}.JPEG")
    val = tmp_path / "tiny-imagenet" / "val"
    (val / "images").mkdir(parents=True)
    for i in range(12, 16):
        Image.fromarray(PIXELS[i]).save(val / "images" / f"val_{i}.JPEG")
    (val / "val_annotations.txt").write_text("".join(f"val_{i}.JPEG\t{LABELS[i]}\t0\t0\t62\t62\n" for i in range(12, 16)))
    data = load("tiny-imagenet", tmp_path)
    assert data.train.input_shape == (3, 64, 64)
    assert data.test.y.tolist() == [0, 1, 0, 1]
    assert data.test.fetch(torch.arange(4)).shape == (4, 3, 64, 64)


def test_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder of images"):
        from_folder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="got none in 0 folders"):
        from_folder(tmp_path / "empty")
    write(tmp_path / "cut", range(20))
    victim = tmp_path / "cut" / "ant" / "04.png"
    whole = victim.read_bytes()
    victim.write_bytes(b"\x89PNG nothing else")
    with pytest.raises(DataError, match=r"04\.png: must be a readable image; got a damaged one"):
        from_folder(tmp_path / "cut")
    victim.write_bytes(whole[:60])
    with pytest.raises(DataError, match=r"04\.png: must be a readable image; got a damaged one"):
        fetch_all(from_folder(tmp_path / "cut"))
    victim.unlink()
    Image.fromarray(np.zeros((6, 5), dtype=np.uint16)).save(victim)
    with pytest.raises(DataError, match=r"8 bits per channel; got mode I;16"):
        from_folder(tmp_path / "cut")


def table(n: int = 20, **columns: object) -> datasets.Dataset:
    plain = {"u": list(range(n)), "vec": [[i, -i] for i in range(n)], "label": LABELS[:n]}
    return datasets.Dataset.from_dict({**plain, **columns})


def images() -> datasets.Dataset:
    features = datasets.Features({"img": datasets.Image(), "klass": datasets.ClassLabel(names=["bee", "ant"])})
    return datasets.Dataset.from_dict({"img": [Image.fromarray(p) for p in PIXELS], "klass": LABELS}, features=features)


def test_arrow_images_equal_memory() -> None:
    both = datasets.DatasetDict({"train": images().select(range(12)), "validation": images().select(range(12, 20))})
    data = from_huggingface(both, label="klass")
    expected = from_arrays(PIXELS[:12], LABELS[:12], PIXELS[12:], LABELS[12:], class_names=["bee", "ant"])
    assert data.train.class_names == ("bee", "ant")
    assert data.train.y.tolist() == expected.train.y.tolist()
    ids = torch.tensor([7, 0, 3])
    assert torch.equal(data.train.fetch(ids), expected.train.fetch(ids))
    assert torch.equal(data.test.fetch(ids), expected.test.fetch(ids))


def test_arrow_features_side_by_side() -> None:
    data = from_huggingface(
        table(year=[2000 + i // 10 for i in range(20)], w=[0.5] * 20),
        experience="year",
        weight="w",
        standardise=False,
    )
    assert data.train.input_shape == (3,)
    assert set(column(data.test, "experience")) == {0, 1}
    row = data.train.fetch(torch.tensor([1]))[0]
    assert (row[1], row[2]) == (row[0], -row[0])
    assert data.train.weight is not None
    assert (data.train.weight == 0.5).all()


def test_a_single_array_column_keeps_its_shape() -> None:
    features = datasets.Features({"x": datasets.Array2D((6, 5), "uint8"), "label": datasets.Value("string")})
    data = datasets.Dataset.from_dict({"x": list(PIXELS[..., 0]), "label": LABELS}, features=features)
    assert from_huggingface(data).train.input_shape == (1, 6, 5)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (table(), {"label": "klass"}, "there must be a column 'klass'; got columns u, vec, label"),
        (table(name=["x"] * 20), {}, r"column 'name' must hold numbers.*columns="),
        (table(vec=[[1] * (1 + i % 2) for i in range(20)]), {}, "column 'vec' must hold numbers, as many in each row"),
        (table(u=[float("nan")] + [1.0] * 19), {"columns": ["u"]}, "got nan in row 0"),
        (table(), {"image": "u"}, "must hold images; got none in row 0"),
        (datasets.DatasetDict({"a": table(), "b": table()}), {}, "splits must be train and test; got a, b"),
        (table().select([]), {}, "at least one row; got 0"),
        (table().to_iterable_dataset(), {}, "got IterableDataset. Load it without streaming"),
        (table().select_columns(["label"]), {}, "there must be a feature column"),
    ],
)
def test_arrow_refused(data: object, options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_huggingface(data, **options)  # type: ignore[arg-type]


def test_arrow_image_of_another_size() -> None:
    odd = datasets.Dataset.from_dict(
        {"img": [Image.fromarray(PIXELS[0])] * 19 + [Image.new("RGB", (8, 8))], "label": LABELS},
        features=datasets.Features({"img": datasets.Image(), "label": datasets.Value("string")}),
    )
    with pytest.raises(DataError, match=r"row 19: .* 6x5; got 8x8"):
        fetch_all(from_huggingface(odd))
    assert from_huggingface(odd, size=4).train.input_shape == (3, 4, 4)


def test_parquet_of_images_by_path_and_by_folder(tmp_path: Path) -> None:
    images().to_parquet(tmp_path / "pics.parquet")
    data = load("pics", tmp_path, label="klass")
    assert data.train.class_names == ("bee", "ant")
    assert data.train.input_shape == (3, 6, 5)
    hub = tmp_path / "repo" / "data"
    hub.mkdir(parents=True)
    images().select(range(12)).to_parquet(hub / "train-00000-of-00001.parquet")
    images().select(range(12, 20)).to_parquet(hub / "test-00000-of-00001.parquet")
    parts = load("repo", tmp_path, label="klass")
    assert (len(parts.train), len(parts.test)) == (12, 8)
    images().save_to_disk(tmp_path / "disk")
    assert load("disk", tmp_path, label="klass").fingerprint() != parts.fingerprint()
