"""What a study looks like on a page."""

from __future__ import annotations

from clframe.eval.protocol.report.page import write

__all__ = ["write"]
