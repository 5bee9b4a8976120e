"""A method of your own: the learning rate rises anew after every boundary. Does that make the gap shallower?

$ python examples/own_method.py
"""

from __future__ import annotations

import clframe
from clframe.strategies import Part, Replay, Setup, View, build
from clframe.types import Strategy, Train


class WarmUp(Part):
    """g <- min(1, updates since the boundary / steps) g."""

    name = "warm-up"
    state = ("since",)
    requires = frozenset({"boundaries"})

    def __init__(self, steps: int = 20) -> None:
        self.steps, self.since = steps, 0

    def begin(self, train: Train) -> None:
        self.since = 0

    def project(self, view: View) -> None:
        self.since += 1
        for parameter in view.model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(min(1.0, self.since / self.steps))


def er_with_warm_up(setup: Setup) -> Strategy:
    return build([Replay(size=200), WarmUp()], setup)  # parts hold state, so every run makes its own


if __name__ == "__main__":
    results = clframe.compare("split-digits", ["er(size=200)", er_with_warm_up], seeds=2, epochs=2)
    print(results.table(["acc", "min_acc", "gap_depth", "gap_area"]).to_string())
