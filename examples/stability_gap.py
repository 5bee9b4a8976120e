"""The stability gap: accuracy after every single update, and the deepest falls.

$ python examples/stability_gap.py        # writes stability-gap-*.svg here
"""

from __future__ import annotations

import clframe
from clframe.eval.metrics import gaps

STRATEGIES = {"finetune": "finetune", "er": "er(size=200)"}


def main() -> None:
    for name, strategy in STRATEGIES.items():
        result = clframe.run("split-digits", strategy, seed=0, epochs=3)
        result.figure().savefig(f"stability-gap-{name}.svg")
        print(f"{strategy}: ACC {result.metrics.acc:.2f}, min-ACC {result.metrics.min_acc:.2f}; see stability-gap-{name}.svg")
        for gap in sorted(gaps(result.curves), key=lambda g: g.depth, reverse=True)[:3]:
            back = f"back after {gap.recovery:.0f} updates" if gap.recovery < float("inf") else "not back by the next boundary"
            print(f"  after experience {gap.boundary}: experience {gap.experience} {gap.before:.2f} -> {gap.lowest:.2f}, {back}")


if __name__ == "__main__":
    main()
