"""What is chosen from: embeddings, ids and columns of any size, read in blocks."""

from clframe.selection.pool.pool import Block, Pool, open_pool, pool_of
from clframe.selection.pool.spooling import embed, spool
from clframe.selection.pool.table import pool_of_dataset
from clframe.selection.pool.vectors import InMemory, Vectors

__all__ = ["Block", "InMemory", "Pool", "Vectors", "embed", "open_pool", "pool_of", "pool_of_dataset", "spool"]
