"""What the models of this room check before they build anything: counts and shapes."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from clframe.errors import bad_option


def positive(name: str, value: int) -> int:
    """The value, if it is a positive integer.

    Raises:
        OptionError: it is not.

    Example:
        >>> positive("num_classes", 10)
        10
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise bad_option(name, "a positive integer", value, f"Give {name}=1 or more.")
    return int(value)


def shape_of(input_shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of one sample as a tuple of positive integers.

    Raises:
        OptionError: the shape is empty or holds something else.

    Example:
        >>> shape_of([1, 28, 28])
        (1, 28, 28)
    """
    shape = tuple(input_shape)
    if not shape or any(isinstance(n, bool) or not isinstance(n, Integral) or n < 1 for n in shape):
        raise bad_option(
            "input_shape", "the shape of one sample in positive integers", shape, "Give one such as (1, 28, 28) or (64,)."
        )
    return tuple(int(n) for n in shape)


def image_shape(model: str, input_shape: Sequence[int], *, at_least: int = 1) -> tuple[int, int, int]:
    """The shape as (channels, height, width), for models that convolve.

    Args:
        model: the model's name, for the message.
        input_shape: shape of one sample.
        at_least: the smallest side, in pixels, that the model can take.

    Raises:
        OptionError: the samples are no images, or are too small.

    Example:
        >>> image_shape("cnn", (3, 32, 32))
        (3, 32, 32)
        >>> image_shape("cnn", (64,))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        clframe.errors.OptionError: input_shape must be (channels, height, width) for model 'cnn'; got (64,). Use ...
    """
    shape = shape_of(input_shape)
    if len(shape) != 3:
        rule = f"(channels, height, width) for model {model!r}"
        raise bad_option("input_shape", rule, shape, "Use model='mlp', which takes any shape.")
    channels, height, width = shape
    if min(height, width) < at_least:
        rule = f"at least {at_least} x {at_least} pixels for model {model!r}"
        raise bad_option("input_shape", rule, shape, "Use larger images or model='mlp', which takes any shape.")
    return channels, height, width
