"""torchvision's transforms v2 as augmentation: on the device, of new and of replayed samples, in training only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clframe.bridges.extra import bring
from clframe.errors import OptionError, unknown_name
from clframe.locate import in_a_line
from clframe.models import build
from clframe.registry import parse


class Augmented(nn.Module):
    """A backbone that sees transformed inputs while it is trained, and the inputs themselves while it is measured.

    It stands in front of the backbone, so what a memory brings back is transformed anew like what is new; a frozen or evaluated
    network is not. Numbers are drawn from torch's global generators, which a run isolates and a checkpoint keeps: resume is exact.

    Args:
        backbone: inputs (B, *input) -> features.
        transform: of one image (C, H, W), which must keep its shape.
    """

    def __init__(self, backbone: nn.Module, transform: Any) -> None:
        super().__init__()
        self.backbone, self.transform = backbone, transform

    def forward(self, x: Tensor) -> Tensor:
        """Features of the inputs; each image is transformed by itself."""
        if self.training:
            x = torch.stack([self.transform(image) for image in x])
        features: Tensor = self.backbone(x)
        return features


def augmented(
    input_shape: Sequence[int],
    num_classes: int,
    model: str = "cnn",
    transforms: Any = ("RandomCrop(size=32,padding=4)", "RandomHorizontalFlip"),
) -> Augmented:
    """A model behind torchvision's transforms v2: `augmented(model=cnn,transforms=[RandomCrop(size=8,padding=1)])`.

    Args:
        input_shape: shape of one sample.
        num_classes: classes of the stream.
        model: the model in words.
        transforms: names of `torchvision.transforms.v2` with their options, in order. Inputs are normalised floats.

    Raises:
        MissingExtraError: torchvision is not installed.
        OptionError: an unknown transform or option, or transforms that change the shape of an image.

    Example:
        >>> import clframe
        >>> words = "augmented(model=mlp,transforms=[RandomCrop(size=8,padding=1)])"
        >>> result = clframe.run("split-digits", "er", model=words, evaluate="boundaries")
        >>> result.finished
        True

    Differences:
        1. Scripts transform raw pixels in the data loader; here they are normalised already, so what is padded with 0 is the mean.
    """
    v2 = bring("torchvision.transforms.v2", "model 'augmented'", "torchvision", at_least="0.17")
    made = [_made(v2, words) for words in ([transforms] if isinstance(transforms, str) else transforms)]
    together, wanted = v2.Compose(made), tuple(input_shape)
    with torch.random.fork_rng(devices=[]):
        try:
            shape = tuple(together(torch.zeros(*input_shape)).shape)
        except (TypeError, ValueError, RuntimeError) as error:
            raise OptionError(f"transforms must take images of shape {wanted}; {in_a_line(error)}. Choose others.") from error
    if shape != wanted:
        raise OptionError(f"transforms must keep the shape {wanted}; they give {shape}. Write RandomCrop(size={wanted[-1]},...).")
    name, options = parse(model)
    return Augmented(build(name, input_shape, num_classes, options=options).backbone, together)


def _made(v2: Any, words: str) -> Any:
    name, options = parse(words)
    if not isinstance(getattr(v2, name, None), type):
        raise unknown_name("transform", name, [n for n in dir(v2) if n[:1].isupper()])
    try:
        return getattr(v2, name)(**options)
    except (TypeError, ValueError) as error:
        rule = f"transform {name!r} must take its options; got {options!r} and {in_a_line(error)}"
        raise OptionError(f"{rule}. Correct them.") from error
