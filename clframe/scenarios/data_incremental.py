"""Data-incremental streams: the same distribution throughout, in chunks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clframe.data import Dataset
from clframe.errors import bad_option
from clframe.scenarios.build import dataset, held_out
from clframe.scenarios.shares import count, cut, equal_sizes
from clframe.scenarios.stream import Stream
from clframe.seeding import rng
from clframe.types import Reveals


def data_incremental(
    data: Dataset | str = "digits",
    *,
    experiences: int = 5,
    samples_per_experience: Sequence[int] | None = None,
    validation: float = 0.0,
    seed: int = 0,
    name: str = "data-incremental",
) -> Stream:
    """Random chunks of the data, every sample in one of them; every experience is tested on the whole test set.

    Args:
        data: a data set or the name of one.
        experiences: number of chunks, whose sizes differ by at most one.
        samples_per_experience: sizes of the chunks instead; samples beyond their sum are left out.
        validation: share of each chunk held out, stratified by class.
        seed: root of the chunks, the validation split and the order of samples.
        name: name in reports.

    Raises:
        OptionError: more experiences or samples than there are.

    Example:
        >>> stream = data_incremental("digits", experiences=1000)
        >>> len(stream), sum(len(ids) for ids in stream.segments)
        (1000, 1438)
    """
    data = dataset(data)
    total = len(data.train)
    if samples_per_experience is None:
        if count("experiences", experiences) > total:
            rule = f"from 1 to the number of training samples, {total}"
            raise bad_option("experiences", rule, experiences, "Every experience needs at least one sample.")
        sizes = equal_sizes(total, experiences)
    else:
        sizes = list(samples_per_experience)
        if min(sizes, default=0) < 1 or sum(sizes) > total:
            rule = f"positive sizes that add up to at most the number of training samples, {total}"
            raise bad_option("samples_per_experience", rule, sizes, f"They add up to {sum(sizes)}.")
    segments, held = held_out(cut(rng(seed, "chunks").permutation(total), sizes), data.train.y, validation, seed)
    everything = np.arange(len(data.test))
    return Stream(name, data, segments, [everything] * len(sizes), Reveals(), validation=held, seed=seed)
