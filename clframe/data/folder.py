"""Folders of images, one folder a class."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from clframe.data.dataset import Dataset
from clframe.data.faults import reason
from clframe.data.images import ImageForm, Size, image_form
from clframe.data.lazy import CachedRows, lazy_dataset
from clframe.data.samples import Array, encode_labels, make_samples
from clframe.errors import DataError
from clframe.types import Ids

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"})
TEST_FOLDERS = ("test", "val", "valid", "validation")
ANNOTATIONS = "val_annotations.txt"
Labelled = list[tuple[Path, str]]


@final
class ImageRows:
    """Image files, decoded when they are read."""

    def __init__(self, paths: list[Path], form: ImageForm) -> None:
        self.paths, self.form = paths, form
        self.shape: tuple[int, ...] = (len(paths), *form.shape)

    def read(self, ids: Ids) -> Array:
        """The images with these ids, uint8 (B, C, H, W)."""
        rows = np.empty((len(ids), *self.form.shape), dtype=np.uint8)
        for row, i in enumerate(ids):
            file = self.paths[int(i)]
            with _opened(file) as image:
                rows[row] = self.form.pixels(image, str(file))
        return rows


def from_folder(
    path: str | Path,
    *,
    name: str | None = None,
    size: Size | None = None,
    standardise: bool = True,
    cache_bytes: int = 1 << 30,
    test_fraction: float = 0.2,
    seed: int = 0,
    allow_missing: bool = False,
) -> Dataset:
    """A data set from image files: `PATH/CLASS/*.png`, or `PATH/train/CLASS/*.png` with `PATH/test/CLASS/*.png` (or `val`).

    Images are decoded when first asked for and kept as uint8 where all of a part fit into `cache_bytes`. Without `size` the
    header of every file is read at once, so that an image of another size is found before training. They are greyscale where
    the first image of every class is. The layout of the tiny-imagenet archive (`val/val_annotations.txt`) is understood.

    Args:
        path: the folder.
        name: a short name; by default the folder's.
        size: resize every image to size x size or (height, width).
        standardise: to mean 0 and deviation 1 per channel, measured on 5,000 evenly spaced training images.
        cache_bytes: most memory for decoded images, per part; 0 decodes every time.
        test_fraction: share of each class set apart where there is no test folder.
        seed: draws the test part.
        allow_missing: accept classes without training or test images.

    Raises:
        DataError: no such folder, no images in it, a damaged image, or one of another size than the first.
    """
    path = Path(path)
    name = name or path.name
    if not path.is_dir():
        raise DataError(f"{path}: must be a folder of images by class; got nothing of the kind. Check the path.")
    train, test = _parts(path)
    form = _form(train, size)
    lists = [train] if test is None else [train, test]
    labels, names = encode_labels([[label for _, label in part] for part in lists], name=name)
    parts = []
    for part, y in zip(lists, labels, strict=True):
        paths = [file for file, _ in part]
        if size is None:
            _check_headers(paths, form)
        parts.append((CachedRows(ImageRows(paths, form), cache_bytes), make_samples(len(y), y, class_names=names, name=name)))
    return lazy_dataset(name, parts, standardise=standardise, test_fraction=test_fraction, seed=seed, allow_missing=allow_missing)


def _parts(path: Path) -> tuple[Labelled, Labelled | None]:
    """Training files, and test files where there is a folder of them, each with its class."""
    if not (path / "train").is_dir():
        return _by_class(path), None
    train = _by_class(path / "train")
    annotated = path / "val" / ANNOTATIONS
    if annotated.is_file():
        return train, _annotated(annotated)
    test = next((path / folder for folder in TEST_FOLDERS if (path / folder).is_dir()), None)
    return train, None if test is None else _by_class(test)


def _annotated(annotations: Path) -> Labelled:
    """Test files by lines of FILE, CLASS, and more that is not used, separated by tabs."""
    files = []
    for number, line in enumerate(annotations.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) < 2:
            raise DataError(f"{annotations}: a line must hold FILE, tab, CLASS; got {line!r} in line {number}. Correct the line.")
        files.append((annotations.parent / "images" / fields[0], fields[1]))
    return files


def _by_class(path: Path) -> Labelled:
    """All image files below the class folders, in the order of their names."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [(f, folder.name) for folder in folders for f in sorted(folder.rglob("*")) if f.suffix.lower() in SUFFIXES]
    if not files:
        raise DataError(f"{path}: must hold images as CLASS/NAME.png; got none in {len(folders)} folders. Make one folder a class.")
    return files


def _form(files: Labelled, size: Size | None) -> ImageForm:
    """The form of all images, from the first of every class."""
    firsts = {label: file for file, label in reversed(files)}
    images = []
    for file in sorted(firsts.values()):
        with _opened(file) as image:
            images.append(image)
    return image_form(images, size)


def _check_headers(paths: list[Path], form: ImageForm) -> None:
    for file in paths:
        with _opened(file) as image:
            form.check(image, str(file))


@contextmanager
def _opened(file: Path) -> Iterator[Image]:
    """The image of a file; whatever its reader raises is a DataError."""
    import PIL.Image

    try:
        with PIL.Image.open(file) as image:
            yield image
    except DataError:
        raise
    except Exception as error:
        state = f"a damaged one ({reason(error)})" if file.is_file() else "nothing at this path"
        raise DataError(f"{file}: must be a readable image; got {state}. Replace or remove the file.") from error
