"""Domain-incremental streams: the classes stay, the inputs change from experience to experience."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clframe.data import Dataset
from clframe.errors import OptionError, bad_option
from clframe.scenarios.build import dataset, held_out
from clframe.scenarios.domain_transforms import ColourShift, Permutation, Rotation
from clframe.scenarios.domains import DomainTransform, with_domains
from clframe.scenarios.from_table import from_table
from clframe.scenarios.joined import Joined
from clframe.scenarios.shares import count, held_rows, rows_of_domains
from clframe.scenarios.stream import Stream
from clframe.types import Reveals


def permuted(
    data: Dataset | str = "digits",
    *,
    experiences: int = 5,
    samples_per_experience: int | Sequence[int] | None = None,
    disjoint: bool = False,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "permuted",
) -> Stream:
    """Every experience sees the pixels in a random order of its own; the first sees them as they are.

    Args:
        data: a data set or the name of one; any input shape. Channels of a pixel stay together.
        experiences: number of domains.
        samples_per_experience: a random share of the training rows in each domain, one number or one a domain; None for all.
        disjoint: deal the training rows out, so that no row comes in two domains. The test rows come in all domains.
        validation: share of the training rows held out, stratified by class; a held-out row is trained on in no domain.
        seed: root of the permutations, the shares and the order of samples.
        name: name in reports.

    Raises:
        OptionError: fewer rows than asked for.

    Example:
        >>> stream = permuted("digits", experiences=3, samples_per_experience=100)
        >>> [len(ids) for ids in stream.segments], int(stream.segments[1].min()) >= 1438
        ([100, 100, 100], True)

    Reference: Goodfellow et al., "An empirical investigation of catastrophic forgetting", 2013.
    """
    data = dataset(data)
    transform = Permutation.drawn(data.train.input_shape, domains=count("experiences", experiences), seed=seed)
    return _repeated(name, data, transform, samples_per_experience, disjoint, validation, seed)


def rotated(
    data: Dataset | str = "digits",
    *,
    angles: Sequence[float] | None = None,
    step: float | None = None,
    experiences: int = 5,
    samples_per_experience: int | Sequence[int] | None = None,
    disjoint: bool = False,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "rotated",
) -> Stream:
    """Every experience sees the images turned by an angle, counter-clockwise.

    Args:
        data: a data set of images or the name of one.
        angles: one a domain, in degrees.
        step: instead of `angles`: 0, step, 2 step, ... for `experiences` domains.
        experiences: number of domains where `step` is given.
        samples_per_experience, disjoint, validation, seed, name: as in `permuted`.

    Raises:
        OptionError: neither or both of `angles` and `step`.
        DataError: inputs that are no images.

    Example:
        >>> len(rotated("digits", angles=[0, 30, 60]).segments)
        3

    Reference: Lopez-Paz, Ranzato, "Gradient episodic memory for continual learning", 2017 (there: 20 angles in [0, 180]).

    Differences:
        1. Corners that come into view continue the edge; published code fills them with zeros of its own normalisation.
    """
    if (angles is None) == (step is None):
        found = "neither" if angles is None else "both"
        raise OptionError(f"one of angles and step must be given; got {found}. Give angles=[0, 30, 60] or step=30.")
    if angles is None and step is not None:
        angles = [k * step for k in range(count("experiences", experiences))]
    data, angles = dataset(data), list(angles or ())
    if not angles or not np.isfinite(angles).all():
        raise bad_option("angles", "at least one finite number of degrees", angles, "Give angles=[0, 30, 60].")
    transform = Rotation(data.train.input_shape, angles)
    return _repeated(name, data, transform, samples_per_experience, disjoint, validation, seed)


def colour(
    data: Dataset | str = "digits",
    *,
    experiences: int = 5,
    strength: float = 0.5,
    samples_per_experience: int | Sequence[int] | None = None,
    disjoint: bool = False,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "colour",
) -> Stream:
    """Every experience sees the images with a contrast, brightness and colour cast of its own; the first as they are.

    out_c = exp(s u) x_c + s (v + w_c), with s = `strength` and u, v, w_c uniform in [-1, 1], drawn once a domain; greyscale
    images have no cast (w = 0).

    Args:
        data: a data set of images or the name of one.
        experiences: number of domains.
        strength: s, in standard deviations of a channel; 0 changes nothing.
        samples_per_experience, disjoint, validation, seed, name: as in `permuted`.

    Raises:
        OptionError: a negative strength.
        DataError: inputs that are no images.

    Example:
        >>> len(colour("digits", experiences=3, strength=0.3))
        3
    """
    if not 0 <= strength < np.inf:
        raise bad_option("strength", "a number, 0 or more", strength, "Give strength=0.5.")
    data = dataset(data)
    shape = data.train.input_shape
    transform = ColourShift.drawn(shape, domains=count("experiences", experiences), strength=strength, seed=seed)
    return _repeated(name, data, transform, samples_per_experience, disjoint, validation, seed)


def domains(
    data: Sequence[Dataset | str] | Dataset | str,
    *,
    column: str = "experience",
    validation: float = 0.0,
    seed: int = 0,
    name: str = "domains",
) -> Stream:
    """Domains of your own: several data sets with the same classes, or one table whose column says the domain.

    Args:
        data: a list of data sets or names, one a domain in this order; or one data set with a column.
        column: the column of the one data set; see `from_table`.
        validation: share of each domain's training samples held out, stratified by class.
        seed: root of the validation split and of the order of samples.
        name: name in reports.

    Raises:
        DataError: domains with different classes or input shapes; a data set without the column.

    Example:
        >>> from clframe.data import load
        >>> digits = load("digits")
        >>> [len(ids) for ids in domains([digits, digits]).segments]
        [1438, 1438]
    """
    if isinstance(data, Dataset | str):
        return from_table(data, column=column, validation=validation, seed=seed, name=name)
    parts = [dataset(d) for d in data]
    train, test = Joined([d.train for d in parts]), Joined([d.test for d in parts])
    joined = Dataset(train.name, train, test, allow_missing=any(d.allow_missing for d in parts))
    segments = np.split(np.arange(len(train)), train.starts[1:-1])
    tests = np.split(np.arange(len(test)), test.starts[1:-1])
    segments, held = held_out(segments, train.y, validation, seed)
    return Stream(name, joined, segments, tests, Reveals(), tasks=range(len(parts)), validation=held, seed=seed)


def _repeated(
    name: str,
    data: Dataset,
    transform: DomainTransform,
    samples: int | Sequence[int] | None,
    disjoint: bool,
    validation: float,
    seed: int,
) -> Stream:
    """The rows of `data` in every domain of `transform`: training ids of domain d are d*N + row, test ids d*M + row."""
    size, test_size, number = len(data.train), len(data.test), len(transform)
    rows, held = held_rows(rows_of_domains(size, number, samples, disjoint, seed), data.train.y, validation, seed)
    return Stream(
        name,
        with_domains(data, transform),
        segments=[d * size + ids for d, ids in enumerate(rows)],
        tests=[np.arange(d * test_size, (d + 1) * test_size) for d in range(number)],
        reveals=Reveals(),
        tasks=range(number),
        validation=[d * size + ids for d, ids in enumerate(held)],
        seed=seed,
    )
