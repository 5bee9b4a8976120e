"""Samples to be looked at: images as a picture, texts as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from papers.figures import INK
from papers.measured import Cell
from papers.model_collapse.groups import POLICIES
from papers.study import Runs

WIDE = 4
"""Images side by side in a tile."""
TEXTS = 3
"""Texts of a generation."""
HEAD = """# Samples

Written by `python -m papers model_collapse`. Of each policy with seed {seed}, the first texts of the last generation, as they were
made; the first generation is the same for all. Three texts, each after its number. Images: [{images}]({images}).
"""


def write(runs: Runs, stem: Path) -> None:
    """STEM.png: rows of policies, columns of generations; STEM.md: texts of the first and of the last generation."""
    images = stem.with_suffix(".png")
    _gallery(_first_seed(runs["vae"]), images)
    stem.with_suffix(".md").write_text(page(_first_seed(runs["language"]), images.name), encoding="utf-8")


def _first_seed(cells: Sequence[Cell]) -> dict[str, Cell]:
    """The cells of the first seed, by the short name of the policy."""
    seed = min(cell.options["seed"] for cell in cells)
    here = {cell.options["policy"]: cell for cell in cells if cell.options["seed"] == seed}
    return {name: here[words] for name, words in POLICIES.items() if words in here}


def _gallery(cells: dict[str, Cell], path: Path) -> None:
    from matplotlib.figure import Figure

    columns = len(next(iter(cells.values())).found["samples"])
    fig = Figure(figsize=(0.4 + 1.45 * columns, 0.3 + 1.15 * len(cells)), layout="constrained", facecolor="white")
    for ax_row, (name, cell) in zip(fig.subplots(len(cells), columns, squeeze=False), cells.items(), strict=True):
        for n, (ax, images) in enumerate(zip(ax_row, cell.found["samples"], strict=True)):
            ax.imshow(tile(np.asarray(images)), cmap="gray_r", vmin=0, vmax=255)
            ax.set_xticks([])
            ax.set_yticks([])
            if ax_row[0] is ax:
                ax.set_ylabel(name.replace(", ", ",\n").replace("-", "-\n"), fontsize=8.5, color=INK)
            if name == next(iter(cells)):
                ax.set_title("real" if n == 0 else f"generation {n}", fontsize=9, color=INK)
    fig.savefig(path, dpi=110, metadata={"Software": None})


def tile(images: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Images (n, h, w) side by side, as many rows as there are whole ones."""
    whole = images[: len(images) // WIDE * WIDE]
    n, h, w = whole.shape
    return whole.reshape(n // WIDE, WIDE, h, w).swapaxes(1, 2).reshape(n // WIDE * h, WIDE * w)


def page(cells: dict[str, Cell], images: str) -> str:
    """The texts in Markdown."""
    first = next(iter(cells.values()))
    made = first.found["samples"]
    out = [HEAD.format(seed=first.options["seed"], images=images), _block("Real", made[0]), _block("Generation 1", made[1])]
    for name, cell in cells.items():
        texts = cell.found["samples"]
        out.append(_block(f"{name}, generation {len(texts) - 1}", texts[-1]))
    return "\n".join(out)


def _block(title: str, texts: Sequence[str]) -> str:
    """Texts as they are, indented; what cannot be printed is a question mark."""
    lines = [line for i, text in enumerate(texts[:TEXTS], 1) for line in (f"[{i}]", *text.splitlines())]
    shown = ["    " + "".join(c if c.isprintable() and c != "\ufffd" else "?" for c in line) for line in lines]
    return "\n".join([f"## {title}", "", *(line.rstrip() for line in shown), ""])
