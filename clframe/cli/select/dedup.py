"""`clframe select dedup`: of samples that are nearly alike keep one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clframe.cli.parsing import parse, parser, progress
from clframe.cli.select.data import job_options
from clframe.errors import RunError, bad_option


def main(arguments: Sequence[str]) -> int:
    """Write which rows are kept, and which row each dropped one duplicates, for each threshold."""
    made = parser(
        "select dedup", "Of rows of DATA that are nearly alike keep one: semantic de-duplication within cells of k-means."
    )
    made.add_argument("data", type=str, nargs="+", metavar="DATA", help=".npy or .parquet files of embeddings, or a folder of them")
    made.add_argument("--embedding", type=str, default="embedding", help="column of the embeddings, in Parquet")
    made.add_argument("--id", type=str | None, default=None, help="ids: a column, or a .npy file; without them rows are numbered")
    made.add_argument("--threshold", type=str, default="0.05", help="1 - cosine below which two rows are alike; several: 0.01,0.05")
    made.add_argument("--keep", type=str, default="hard", help="hard (far from the centre of the cell), easy or random")
    made.add_argument("--k", type=int, default=0, help="cells; 0: by the number of rows")
    made.add_argument("--seed", type=int, default=0, help="root of all random numbers")
    made.add_argument("--out", type=str, default="duplicates", help="folder for one table a threshold: keep-EPS.parquet")
    job_options(made, "make the cells and compare the rows in them")
    given = parse(made, arguments)

    import numpy as np
    import pandas as pd

    from clframe.data.hashing import fingerprint
    from clframe.executors import executor
    from clframe.selection import open_pool
    from clframe.selection.deduplicate import deduplicate
    from clframe.selection.engine_folder import discard
    from clframe.selection.working import working

    try:
        thresholds = [float(t) for t in given.threshold.split(",")]
    except ValueError:
        raise bad_option("threshold", "numbers separated by commas", given.threshold, "Give --threshold 0.01,0.05.") from None
    pool = open_pool(given.data if len(given.data) > 1 else given.data[0], embedding=given.embedding, ids=given.id)
    place, rows = Path(given.out), np.arange(pool.n)
    work = Path(given.work or place.with_name(f"{place.name}.work"))
    key = fingerprint("duplicates", 1, pool.fingerprint(), thresholds, given.keep, given.seed, given.k)
    with progress() as tell, working(executor(given.executor, given.jobs), work, key, tell) as engine:
        found = deduplicate(pool, thresholds, given.keep, seed=given.seed, k=given.k, engine=engine)
    try:
        place.mkdir(parents=True, exist_ok=True)
        for eps, one in found.items():
            table = {"id": pool.id_of(rows), "original": pool.id_of(one.original)}
            part = place / f".keep-{eps:g}.parquet"
            pd.DataFrame({**table, "similarity": one.similarity, "kept": one.original == rows}).to_parquet(part, index=False)
            os.replace(part, place / f"keep-{eps:g}.parquet")
            print(f"threshold {eps:g}: {len(one.kept):,} of {pool.n:,} rows kept: {place / f'keep-{eps:g}.parquet'}")
    except OSError as error:
        raise RunError(f"{place} must be a folder that can be written; got {error}. Give another --out.") from error
    discard(work.resolve())
    return 0
