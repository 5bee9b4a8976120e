"""The report of a coreset: one HTML file that opens offline, with the answer first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clframe.errors import DataError, RunError
from clframe.eval.report import coreset_sections as sections
from clframe.eval.report import coreset_words as words
from clframe.eval.report import html, style
from clframe.eval.report.coreset_map import COLOURS
from clframe.eval.report.coreset_samples import View, extremes
from clframe.eval.report.coreset_sections import Shown, Tell
from clframe.selection.coverage import classes
from clframe.selection.methods.auto_words import described

if TYPE_CHECKING:
    from clframe.selection import Coreset, Pool
    from clframe.selection.trial import Comparison


def coreset_report(
    coreset: Coreset,
    pool: Pool | None = None,
    path: str | Path = "report.html",
    *,
    compared: Comparison | str | Path | None = None,
    view: View | None = None,
    k: int = 0,
    source: str = "",
    folder: str | Path = "coreset",
    tell: Tell | None = None,
) -> Path:
    """Write the report of a coreset: what it says, how it covers the pool, what was chosen, and where it came from.

    The pool is read in blocks: once to find the cells, and a few thousand rows for the map.

    Args:
        coreset: see `clframe.selection.select` and `load`.
        pool: what it was chosen from. Without it the page has no coverage, no map and no samples, and says so.
        path: the file; its directory is made.
        compared: what `clframe select compare --out` wrote: size against error, beside uniform.
        view: how samples are shown: View(images=...), View(texts=...), View(shape=(28, 28)); by default the first of their numbers.
        k: cells of the coverage; 0: as many as the choice was made with, or the usual number.
        source: data and columns as they are given on the command line, for the command that makes the coreset again.
        folder: where the coreset is, for that command.
        tell: progress.

    Returns:
        The path.

    Raises:
        DataError: the pool is not the one that the coreset was chosen from; what is shown of samples cannot be shown.
        OptionError: a shape of another number of numbers; a comparison with fewer than 5 repeats.
        RunError: the file cannot be written.

    Example:
        >>> from tempfile import mkdtemp
        >>> from clframe.selection import pool_of, select
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(400, 4))
        >>> pool = pool_of(x, loss=np.exp(x[:, 0]))
        >>> page = coreset_report(select(pool, 50, seed=0), pool, Path(mkdtemp()) / "report.html")
        >>> "50 of 400 rows of pool" in page.read_text()
        True
    """
    from clframe.selection.trial import Comparison

    found = Comparison.read(compared) if isinstance(compared, str | Path) else compared
    page = render(coreset, Shown(pool, found, view or View(), k, source, str(folder), tell))
    try:
        return html.save(page, path)
    except OSError as error:
        raise RunError(f"{path} must be a file that can be written; got {error}. Give another --out.") from error


def render(coreset: Coreset, shown: Shown) -> str:
    """The page as text: the same coreset, data and options give the same bytes.

    Raises:
        DataError, OptionError: see `coreset_report`.
    """
    pool = shown.pool
    if pool is not None:
        check(coreset, pool)
    remarks, warned = words.checked(coreset, pool) if pool is not None else ([], [])
    dark = style.dark_colours(1) | COLOURS
    return html.template("coreset.html").render(
        title=f"{words.title(coreset)} by {coreset.manifest['method']}",
        dark=dark,
        answer=[*words.answer(coreset), *remarks],
        notices=[*warned, *words.warnings(coreset), *sections.elsewhere(coreset, shown.compared)],
        candidates=words.candidates(coreset),
        pilot=coreset.manifest["facts"].get("pilot"),
        usual=described(coreset.manifest["facts"].get("beside", "uniform")),
        pareto=sections.pareto(coreset, shown.compared, dark),
        covered=list(sections.covered(coreset, shown, dark)),
        unshown=classes(pool)[1] if pool is not None else [],
        has_pool=pool is not None,
        map=sections.mapped(coreset, pool, dark) if pool is not None else None,
        weights=sections.weighted(coreset, dark),
        samples=extremes(coreset, pool, shown.view) if pool is not None else [],
        lineage=sections.lineage(coreset),
        facts=sections.facts(coreset),
        command=words.command(coreset, shown.source, shown.folder),
        guessed=not shown.source,
        key=coreset.manifest["key"][:12],
    )


def check(coreset: Coreset, pool: Pool) -> None:
    """Refuse a pool that the coreset was not chosen from.

    Raises:
        DataError: other rows, other numbers in a row, or other ids.
    """
    n, d = coreset.manifest["pool"]["rows"], coreset.manifest["pool"]["shape"][1]
    for what, wanted, got in (("rows", n, pool.n), ("numbers in a row", d, pool.d)):
        if wanted != got:
            raise DataError(
                f"{pool.name} must have the {wanted:,} {what} that the coreset was chosen from; got {got:,}. Name the same data."
            )
    for row, own, other in zip(coreset.rows.tolist(), coreset.ids.tolist(), pool.id_of(coreset.rows).tolist(), strict=True):
        if own != other:
            raise DataError(
                f"{pool.name} must have id {own!r} in row {row:,}, as the coreset has; got {other!r}. "
                "Give the same data, and --id as it was given then."
            )


__all__ = ["Shown", "View", "check", "coreset_report", "render"]
