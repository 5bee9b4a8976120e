"""What domains do to inputs: permuted pixels, rotations, shifts of contrast, brightness and colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from clframe.errors import DataError
from clframe.seeding import generator


@final
class Permutation:
    """Every domain sees the positions of an input in another order: out[c, p] = x[c, table[domain, p]].

    Positions are pixels, channels stay together; for inputs that are no images, a position is a feature.

    Args:
        table: one permutation a domain (D, P), int64.

    Example:
        >>> swap = Permutation(torch.tensor([[0, 1], [1, 0]]))
        >>> swap(torch.tensor([[3.0, 4.0], [3.0, 4.0]]), torch.tensor([0, 1]))
        tensor([[3., 4.],
                [4., 3.]])
    """

    def __init__(self, table: Tensor) -> None:
        self.table = table

    @classmethod
    def drawn(cls, input_shape: tuple[int, ...], *, domains: int, seed: int) -> Permutation:
        """Domain 0 is the identity; each other domain draws from its own generator, so adding one changes none."""
        positions = math.prod(input_shape[1:] if len(input_shape) == 3 else input_shape)
        drawn = [torch.randperm(positions, generator=generator(seed, "permutation", d)) for d in range(1, domains)]
        return cls(torch.stack([torch.arange(positions), *drawn]))

    def __len__(self) -> int:
        return len(self.table)

    def __call__(self, x: Tensor, domain: Tensor) -> Tensor:
        """Inputs (B, *input), permuted as their domains (B,) say."""
        positions = self.table.shape[1]
        if one_value(domain):
            return x.reshape(-1, positions).index_select(1, self.table[int(domain[0])]).reshape(x.shape)
        flat = x.reshape(len(x), -1, positions)
        order = self.table[domain.to(x.device)].unsqueeze(1).expand_as(flat)
        return flat.gather(2, order).reshape(x.shape)

    def to(self, device: torch.device) -> Permutation:
        """The same permutations on `device`."""
        return self if self.table.device == device else Permutation(self.table.to(device))

    def parts(self) -> tuple[object, ...]:
        """The table."""
        return ("permutation", self.table.cpu().numpy())


@final
class Rotation:
    """Every domain sees images turned by an angle, bilinearly; what comes into view continues the nearest edge pixel.

    out(p) = x(R(angle) p) with p the position relative to the centre, in pixels. The grids are made once: 8 H W bytes a domain.

    Args:
        input_shape: (C, H, W).
        angles: one a domain, in degrees, counter-clockwise; a multiple of 360 leaves every bit as it was.

    Raises:
        DataError: inputs that are no images.

    Example:
        >>> x = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> Rotation((1, 2, 2), [0, 90])(x, torch.tensor([1])).round().flatten()
        tensor([1., 3., 0., 2.])
    """

    def __init__(self, input_shape: tuple[int, ...], angles: Sequence[float]) -> None:
        _, height, width = image_shape(input_shape, "rotated")
        self.angles = tuple(float(a) for a in angles)
        self.still = torch.tensor([a % 360 == 0 for a in self.angles])
        turns = []
        for angle in self.angles:
            cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            turns.append([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
        self.grids = functional.affine_grid(torch.tensor(turns), [len(turns), 1, height, width], align_corners=False)
        self._shape = input_shape

    def __len__(self) -> int:
        return len(self.angles)

    def __call__(self, x: Tensor, domain: Tensor) -> Tensor:
        """Images (B, C, H, W), turned as their domains (B,) say."""
        still = self.still[domain]
        if bool(still.all()):
            return x
        if one_value(domain):
            return _turn(x.reshape(1, -1, *x.shape[2:]), self.grids[int(domain[0])].unsqueeze(0)).reshape(x.shape)
        turned = _turn(x, self.grids[domain.to(x.device)])
        return torch.where(still.to(x.device).view(-1, 1, 1, 1), x, turned) if bool(still.any()) else turned

    def to(self, device: torch.device) -> Rotation:
        """The same rotations on `device`."""
        if self.grids.device == device:
            return self
        moved = Rotation(self._shape, self.angles)
        moved.grids = self.grids.to(device)
        return moved

    def parts(self) -> tuple[object, ...]:
        """The angles."""
        return ("rotation", self.angles)


@final
class ColourShift:
    """Every domain has its own contrast, brightness and colour cast: out_c = scale[domain, c] x_c + shift[domain, c].

    Args:
        scale: factor a domain and channel (D, C).
        shift: summand a domain and channel (D, C), in the unit of the delivered inputs (standard deviations of a channel).

    Example:
        >>> brighter = ColourShift(torch.ones(2, 1), torch.tensor([[0.0], [0.5]]))
        >>> brighter(torch.zeros(2, 1, 1, 1), torch.tensor([0, 1])).flatten()
        tensor([0.0000, 0.5000])
    """

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        self.scale, self.shift = scale, shift

    @classmethod
    def drawn(cls, input_shape: tuple[int, ...], *, domains: int, strength: float, seed: int) -> ColourShift:
        """Domain 0 is the identity; else scale = exp(strength u), shift_c = strength (v + w_c); u, v, w_c uniform in [-1, 1].

        Raises:
            DataError: inputs that are no images.
        """
        channels = image_shape(input_shape, "colour")[0]
        scale, shift = torch.ones(domains, channels), torch.zeros(domains, channels)
        for d in range(1, domains):
            draw = 2 * torch.rand(2 + channels, generator=generator(seed, "colour", d)) - 1
            cast = draw[2:] if channels > 1 else torch.zeros(1)
            scale[d], shift[d] = torch.exp(strength * draw[0]), strength * (draw[1] + cast)
        return cls(scale, shift)

    def __len__(self) -> int:
        return len(self.scale)

    def __call__(self, x: Tensor, domain: Tensor) -> Tensor:
        """Images (B, C, H, W), shifted as their domains (B,) say; two rounded operations, the same in any batch."""
        where = domain.to(x.device)
        return x.mul(self.scale[where][:, :, None, None]).add_(self.shift[where][:, :, None, None])

    def to(self, device: torch.device) -> ColourShift:
        """The same shifts on `device`."""
        return self if self.scale.device == device else ColourShift(self.scale.to(device), self.shift.to(device))

    def parts(self) -> tuple[object, ...]:
        """Both tables."""
        return ("colour", self.scale.cpu().numpy(), self.shift.cpu().numpy())


def one_value(domain: Tensor) -> bool:
    """Whether a batch is of one domain, as nearly all are: then one table does for all of it."""
    return len(domain) > 0 and bool((domain == domain[0]).all())


def _turn(x: Tensor, grid: Tensor) -> Tensor:
    """Images (B, C, H, W) read at the places of a grid (B, H, W, 2)."""
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def image_shape(input_shape: tuple[int, ...], what: str) -> tuple[int, int, int]:
    """The shape (C, H, W) of one image.

    Raises:
        DataError: another number of axes.
    """
    if len(input_shape) != 3:
        raise DataError(
            f"inputs of a {what} scenario must be images of shape (C, H, W); got {input_shape}. "
            "Reshape the inputs, or use permuted, which takes any input."
        )
    return input_shape[0], input_shape[1], input_shape[2]
