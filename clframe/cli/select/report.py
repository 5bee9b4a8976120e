"""`clframe select report`: one HTML file about a coreset."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clframe.cli.parsing import parse, parser, progress
from clframe.cli.select.data import announce, data_options, pool_named
from clframe.errors import OptionError, bad_option

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from clframe.eval.report.coreset import View
    from clframe.selection import Coreset, Pool

VIEWS = ("image_column", "text_column", "shape")


def main(arguments: Sequence[str]) -> int:
    """Write it."""
    given = parse(_options(), arguments)
    _check(given)

    from clframe.eval.report.coreset import coreset_report
    from clframe.selection import load
    from clframe.selection.trial import COMPARISON

    coreset, pool = load(given.folder), None
    if given.data:
        pool = _pool(given, coreset)
    beside = Path(given.folder) / COMPARISON
    compared = given.compare or (beside if beside.exists() else None)
    out = given.out or Path(given.folder) / "report.html"
    source = _source(given) if pool else ""
    with progress() as tell:
        place = coreset_report(
            coreset, pool, out, compared=compared, view=_view(given), k=given.k, source=source, folder=given.folder, tell=tell
        )
    print(f"report: {place}")
    return 0


def _options() -> ArgumentParser:
    made = parser("select report", "Write one HTML file about the coreset in DIR: what it says, what it covers, what was chosen.")
    made.add_argument("folder", type=str, metavar="DIR", help="the folder of a coreset")
    data_options(made, optional="what it was chosen from; without it the page has no coverage, no map and no samples")
    made.add_argument(
        "--compare",
        type=str | None,
        default=None,
        help="what clframe select compare --out wrote; by default DIR/compare.json if there",
    )
    made.add_argument(
        "--image_column",
        type=str | None,
        default=None,
        help="show samples as pictures: a column of them, or a .npy file beside .npy data",
    )
    made.add_argument(
        "--text_column",
        type=str | None,
        default=None,
        help="show samples as texts: a column of them, or a .npy file beside .npy data",
    )
    made.add_argument("--shape", type=str | None, default=None, help="show embeddings as pictures of this shape: 28x28 or 32x32x3")
    made.add_argument("--out", type=str | None, default=None, help="the HTML file; DIR/report.html by default")
    return made


def _check(given: Namespace) -> None:
    views = [f"--{name.replace('_', '-')}" for name in VIEWS if given[name] is not None]
    if len(views) > 1:
        raise bad_option("view of samples", "one of --image-column, --text-column and --shape", " and ".join(views), "Give one.")
    if views and not given.data:
        raise OptionError(f"{views[0]} must come with the data that the coreset was chosen from; got none. Name it after DIR.")


def _pool(given: Namespace, coreset: Coreset) -> Pool:
    from clframe.eval.report import coreset_words as words
    from clframe.eval.report.coreset import check
    from clframe.eval.report.coreset_sections import cells_of
    from clframe.selection.methods import METHODS

    methods = [words.written(coreset)] if coreset.manifest["method"] in METHODS else []
    pool = pool_named(given, *methods, size=words.asked(coreset), needed=False)
    check(coreset, pool)
    announce(pool, cells_of(coreset, given.k))
    return pool


def _view(given: Namespace) -> View | None:
    from clframe.eval.report.coreset_files import view_of_files

    if not given.data:
        return None
    return view_of_files(given.data, images=given.image_column, texts=given.text_column, shape=given.shape)


def _source(given: Namespace) -> str:
    """Data and columns as they were given, for a shell."""
    words = list(given.data)
    usual = {"embedding": "embedding", "columns": ""}
    for name in ("embedding", "loss", "proxy", "label", "id", "columns"):
        if given[name] is not None and given[name] != usual.get(name):
            words += [f"--{name}", given[name]]
    return shlex.join(words)
