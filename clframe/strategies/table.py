"""The strategies by name. A part, a function that returns a Recipe, or a class that is a Strategy by itself."""

from __future__ import annotations

from clframe.registry import Registry

STRATEGIES = Registry(
    "strategy",
    {
        "finetune": "clframe.strategies.recipes:finetune",
        "cumulative": "clframe.strategies.recipes:cumulative",
        "joint": "clframe.strategies.recipes:joint",
        "er": "clframe.strategies.replay:Replay",
        "lwf": "clframe.strategies.lwf:LwF",
        "ewc": "clframe.strategies.ewc:EWC",
    },
    group="clframe.strategies",
)
