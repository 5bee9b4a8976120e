"""The data room: sources of labelled samples, and data sets by name.

>>> from clframe.data import load
>>> load("digits").num_classes
10
"""

from __future__ import annotations

from clframe.data.arrays import TensorSource, from_arrays
from clframe.data.catalog import load, names
from clframe.data.dataset import Dataset, Subset, column, of_classes, split_test
from clframe.data.folder import from_folder
from clframe.data.huggingface import from_huggingface
from clframe.data.lazy import LazySource
from clframe.data.memmap import from_memmap
from clframe.data.npz import from_npz
from clframe.data.table import from_table

__all__ = [
    "Dataset",
    "LazySource",
    "Subset",
    "TensorSource",
    "column",
    "from_arrays",
    "from_folder",
    "from_huggingface",
    "from_memmap",
    "from_npz",
    "from_table",
    "load",
    "names",
    "of_classes",
    "split_test",
]
