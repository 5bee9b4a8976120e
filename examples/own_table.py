"""Your own table: one experience a week, customers whose behaviour turns around halfway.

$ python examples/own_table.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import clframe


def write(path: Path, weeks: int = 6, rows: int = 200) -> None:
    rng = np.random.default_rng(0)
    week = np.repeat(np.arange(weeks), rows)
    hours, visits = rng.normal(size=(2, weeks * rows))
    churned = hours + (week - 2.5) * visits + 0.3 * rng.normal(size=len(week)) > 0
    table = np.column_stack([week, hours, visits, churned])
    np.savetxt(path, table, fmt=["%d", "%.4f", "%.4f", "%d"], delimiter=",", header="week,hours,visits,churned", comments="")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weekly.csv"
        write(path)
        stream = f"table(data={{'path':'{path.as_posix()}','label':'churned','experience':'week'}},name=weekly)"
        results = clframe.compare(stream, ["finetune", "er", "joint"], seeds=2, evaluate="every(k=5)")
        for strategy in results.strategies:
            weeks = results.of(strategy)[0].curves.matrix[-1]
            print(f"{strategy:9} accuracy by week at the end:", *(f"{a:.2f}" for a in weeks))


if __name__ == "__main__":
    main()
