"""Models: a backbone that makes features and a head that scores classes. Backbones are imported when used."""

from clframe.models.build import MODELS, build
from clframe.models.flops import ModelCost, cost
from clframe.models.ghost import GhostBatchNorm1d, GhostBatchNorm2d, with_ghost_norm
from clframe.models.head import HEADS, Head, NoHead
from clframe.models.network import Network

__all__ = [
    "HEADS",
    "MODELS",
    "GhostBatchNorm1d",
    "GhostBatchNorm2d",
    "Head",
    "ModelCost",
    "Network",
    "NoHead",
    "build",
    "cost",
    "with_ghost_norm",
]
