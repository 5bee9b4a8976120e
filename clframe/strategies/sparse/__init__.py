"""Sparse networks: how many weights each layer keeps, how they are exchanged, and a subnet of its own for every task."""

from __future__ import annotations

from clframe.strategies.sparse.dst import DST
from clframe.strategies.sparse.evolving import Evolving
from clframe.strategies.sparse.packnet import PackNet
from clframe.strategies.sparse.spacenet import SpaceNet
from clframe.strategies.sparse.wsn import WSN

__all__ = ["DST", "WSN", "Evolving", "PackNet", "SpaceNet"]
