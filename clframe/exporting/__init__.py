"""One task of a finished run as a model that needs neither clframe nor the other tasks."""

from __future__ import annotations

from clframe.exporting.exported import Exported, Row
from clframe.exporting.restored import Restored, restored
from clframe.exporting.write import export

__all__ = ["Exported", "Restored", "Row", "export", "restored"]
