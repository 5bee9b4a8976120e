"""`clframe pool add`: append files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from clframe.cli.parsing import parse, parser
from clframe.cli.pool.files import check_file, rows_of, values_of


def main(arguments: Sequence[str]) -> int:
    """Append each file as a shard, and print what it became."""
    made = parser(
        "pool add", "Append files to a pool, a shard for each. A shard that is there already with the same record is left."
    )
    made.add_argument("pool", type=str, metavar="POOL", help="the folder; made if it is not there")
    made.add_argument("files", type=str, nargs="+", metavar="FILE", help=".parquet, .npz, .npy, .jsonl, .csv or .txt")
    made.add_argument("--kind", type=str, required=True, help="real, synthetic or edited")
    made.add_argument("--generation", type=int | None, default=None, help="0 for real rows; else 1 + the largest of the parents")
    made.add_argument(
        "--parents", type=str, default="", help="ids that the model was trained on, separated by commas; all: every shard"
    )
    made.add_argument("--model", type=str | None, default=None, help="what made the rows: weights=HASH,config=HASH,code=COMMIT")
    made.add_argument("--sampler", type=str | None, default=None, help="its settings: temperature=0.8,top_p=0.9,seed=1")
    made.add_argument("--filter", type=str | None, default=None, help="rule=NAME,generated=ROWS,accepted=ROWS")
    made.add_argument("--licence", type=str | None, default=None, help="of the rows")
    made.add_argument("--embedding_model", type=str | None, default=None, help="what made the embeddings")
    made.add_argument("--shared_rows", type=bool, default=False, help="real rows may be equal to synthetic ones")
    made.add_argument("--json", type=bool, default=False, help="print the records as JSON")
    given = parse(made, arguments)

    from clframe.generations import Ledger

    for file in given.files:
        check_file(file)
    told: dict[str, Any] = {name: values_of(name, given[name]) for name in ("model", "sampler", "filter")}
    pool, records = Ledger(given.pool), []
    named = [p.strip() for p in given.parents.split(",") if p.strip()]
    parents = [r.id for r in pool.records()] if named == ["all"] else named
    options = {"kind": given.kind, "generation": given.generation, "parents": parents, "licence": given.licence}
    for file in given.files:
        before = len(pool)
        record = pool.append(rows_of(file), embedding_model=given.embedding_model, shared_rows=given.shared_rows, **options, **told)
        records.append(record)
        if not given.json:
            how = "" if len(pool) > before else " (was there already)"
            print(f"{record.short}  {record.kind}  generation {record.generation}  {record.rows:,} rows  {file}{how}")
    if given.json:
        print(json.dumps([r.as_dict() for r in records], indent=1))
    return 0
