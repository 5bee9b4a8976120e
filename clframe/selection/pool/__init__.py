"""What is chosen from: embeddings, ids and columns of any size, read in blocks."""

from clframe.selection.pool.pool import Block, Pool, open_pool, pool_of
from clframe.selection.pool.vectors import InMemory, Vectors

__all__ = ["Block", "InMemory", "Pool", "Vectors", "open_pool", "pool_of"]
