"""Two strategies along one stream, measured after every update: a table, and a report that opens offline.

$ python examples/quick_start.py        # writes quick-start.html here
"""

from __future__ import annotations

import clframe

STRATEGIES = ["finetune", "er(size=200)"]


def main() -> None:
    results = clframe.compare("split-digits", STRATEGIES, seeds=2)
    print(results.markdown(["acc", "forgetting_first_last", "min_acc"]))
    er = results.of("er(size=200)")[0]
    print(
        f"er, seed 0: {er.accuracy.shape[0]} measurements of {er.accuracy.shape[1]} experiences; min-ACC {er.metrics.min_acc:.2f}"
    )
    print(f"it keeps {er.budget.state_bytes['er']:,} bytes of memory; report: {results.report('quick-start.html')}")


if __name__ == "__main__":
    main()
