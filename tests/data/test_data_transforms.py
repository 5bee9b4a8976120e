"""Augmentations: pure, seeded, and only what they say."""

from __future__ import annotations

import pytest
import torch

from clframe.data.transforms import crop_and_flip, random_crop, random_flip
from clframe.errors import OptionError

X = torch.arange(1.0, 5 * 2 * 6 * 7 + 1).reshape(5, 2, 6, 7)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_crop_is_a_window_of_the_padded_image() -> None:
    out = random_crop(X, seeded(), padding=2)
    padded = torch.nn.functional.pad(X, (2, 2, 2, 2))
    for image, source in zip(out, padded, strict=True):
        windows = [source[:, r : r + 6, c : c + 7] for r in range(5) for c in range(5)]
        assert any(torch.equal(image, w) for w in windows)


def test_crops_differ_between_images_and_reach_every_offset() -> None:
    ones = torch.ones(400, 1, 4, 4)
    kept = random_crop(ones, seeded(), padding=2).sum((1, 2, 3)).unique()
    assert kept.tolist() == [4.0, 6.0, 8.0, 9.0, 12.0, 16.0]


def test_flip_mirrors_some_images_whole() -> None:
    x = X.repeat(40, 1, 1, 1)
    out = random_flip(x, seeded())
    same = (out == x).flatten(1).all(1)
    mirrored = (out == x.flip(3)).flatten(1).all(1)
    assert bool((same ^ mirrored).all())
    assert 60 < int(mirrored.sum()) < 140
    assert torch.equal(random_flip(x, seeded(), p=0.0), x)


@pytest.mark.parametrize("transform", [random_crop, random_flip, crop_and_flip])
def test_pure_function_of_batch_and_generator(transform: object) -> None:
    assert callable(transform)
    before = X.clone()
    state = torch.get_rng_state()
    first, again, other = transform(X, seeded(1)), transform(X, seeded(1)), transform(X, seeded(7))
    assert torch.equal(X, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


def test_options() -> None:
    with pytest.raises(OptionError, match="padding must be at least 0"):
        random_crop(X, seeded(), padding=-1)
    with pytest.raises(OptionError, match=r"p must be in \[0, 1\]"):
        random_flip(X, seeded(), p=2.0)
