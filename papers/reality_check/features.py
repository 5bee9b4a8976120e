"""CIFAR-100 features as a data set that clframe reads: `python -m papers.reality_check.features SOURCE.npz DIR`.

SOURCE.npz holds z_train (50,000, 128) and z_test (10,000, 128), int8, with `scale` (128,) and the labels: the images through an
ImageNet EfficientNet-Lite0 at 112 pixels, mean-pooled, reduced to 128 principal components. DIR/cifar100-features.npz gets them as
float32, z * scale.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def convert(source: str | Path, folder: str | Path) -> Path:
    """Write the data set."""
    held = np.load(source)
    arrays = {f"x_{part}": held[f"z_{part}"].astype(np.float32) * held["scale"] for part in ("train", "test")}
    target = Path(folder) / "cifar100-features.npz"
    np.savez(target, y_train=held["y_train"], y_test=held["y_test"], **arrays)
    return target


if __name__ == "__main__":
    print(convert(sys.argv[1], sys.argv[2]))
