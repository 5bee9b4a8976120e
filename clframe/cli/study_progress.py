"""A live view of a study: how much is done, how long it takes, what is going on, the best so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clframe.eval.protocol.standing import Standing

SHOWN = 4
"""Tasks that are shown at once."""


@contextmanager
def study_progress(quiet: bool = False) -> Iterator[Callable[[Standing], None] | None]:
    """A view that is redrawn a few times a second on a terminal; nothing when piped."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.live import Live

    with Live(console=console, transient=True, auto_refresh=False) as live:
        drawn = 0.0

        def tell(standing: Standing) -> None:
            nonlocal drawn
            now = time.monotonic()
            if now - drawn >= 0.2:
                drawn = now
                live.update(view(standing), refresh=True)

        yield tell


def view(standing: Standing) -> RenderableType:
    """The bar, the tasks that are being done, and the best score of every method in the tuning phase."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    share = standing.done / max(standing.total, 1)
    head = Table.grid(padding=(0, 1))
    head.add_row(
        standing.now, ProgressBar(total=1.0, completed=min(share, 1.0), width=30), f"{share:.0%}", _left(standing.seconds_left)
    )
    body = Table.grid(padding=(0, 2))
    for name, part in list(standing.going.items())[-SHOWN:]:
        body.add_row(Text(name, overflow="ellipsis", no_wrap=True), f"{part:.0%}")
    found: list[RenderableType] = [head, Text(f"{standing.runs} run{'s' * (standing.runs != 1)} ended"), body]
    if standing.best:
        best = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in ("best so far in the tuning phase", "protocol", "score"):
            best.add_column(column)
        for (scenario, protocol, method), score in standing.best.items():
            best.add_row(f"{method} on {scenario}", protocol, f"{score:.3f}")
        found.append(best)
    return Group(*found)


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} left" if hours else f"{minutes}:{rest:02d} left"
