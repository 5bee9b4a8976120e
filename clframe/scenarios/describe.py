"""What a stream holds: as plain data, as a table, as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from clframe.scenarios.stream import Stream
from clframe.types import Ids

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from rich.table import Table

MOST_ROWS = 24
MOST_IMAGES = 10
IMAGES_EACH = 3
MOST_LABELS = 25
MOST_BOUNDARIES = 60
MOST_COLUMNS = 400


def describe(stream: Stream) -> dict[str, Any]:
    """Everything about a stream as plain data: sizes, classes and tasks of the experiences, and what is revealed.

    Example:
        >>> from clframe.scenarios import class_incremental
        >>> plain = describe(class_incremental("digits", class_order="sorted"))
        >>> plain["experiences"][0]
        {'index': 0, 'task': 0, 'train': 288, 'validation': 0, 'test': 72, 'classes': [0, 1]}
        >>> plain["reveals"]
        ['boundaries', 'classes']
    """
    held = [len(ids) for ids in stream.validation] or [0] * len(stream)
    return {
        "name": stream.name,
        "data": stream.data.name,
        "num_classes": stream.num_classes,
        "class_names": list(stream.data.train.class_names),
        "input_shape": list(stream.data.train.input_shape),
        "reveals": sorted(stream.reveals.names()),
        "order": type(stream.order).__name__,
        "online": stream.online,
        "seed": stream.seed,
        "fingerprint": stream.fingerprint(),
        "experiences": [
            {
                "index": e.index,
                "task": e.task,
                "train": len(stream.segments[e.index]),
                "validation": held[e.index],
                stream.tested_on if stream.tested_on != "validation" else "test": len(e.test),
                "classes": list(e.classes),
            }
            for e in stream.experiences
        ],
        **({} if stream.curation is None else {"curation": dict(stream.curation.facts)}),
    }


def table(stream: Stream) -> Table:
    """One row an experience (the middle of a long stream is left out), and below what a learner may know.

    Example:
        >>> from clframe.scenarios import data_incremental
        >>> table(data_incremental("digits", experiences=1000)).row_count
        21
    """
    from rich.table import Table

    plain = describe(stream)
    rows = plain["experiences"]
    size = " x ".join(map(str, plain["input_shape"]))
    title = f"{stream.name}: {len(rows):,} experience{'s' * (len(rows) != 1)} of {stream.data.name} ({size})"
    hidden = sorted({"task_train", "task_test", "boundaries", "classes"} - stream.reveals.names())
    known = f"Revealed: {', '.join(plain['reveals']) or 'nothing'}. Hidden: {', '.join(hidden) or 'nothing'}."
    once = (" Each sample comes once." if stream.online else "") + ("" if stream.curation is None else f" {stream.curation}.")
    shown = Table(title=title, caption=known + once, title_justify="left", caption_justify="left", min_width=min(len(title), 78))
    columns = ["train", *(["validation"] if stream.validation else []), "test", *(["task"] if stream.tasks is not None else [])]
    for name in ("experience", *columns):
        shown.add_column(name, justify="right")
    shown.add_column("classes")
    long = len(rows) > MOST_ROWS
    names = plain["class_names"] if max(len(row["classes"]) for row in rows) <= 6 else ()
    for row in [*rows[:10], None, *rows[-10:]] if long else rows:
        if row is None:
            shown.add_row(*["..."] * (len(columns) + 2))
        else:
            classes = short_classes(row["classes"], names)
            shown.add_row(str(row["index"]), *(f"{row[c]:,}" for c in columns), classes)
    return shown


def html(stream: Stream) -> str:
    """For notebooks: the table as text, and the picture below it.

    Example:
        >>> from clframe.scenarios import class_incremental
        >>> "<svg" in html(class_incremental("digits"))
        True
    """
    import io
    from html import escape

    from rich.console import Console

    console = Console(file=io.StringIO(), record=True, width=110)
    console.print(table(stream))
    drawn = io.StringIO()
    figure(stream).savefig(drawn, format="svg", bbox_inches="tight")
    picture = drawn.getvalue()
    return f'<pre style="line-height:1.1">{escape(console.export_text())}</pre>{picture[picture.index("<svg") :]}'


def short_classes(classes: Sequence[int], names: Sequence[str] = ()) -> str:
    """Classes in a few words: by name where names are given, else by number, with runs drawn together.

    Example:
        >>> short_classes([0, 1, 2, 7]), short_classes([0, 1], ["ant", "bee"]), short_classes(range(0, 100, 2))
        ('0-2, 7', 'ant, bee', '50 classes')
    """
    if names:
        return ", ".join(names[c] for c in classes)
    runs: list[list[int]] = []
    for c in classes:
        if runs and c == runs[-1][1] + 1:
            runs[-1][1] = c
        else:
            runs.append([c, c])
    words = [str(a) if a == b else f"{a}-{b}" if b > a + 1 else f"{a}, {b}" for a, b in runs]
    return ", ".join(words) if len(words) <= 10 else f"{len(classes)} classes"


def figure(stream: Stream) -> Figure:
    """The share of each class over the course of the stream, with its boundaries, and samples of its experiences.

    The walk is that of `stream` as it is: its batch size and epochs give the axis of updates.
    """
    from matplotlib.figure import Figure

    shape = stream.data.train.input_shape
    images = len(shape) == 3 and shape[0] in (1, 3)
    tall = min(2.2 + 0.28 * stream.num_classes, 5.5)
    strip = 0.72 * IMAGES_EACH + 0.5 if images else 0.0
    drawn = Figure(figsize=(9.0, tall + strip), layout="constrained")
    if not images:
        _shares(drawn.add_subplot(), stream)
        return drawn
    halves = drawn.subfigures(2, 1, squeeze=False, height_ratios=[tall, strip])
    _shares(halves[0, 0].subplots(), stream)
    _images(halves[1, 0], stream)
    return drawn


def class_shares(stream: Stream) -> tuple[Ids, npt.NDArray[np.float64]]:
    """How the classes share the stream: edges of its stretches (M+1,), in updates, and shares in each (C, M), which sum to 1.

    A stretch lies within one experience (where there are not too many) and is long enough to be more than noise.

    Example:
        >>> from clframe.scenarios import class_incremental
        >>> edges, shares = class_shares(class_incremental("digits", class_order="sorted"))
        >>> int(edges[-1]), shares.argmax(axis=0)[[0, -1]] // 2
        (46, array([0, 4]))
    """
    y, edges = stream.data.train.y, _edges(stream)
    counts = np.zeros((len(edges) - 1, stream.num_classes))
    for k in range(len(stream)):
        reached = stream.starts[k]
        for epoch, iterations in enumerate(stream.iterations(k)):
            ids = stream.order.ids(stream.segments, k, epoch, stream.epochs, stream.seed)
            update = reached + np.arange(len(ids)) // stream.batch_size
            np.add.at(counts, (np.searchsorted(edges, update, side="right") - 1, y[ids]), 1.0)
            reached += iterations
    shares: npt.NDArray[np.float64] = (counts / counts.sum(axis=1, keepdims=True)).T
    return edges, shares


def _edges(stream: Stream) -> Ids:
    """Where the stretches of `class_shares` begin, in updates, and where the last one ends."""
    total = stream.starts[-1]
    few = stream.experiences[:: max(1, len(stream) // 20)]
    classes = sum(len(e.classes) for e in few) / len(few)
    columns = min(MOST_COLUMNS, total, max(1, round(total * stream.batch_size / max(50.0, 30 * classes))))
    if len(stream) > MOST_BOUNDARIES:
        return np.unique(np.linspace(0, total, columns + 1).round().astype(np.int64))
    edges = [0]
    for low, high in itertools.pairwise(stream.starts):
        parts = max(1, round(columns * (high - low) / total))
        edges += [low + (high - low) * (part + 1) // parts for part in range(parts)]
    return np.unique(np.array(edges, dtype=np.int64))


def _shares(axes: Axes, stream: Stream) -> None:
    """The heat map: classes by the middle of their appearance, over updates."""
    names = stream.data.train.class_names
    edges, shares = class_shares(stream)
    length = shares * np.diff(edges)
    middle = length @ (edges[:-1] + edges[1:]) / 2 / np.maximum(length.sum(axis=1), 1e-12)
    moving = bool(np.ptp(middle) > 0.1 * edges[-1])
    rows = np.argsort(middle.round(6), kind="stable") if moving else np.arange(len(names))
    picture = axes.pcolormesh(edges, np.arange(len(names) + 1) - 0.5, shares[rows], cmap="Blues", vmin=0.0)
    axes.invert_yaxis()
    if len(names) <= MOST_LABELS:
        axes.set_yticks(range(len(names)), [_short(names[c]) for c in rows], fontsize=8)
        axes.set_ylabel("class")
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(names)} classes{', in order of appearance' if moving else ''}")
    if len(stream) <= MOST_BOUNDARIES:
        for n in stream.starts[1:-1]:
            axes.axvline(n, color="black", linewidth=0.8, linestyle="-" if stream.reveals.boundaries else ":")
    axes.set_xlabel(f"update (batches of {stream.batch_size}, {stream.epochs} epoch{'s' * (stream.epochs != 1)})")
    hidden = "" if stream.reveals.boundaries else ", boundaries hidden"
    count = f"{len(stream):,} experience{'s' * (len(stream) != 1)}"
    axes.set_title(f"{stream.name}: {count}{hidden}", fontsize=11, loc="left")
    axes.figure.colorbar(picture, ax=axes, label="share of samples", pad=0.01)


def _images(strip: SubFigure, stream: Stream) -> None:
    """A column of samples for each of a few experiences, all on one scale of brightness."""
    shown = np.unique(np.linspace(0, len(stream) - 1, min(len(stream), MOST_IMAGES)).round().astype(int))
    grid = strip.subplots(IMAGES_EACH, len(shown), squeeze=False)
    chosen = [_samples(stream, int(k)) for k in shown]
    x = stream.data.train.fetch(torch.from_numpy(np.concatenate(chosen))).cpu().numpy()
    low, high = np.quantile(x, [0.001, 0.999])
    x = ((x - low) / max(high - low, 1e-12)).clip(0, 1).transpose(0, 2, 3, 1)
    places = np.cumsum([0, *map(len, chosen)])
    for column, k in enumerate(shown):
        for row in range(IMAGES_EACH):
            axes = grid[row, column]
            axes.set_axis_off()
            if row < len(chosen[column]):
                image = x[places[column] + row]
                axes.imshow(image[:, :, 0] if image.shape[2] == 1 else image, cmap="gray", vmin=0, vmax=1)
        grid[0, column].set_title(f"{'experience ' if column == 0 else ''}{k}", fontsize=8)


def _samples(stream: Stream, k: int) -> npt.NDArray[np.int64]:
    """A few ids of an experience, spread over its classes."""
    ids = stream.segments[k]
    ids = ids[np.argsort(stream.data.train.y[ids], kind="stable")]
    picked: npt.NDArray[np.int64] = ids[np.unique(((np.arange(IMAGES_EACH) + 0.5) / IMAGES_EACH * len(ids)).astype(int))]
    return picked


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:14] + "..."
