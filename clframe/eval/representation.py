"""What a run records of its representation: RankMe and alpha-ReQ of the features, while it learns."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, final

import torch

from clframe.eval.metrics.representation import MEASURES, measures
from clframe.eval.plan import Plan
from clframe.types import Ids, Step

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

ALL = -1
"""In the column `evaluated`: the samples of all experiences begun, together."""
COLUMNS = ("n", "evaluated", "name", "value")


@final
class Representation:
    """The table of measures of the features; its state goes into the checkpoint.

    Args:
        plan: after which of the evaluated updates to measure, beside the boundaries.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._rows: list[tuple[int, int, str, float]] = []

    def due(self, step: Step) -> bool:
        """Whether to measure with the evaluation after this update."""
        return self.plan.due(step)

    def take(self, n: int, features: Tensor, offsets: Ids) -> None:
        """Measure the features (n, d) of the experiences begun together, and those offsets[k]:offsets[k+1] of each."""
        parts = [(ALL, features), *((k, features[low:high]) for k, (low, high) in enumerate(pairwise(offsets.tolist())))]
        for evaluated, part in parts:
            for name, value in measures(part).items():
                self._rows.append((n, evaluated, name, math.nan if value is None else value))

    def table(self) -> pd.DataFrame:
        """n, evaluated, name, value; NaN where a measure is not defined."""
        return frame(self._rows)

    def state_dict(self) -> dict[str, Any]:
        """Everything measured, as tensors."""
        places = [(n, evaluated, MEASURES.index(name)) for n, evaluated, name, _ in self._rows]
        values = torch.tensor([row[3] for row in self._rows], dtype=torch.float64)
        return {"rows": torch.tensor(places, dtype=torch.int64).reshape(-1, 3), "values": values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self._rows = _rows(state)


def measured(state: dict[str, Any]) -> pd.DataFrame:
    """The table in a saved state."""
    return frame(_rows(state))


def _rows(state: dict[str, Any]) -> list[tuple[int, int, str, float]]:
    rows = zip(state["rows"].tolist(), state["values"].tolist(), strict=True)
    return [(n, evaluated, MEASURES[name], value) for (n, evaluated, name), value in rows]


def frame(rows: list[tuple[int, int, str, float]]) -> pd.DataFrame:
    """The table of these rows."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"n": "int64", "evaluated": "int64", "value": "float64"})
