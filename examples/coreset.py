"""What should a tenth of the data be? A coreset that estimates the mean loss, and a stream that trains on coresets alone.

$ python examples/coreset.py        # writes chosen/ here
"""

from __future__ import annotations

import numpy as np

import clframe
from clframe.curation import curated
from clframe.selection import pool_of, select


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5_000, 16))
    loss = np.exp(x[:, 0])  # few samples carry most of it
    pool = pool_of(x, loss=loss)
    for method in ("uniform", "sensitivity"):
        found = select(pool, size=500, method=method, seed=0, loss=loss)
        e = found.mean_loss
        assert e is not None
        print(f"{method:11} mean loss {e.mean:.3f} in {e.low:.3f} .. {e.high:.3f}; over all samples it is {loss.mean():.3f}")
    print(f"saved: {found.save('chosen')}")

    for stream in ("split-digits", curated("split-digits", method="stratified(by=label)", budget="10%")):
        result = clframe.run(stream, "er(size=100)", epochs=3, evaluate="boundaries")
        print(f"{result.scenario}: ACC {result.metrics.acc:.2f} after {int(result.updates[-1])} updates")


if __name__ == "__main__":
    main()
