"""Protocols that choose along the stream: at every experience, from where the learner stands."""

from __future__ import annotations

from clframe.eval.protocol.along.scheduled import Schedule
from clframe.eval.protocol.along.walk import Tuned, TuningWalk

__all__ = ["Schedule", "Tuned", "TuningWalk"]
