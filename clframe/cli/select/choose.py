"""`clframe select DATA`: choose a weighted subset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clframe.cli.parsing import parse, parser, progress
from clframe.cli.select.data import announce, cells_named, data_options, job_options, pool_named
from clframe.cli.select.printed import print_coreset


def main(arguments: Sequence[str]) -> int:
    """Choose, say what it says of the mean loss, and write it."""
    made = parser(
        "select",
        "Choose a weighted subset of DATA. Actions beside it: clframe select compare|dedup|inspect|materialize|report --help",
    )
    data_options(made)
    made.add_argument("--size", type=str, required=True, help="rows to choose: 1000, '10 %', or '2e6 tokens' by a column")
    made.add_argument(
        "--method", type=str, default="auto", help="auto, uniform, stratified, ...; options as in 'stratified(by=label)'"
    )
    made.add_argument(
        "--out", type=str | None, default=None, help="folder for coreset.parquet and manifest.json; coreset by default"
    )
    job_options(made, "make the cells")
    made.add_argument(
        "--kmeans", type=str, default="", help="more about the cells: 'trainer=lloyd,levels=2,search=ivf,balanced=2,spherical=true'"
    )
    made.add_argument("--json", type=bool, default=False, help="print the manifest as JSON")
    given = parse(made, arguments)

    from clframe.selection import select
    from clframe.selection.budget import size_of
    from clframe.selection.selecting import checked

    out = Path(given.out or "coreset")
    work = given.work or out.with_name(f"{out.name}.work")
    where = {"seed": given.seed, "kmeans": cells_named(given.kmeans, given.k), "executor": given.executor, "jobs": given.jobs}
    pool = pool_named(given, given.method, size=given.size)
    size = size_of(given.size, pool)
    checked(pool, size, given.method, work=work, **where)
    announce(pool, where["kmeans"], given.jobs)
    with progress() as tell:
        coreset = select(pool, size, given.method, work=work, tell=tell, **where)
    place = coreset.save(out)
    if given.json:
        print((place / "manifest.json").read_text(), end="")
        return 0
    print_coreset(coreset)
    print(f"written: {place / 'coreset.parquet'}, {place / 'manifest.json'}")
    return 0
