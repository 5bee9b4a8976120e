"""Small data sets, each made once; every training sample's only feature is its id, so that batches can be traced."""

from __future__ import annotations

import numpy as np
import pytest

from clframe.data import Dataset, from_arrays


@pytest.fixture(scope="session")
def toy() -> Dataset:
    """Six classes of unequal size (9, 12, ... 24 training samples), shuffled."""
    rng = np.random.default_rng(7)
    y = rng.permutation(np.repeat(np.arange(6), [9, 12, 15, 18, 21, 24]))
    y_test = rng.permutation(np.repeat(np.arange(6), 4))
    return from_arrays(
        np.arange(len(y), dtype=np.float32)[:, None], y, np.arange(24, dtype=np.float32)[:, None], y_test, name="toy"
    )


@pytest.fixture(scope="session")
def images() -> Dataset:
    """Colour images 3x6x6, two classes."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8)
    return from_arrays(x, np.arange(40) % 2, x[:10], np.arange(10) % 2, name="images")


@pytest.fixture(scope="session")
def days() -> Dataset:
    """A data set whose rows say on which day they came."""
    x, day = np.arange(30, dtype=np.float32)[:, None], np.repeat(["mon", "tue", "wed"], [6, 9, 15])
    test_day = np.repeat(["mon", "tue", "wed"], 2)
    y, y_test = np.arange(30) % 2, np.arange(6) % 2
    return from_arrays(x, y, x[:6], y_test, name="days", columns={"day": day}, columns_test={"day": test_day})
