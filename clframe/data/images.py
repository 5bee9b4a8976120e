"""Decoded images as uint8 rows of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clframe.data.samples import Array
from clframe.errors import DataError, bad_option

if TYPE_CHECKING:
    from PIL.Image import Image

Size = int | tuple[int, int]
DEEP = ("I", "F", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True, slots=True)
class ImageForm:
    """What every image is brought to: C x H x W; `resize` allows other sizes, which are then resized."""

    channels: int
    height: int
    width: int
    resize: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one row."""
        return (self.channels, self.height, self.width)

    def check(self, image: Image, where: str) -> None:
        """Refuse an image of another size, unless it will be resized, and one of more than 8 bits a channel."""
        if image.mode in DEEP:
            raise DataError(f"{where}: an image must have 8 bits per channel; got mode {image.mode}. Convert it to 8 bits.")
        if not self.resize and (image.height, image.width) != (self.height, self.width):
            raise DataError(
                f"{where}: every image must have the size of the first, {self.height}x{self.width}; "
                f"got {image.height}x{image.width}. Give size={self.height}, or size=(height, width), to resize."
            )

    def pixels(self, image: Image, where: str) -> Array:
        """The image as uint8 (C, H, W)."""
        self.check(image, where)
        image = image.convert("L" if self.channels == 1 else "RGB")
        if (image.height, image.width) != (self.height, self.width):
            image = image.resize((self.width, self.height))
        values = np.asarray(image)
        return values[None] if self.channels == 1 else values.transpose(2, 0, 1)


def image_form(first: Sequence[Image], size: Size | None) -> ImageForm:
    """The form of a collection, from its first image and a few more: greyscale if all of these are."""
    grey = all(image.mode in ("1", "L", "LA", *DEEP) for image in first)
    if size is None:
        return ImageForm(1 if grey else 3, first[0].height, first[0].width, resize=False)
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise bad_option("size", "positive", size, "Give size=32 or size=(height, width).")
    return ImageForm(1 if grey else 3, height, width, resize=True)
