"""Cells of a pool: k-means on a part of it, and every row to its nearest centre."""

from clframe.selection.clustering.cells import Clustering
from clframe.selection.clustering.kmeans import KMeans, cluster
from clframe.selection.clustering.nearest import assign

__all__ = ["Clustering", "KMeans", "assign", "cluster"]
