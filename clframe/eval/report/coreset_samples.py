"""Samples as a person sees them: pictures, texts, or the first of their numbers."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from clframe.errors import DataError, bad_option
from clframe.eval.report.coreset_words import equal
from clframe.seeding import seed_for

if TYPE_CHECKING:
    from PIL import Image

    from clframe.selection import Coreset, Pool

Rows: TypeAlias = npt.NDArray[np.int64]
Source: TypeAlias = Callable[[Rows], Sequence[Any]] | Sequence[Any] | npt.NDArray[Any]
"""What is in the rows of a pool: by row number, or a function of row numbers."""

SHOWN, NUMBERS, LETTERS, PIXELS = 12, 8, 400, 160
"""Samples of each kind; numbers, letters and pixels to a side that are shown of one."""


@dataclass(frozen=True)
class Sample:
    """One row: its id, what is said of it, and itself as one of a picture (a data address), a text, or numbers."""

    id: str
    facts: list[str]
    image: str = ""
    text: str = ""
    numbers: str = ""


@dataclass(frozen=True)
class View:
    """How samples are shown.

    Attributes:
        images: arrays (h, w) or (h, w, 3), encoded pictures as bytes or {"bytes": ...}, or PIL images.
        texts: strings.
        shape: embeddings are pictures of this shape, (h, w) or (h, w, 3).

    Raises:
        OptionError: more than one of them.
    """

    images: Source | None = None
    texts: Source | None = None
    shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("images", "texts", "shape") if getattr(self, name) is not None]
        if len(given) > 1:
            raise bad_option("view of samples", "one of images, texts and shape", " and ".join(given), "Give one of them.")

    def of(self, pool: Pool, rows: Rows) -> list[dict[str, str]]:
        """What each of some rows looks like.

        Raises:
            DataError: something that cannot be shown as it is asked for.
            OptionError: a shape of another number of numbers.
        """
        if self.images is not None:
            return [{"image": address(as_image(v))} for v in _taken(self.images, rows, pool, "images")]
        if self.texts is not None:
            return [{"text": _short(v)} for v in _taken(self.texts, rows, pool, "texts")]
        x = pool.vectors.take(rows)
        if self.shape is None:
            return [{"numbers": "  ".join(f"{v:.3g}" for v in one[:NUMBERS]) + (" …" if pool.d > NUMBERS else "")} for one in x]
        if int(np.prod(self.shape)) != pool.d or len(self.shape) not in (2, 3) or self.shape[2:] not in ((), (1,), (3,)):
            said = "x".join(map(str, self.shape))
            raise bad_option("shape", f"HxW, HxWx1 or HxWx3 with the {pool.d} numbers of an embedding", said, "Give --shape 28x28.")
        low, high = float(x.min()), float(x.max())
        return [{"image": address(as_image(one.reshape(self.shape), low, high))} for one in x]


def extremes(coreset: Coreset, pool: Pool, view: View) -> list[tuple[str, list[Sample]]]:
    """The samples with the most and the least weight; some drawn at random where all weights are equal.

    Raises:
        DataError, OptionError: see `View.of`.

    Example:
        >>> from clframe.selection import pool_of, select
        >>> pool = pool_of(np.arange(40.0).reshape(20, 2), label=[0] * 18 + [1] * 2)
        >>> found = extremes(select(pool, 4, "stratified(by=label,floor=2)"), pool, View())
        >>> [(name, len(samples)) for name, samples in found], found[1][1][0].numbers
        ([('Most weight', 2), ('Least weight', 2)], '38  39')
    """
    from clframe.selection.methods.uniform import smallest

    count = min(SHOWN, len(coreset))
    if equal(coreset):
        return [
            (
                "Some of the chosen rows, drawn at random",
                _samples(coreset, pool, view, smallest(len(coreset), count, seed_for(0, "samples"))),
            )
        ]
    order = np.argsort(-coreset.weights, kind="stable")
    count = min(count, len(coreset) // 2)
    most, least = order[:count], order[::-1][:count]
    return [("Most weight", _samples(coreset, pool, view, most)), ("Least weight", _samples(coreset, pool, view, least))]


def _samples(coreset: Coreset, pool: Pool, view: View, places: Rows) -> list[Sample]:
    mean = float(coreset.weights.mean())
    looks = view.of(pool, coreset.rows[places])
    found = []
    for place, look in zip(places, looks, strict=True):
        row, weight = int(coreset.rows[place]), float(coreset.weights[place])
        facts = [_label(pool.columns["label"][row])] if "label" in pool.columns else []
        facts += [
            f"weight {f'{weight:.3g}' if abs(weight) < 1000 else f'{weight:,.0f}'}"
            + ("" if equal(coreset) else f" (×\u00a0{weight / mean:.2g})")
        ]
        facts += [f"loss {_rounded(float(pool.columns['loss'][row]))}"] if "loss" in pool.columns else []
        found.append(Sample(str(coreset.ids[place]), facts, **look))
    return found


def _label(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"label {value}"


def _rounded(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.001 or not value else "< 0.001"


def _taken(source: Source, rows: Rows, pool: Pool, name: str) -> Sequence[Any]:
    if callable(source):
        return source(rows)
    if len(source) != pool.n:
        raise DataError(
            f"{name} must be one for each of the {pool.n:,} rows; got {len(source):,}. Give them in the order of the pool."
        )
    return [source[int(row)] for row in rows]


def _short(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"texts must be strings; got {type(value).__name__}. Name a column of texts.")
    text = " ".join(value.split())
    return text if len(text) <= LETTERS else f"{text[:LETTERS]}…"


def as_image(value: Any, low: float | None = None, high: float | None = None) -> Image.Image:
    """A picture of an array, of encoded bytes, or as it is.

    Args:
        value: (h, w), (h, w, 1) or (h, w, 3): whole numbers from 0 to 255, or others, of which the least is black and the largest
            white; or bytes, {"bytes": ...}, a PIL image.
        low, high: what is black and white, instead of these.

    Raises:
        DataError: something else.

    Example:
        >>> as_image(np.eye(2)).tobytes(), as_image(np.full((2, 3, 3), 7, dtype=np.uint8)).size
        (b'\\xff\\x00\\x00\\xff', (3, 2))
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(value, Image.Image):
        return value
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if isinstance(value, bytes):
        try:
            with Image.open(io.BytesIO(value)) as read:
                return read.copy()
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise DataError(f"images must be encoded pictures such as PNG; got {error}. Name a column of pictures.") from error
    array = np.asarray(value)
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.dtype.kind not in "iufb" or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        got = f"{array.dtype} {array.shape}" if array.dtype.kind in "iufb" and array.ndim else type(value).__name__
        raise DataError(f"images must be arrays (h, w) or (h, w, 3), or bytes of pictures; got {got}. {_remedy(array)}")
    if array.dtype != np.uint8:
        low, high = float(array.min()) if low is None else low, float(array.max()) if high is None else high
        array = np.round(255 * (array.astype(np.float64) - low) / max(high - low, 1e-12)).clip(0, 255).astype(np.uint8)
    return Image.fromarray(array)


def _remedy(array: npt.NDArray[Any]) -> str:
    """What to do with something that is no picture; rows of pixels can be one."""
    if array.ndim != 1 or array.dtype.kind not in "iufb":
        return "Name a column of pictures."
    side = math.isqrt(array.size)
    shape = f"{side}x{side}" if side * side == array.size else "28x28"
    return f"Save them as (n, h, w); or, if the embeddings are these pixels, leave the images out and give --shape {shape}."


def address(image: Image.Image) -> str:
    """A picture, at most 160 pixels to a side, as an address that has all of it."""
    small = image.convert("L" if image.mode in ("1", "L", "I", "I;16", "F") else "RGB")
    small.thumbnail((PIXELS, PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
