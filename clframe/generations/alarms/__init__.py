"""Alarms of collapse: what tells that generated data is worse, narrower or less new than real data."""

from __future__ import annotations

from clframe.generations.alarms.alarm import Alarm
from clframe.generations.alarms.checking import Checked, check
from clframe.generations.alarms.data import Data
from clframe.generations.alarms.thresholds import Thresholds

__all__ = ["Alarm", "Checked", "Data", "Thresholds", "check"]
