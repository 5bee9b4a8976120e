"""Ways to learn from a stream. A method is a part in one file; a Learner composes parts."""

from __future__ import annotations

from clframe.strategies.build import Setup, build, stream_of
from clframe.strategies.ewc import EWC
from clframe.strategies.learner import Learner
from clframe.strategies.lwf import LwF
from clframe.strategies.part import Part, Recipe, View
from clframe.strategies.replay import Replay
from clframe.strategies.table import STRATEGIES

__all__ = ["EWC", "STRATEGIES", "Learner", "LwF", "Part", "Recipe", "Replay", "Setup", "View", "build", "stream_of"]
