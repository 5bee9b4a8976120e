"""The scenario room: streams of experiences as index arithmetic over a data set.

>>> from clframe.scenarios import class_incremental
>>> [len(e.test) for e in class_incremental("digits", class_order="sorted").experiences]
[72, 72, 72, 72, 71]
"""

from __future__ import annotations

from clframe.scenarios.blurry import blurry
from clframe.scenarios.class_incremental import class_incremental, task_incremental
from clframe.scenarios.data_incremental import data_incremental
from clframe.scenarios.domain_incremental import colour, domains, permuted, rotated
from clframe.scenarios.experience import StreamExperience
from clframe.scenarios.explicit import explicit
from clframe.scenarios.from_table import from_table
from clframe.scenarios.gaussian import gaussian
from clframe.scenarios.long_tailed import long_tailed
from clframe.scenarios.order import AsGiven, Cumulative, Joint, Order, Shuffled
from clframe.scenarios.recurring import recurring
from clframe.scenarios.stream import Stream
from clframe.scenarios.training_view import TrainView

__all__ = [
    "AsGiven",
    "Cumulative",
    "Joint",
    "Order",
    "Shuffled",
    "Stream",
    "StreamExperience",
    "TrainView",
    "blurry",
    "class_incremental",
    "colour",
    "data_incremental",
    "domains",
    "explicit",
    "from_table",
    "gaussian",
    "long_tailed",
    "permuted",
    "recurring",
    "rotated",
    "task_incremental",
]
