"""Protocols: tuning and evaluation as separate phases on separate data."""

from __future__ import annotations

from clframe.eval.protocol.cases import Entry, Trial
from clframe.eval.protocol.conduct import conduct
from clframe.eval.protocol.frozen import Setting
from clframe.eval.protocol.lookup import settings_for
from clframe.eval.protocol.outcome import Group, Line, groups
from clframe.eval.protocol.protocols import Place, Protocol, Streams
from clframe.eval.protocol.study import Study, parse_study, read

__all__ = [
    "Entry",
    "Group",
    "Line",
    "Place",
    "Protocol",
    "Setting",
    "Streams",
    "Study",
    "Trial",
    "conduct",
    "groups",
    "parse_study",
    "read",
    "settings_for",
]
