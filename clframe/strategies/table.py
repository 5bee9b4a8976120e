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
        "gem": "clframe.strategies.gem:GEM",
        "agem": "clframe.strategies.agem:AGEM",
        "gradient-projection": "clframe.strategies.gradient_projection:GradientProjection",
        "er-agem": "clframe.strategies.gradient_projection:er_agem",
        "si": "clframe.strategies.si:SI",
        "mas": "clframe.strategies.mas:MAS",
        "rwalk": "clframe.strategies.rwalk:RWalk",
        "feature-distillation": "clframe.strategies.feature_distillation:FeatureDistillation",
        "ncm": "clframe.strategies.ncm:NCM",
        "slda": "clframe.strategies.slda:SLDA",
        "ranpac": "clframe.strategies.ranpac:RanPAC",
        "fecam": "clframe.strategies.fecam:FeCAM",
        "fetril": "clframe.strategies.fetril:FeTrIL",
        "mir": "clframe.strategies.mir:MIR",
        "er-ace": "clframe.strategies.er_ace:ERACE",
        "der": "clframe.strategies.der:DER",
        "der++": "clframe.strategies.der:der_plus_plus",
        "gdumb": "clframe.strategies.gdumb:GDumb",
        "icarl": "clframe.strategies.icarl:ICaRL",
        "bic": "clframe.strategies.bic:BiC",
        "nmc-head": "clframe.strategies.nearest_mean:NearestMean",
        "ema": "clframe.strategies.ema:EMA",
        "prd": "clframe.strategies.prd:PRD",
        "hat": "clframe.strategies.hat:HAT",
        "dst": "clframe.strategies.sparse.dst:DST",
        "packnet": "clframe.strategies.sparse.packnet:PackNet",
        "rigl": "clframe.strategies.sparse.evolving:Evolving",
        "set": "clframe.strategies.sparse.evolving:set_",
        "progressive": "clframe.strategies.progressive:Progressive",
        "nap": "clframe.strategies.nap:NaP",
    },
    group="clframe.strategies",
)
