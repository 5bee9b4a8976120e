"""HyperInterval and its relatives: what they reach, what they certify, and what of it is kept."""

from __future__ import annotations

from typing import Any

from papers.hyperinterval.choose import CNN, MLP
from papers.hyperinterval.outcome import figure, quantities
from papers.hyperinterval.streams import cifar, permuted, split
from papers.study import Group, Study

SEEDS = {"split": 3, "told": 3, "longer": 3, "one": 5, "wider": 5, "cifar": 3}
GENERATED, BOXED, PLAIN = 0.003, 0.001, 0.001
"""Learning rates of Adam: of what trains a hypernetwork, of InterContiNet, of EWC."""
SIZES: dict[str, dict[str, Any]] = {
    "default": {"mlp": MLP, "split": 5, "told": 3, "longer": 5, "one": 2, "wider": 2, "train": 200, "cnn": CNN, "cifar": 6},
    "full": {
        "mlp": "mlp(hidden=(1000,1000))",
        "split": 20,
        "told": 11,
        "longer": 11,
        "one": 11,
        "wider": 11,
        "train": 500,
        "cnn": "cnn",
        "cifar": 50,
    },
}
"""Models and passes over the data of a task, at each scale."""
LARGE = "hidden=(100,100),sampled=1,gamma=0.03"
ONE = "infer=universal,fisher=10,beta=0.0001,gamma=0.01,sampled=1"
WIDER = f"{ONE},hidden=(100,100),samples=1000"


def groups(scale: str) -> list[Group]:
    """Of each stream three groups, as the learning rate is an option of the run: hypernetworks, InterContiNet, EWC.

    "longer" is the told Permuted MNIST once more, for both kinds of containment alone; "wider" the one network once more, from a
    wider hypernetwork and Fisher information of more samples.
    """
    size = SIZES[scale]
    streams = {
        "split": (split(), size["mlp"], size["split"], 128),
        "told": (permuted(told=True), size["mlp"], size["told"], 128),
        "longer": (permuted(told=True), size["mlp"], size["longer"], 128),
        "one": (permuted(), size["mlp"], size["one"], 128),
        "wider": (permuted(), size["mlp"], size["wider"], 128),
        "cifar": (cifar(size["train"], 50 if scale == "default" else 100), size["cnn"], size["cifar"], 32),
    }
    both = f"hyperinterval({LARGE})", f"hyperinterval({LARGE},hard=True)"
    methods: dict[str, tuple[tuple[str, ...], str | None, int | None]] = {
        "split": (
            ("hyperinterval(gamma=0.03)", "hyperinterval(gamma=0.03,hard=True)", "hnet"),
            "intercontinet(radius=0.1)",
            100000,
        ),
        "told": (
            (*both, "hnet(hidden=(100,100),sampled=1)"),
            "intercontinet(radius=0.1)",
            100,
        ),
        "longer": (both, None, None),
        "one": ((f"hyperinterval({ONE})",), "intercontinet(radius=0.1)", 100),
        "wider": ((f"hyperinterval({WIDER})",), None, None),
        "cifar": (("hyperinterval(gamma=0.03,hard=True)", "hnet"), "intercontinet(radius=0.1)", 1000),
    }
    made = []
    for name, (stream, model, epochs, batch) in streams.items():
        generated, boxed, strength = methods[name]
        options = {
            "model": model,
            "epochs": epochs,
            "batch_size": batch,
            "optimizer": "adam",
            "evaluate": "boundaries",
            "threads": 1,
        }
        for kind, strategies, lr in (
            ("hypernetworks", generated, GENERATED),
            ("intercontinet", (boxed,) if boxed else (), BOXED),
            ("ewc", (f"ewc(strength={strength})",) if strength else (), PLAIN),
        ):
            if not strategies:
                continue
            made.append(Group(f"{name}-{kind}", (stream,), strategies, {**options, "lr": lr, "subset": 1000}, seeds=SEEDS[name]))
    return made


def summary(scale: str) -> str:
    """What a scale is."""
    size = SIZES[scale]
    return (
        f"{size['mlp']}, {size['split']} passes of Split MNIST, {size['told']} of Permuted MNIST told (HyperInterval also "
        f"{size['longer']}) and {size['one']} with one network; {size['cnn']} on Split CIFAR-100 with {size['train']} images a "
        f"class, {size['cifar']} passes; 3 seeds, {SEEDS['one']} of one network."
    )


STUDY = Study(
    name="hyperinterval",
    title="Interval hypernetworks: accuracy, certified accuracy and what of it is kept",
    scales={scale: summary(scale) for scale in SIZES},
    groups=groups,
    quantities=quantities,
    figure=figure,
    pictured="certified",
)
