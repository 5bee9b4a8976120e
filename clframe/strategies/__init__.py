"""Ways to learn from a stream. A method is a part in one file; a Learner composes parts."""

from __future__ import annotations

from clframe.strategies.agem import AGEM
from clframe.strategies.bic import BiC
from clframe.strategies.build import Setup, build, stream_of
from clframe.strategies.der import DER
from clframe.strategies.ema import EMA
from clframe.strategies.er_ace import ERACE
from clframe.strategies.ewc import EWC
from clframe.strategies.feature_distillation import FeatureDistillation
from clframe.strategies.fecam import FeCAM
from clframe.strategies.fetril import FeTrIL
from clframe.strategies.gdumb import GDumb
from clframe.strategies.gem import GEM
from clframe.strategies.generative_replay import GenerativeReplay
from clframe.strategies.gradient_projection import GradientProjection
from clframe.strategies.hat import HAT
from clframe.strategies.icarl import ICaRL
from clframe.strategies.learner import Learner
from clframe.strategies.lwf import LwF
from clframe.strategies.mas import MAS
from clframe.strategies.mir import MIR
from clframe.strategies.nap import NaP
from clframe.strategies.ncm import NCM
from clframe.strategies.nearest_mean import NearestMean
from clframe.strategies.part import Part, Recipe, View
from clframe.strategies.prd import PRD
from clframe.strategies.progressive import Progressive
from clframe.strategies.ranpac import RanPAC
from clframe.strategies.replay import Replay
from clframe.strategies.rwalk import RWalk
from clframe.strategies.si import SI
from clframe.strategies.slda import SLDA
from clframe.strategies.table import STRATEGIES

__all__ = [
    "AGEM",
    "DER",
    "EMA",
    "ERACE",
    "EWC",
    "GEM",
    "HAT",
    "MAS",
    "MIR",
    "NCM",
    "PRD",
    "SI",
    "SLDA",
    "STRATEGIES",
    "BiC",
    "FeCAM",
    "FeTrIL",
    "FeatureDistillation",
    "GDumb",
    "GenerativeReplay",
    "GradientProjection",
    "ICaRL",
    "Learner",
    "LwF",
    "NaP",
    "NearestMean",
    "Part",
    "Progressive",
    "RWalk",
    "RanPAC",
    "Recipe",
    "Replay",
    "Setup",
    "View",
    "build",
    "stream_of",
]
