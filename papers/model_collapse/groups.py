"""What is run: groups of cells, at two scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from papers.measured import Measured
from papers.model_collapse import closed_forms, generations

POLICIES = {
    "replace": "replace(allow_collapse=true)",
    "accumulate": "accumulate",
    "accumulate-subsample": "accumulate-subsample(real_floor=0)",
    "sensitivity": "sensitivity-subsample",
    "sensitivity, distinct": "sensitivity-subsample(method=sensitivity(mixture=0.5,draw=systematic))",
    "uniform, repeated": "sensitivity-subsample(mixture=1)",
    "fixed-real": "fixed-real",
    "golden": "golden",
}
"""Short names, and the policies in words."""
THEORY = ("replace", "accumulate", "accumulate-subsample")
IMAGES = ("replace", "accumulate", "accumulate-subsample", "sensitivity", "sensitivity, distinct", "fixed-real")
TEXTS = IMAGES[:-1]
SCALES: dict[str, dict[str, Any]] = {
    "default": {
        "linear": {"repetitions": 1000, "generations": 10},
        "gaussian": {"repetitions": 2000, "generations": 30},
        "vae": {"generator": "vae(epochs=20,lr=0.002)", "rows": 2000, "heldout": 1000, "generations": 6},
        "language": {"generator": "language(epochs=5,lr=0.005,batch=16)", "rows": 500, "heldout": 500, "generations": 5},
        "seeds": {"vae": 3, "language": 3},
    },
    "full": {
        "linear": {"repetitions": 10_000, "generations": 40},
        "gaussian": {"repetitions": 10_000, "generations": 100},
        "vae": {"generator": "vae(epochs=50)", "rows": 20_000, "heldout": 10_000, "generations": 10},
        "language": {
            "generator": "language(vocabulary=1024,width=128,layers=4,heads=4,epochs=20,batch=16)",
            "rows": 4500,
            "heldout": 500,
            "generations": 10,
        },
        "seeds": {"vae": 10, "language": 5},
    },
}


def groups(scale: str) -> list[Measured]:
    """One group for each model."""
    much = SCALES[scale]
    linear = [{"policy": words, "rows": 100} for words in POLICIES.values()]
    linear.append({"policy": POLICIES["accumulate-subsample"], "rows": 1000})
    gaussian = [{"policy": POLICIES[name], "rows": rows} for rows in (10, 100) for name in THEORY]
    vae, language = ({"data": data, **much[name]} for name, data in (("vae", "mnist"), ("language", "shakespeare")))
    return [
        Measured("linear", closed_forms.measure, tuple(linear), {"model": "linear", "dimensions": 10, **much["linear"]}),
        Measured("gaussian", closed_forms.measure, tuple(gaussian), {"model": "gaussian", "dimensions": 1, **much["gaussian"]}),
        Measured("vae", generations.measure, _cells(IMAGES, much["seeds"]["vae"]), vae),
        Measured("language", generations.measure, _cells(TEXTS, much["seeds"]["language"]), language),
    ]


def _cells(names: Sequence[str], seeds: int) -> tuple[dict[str, Any], ...]:
    return tuple({"policy": POLICIES[name], "seed": seed} for seed in range(seeds) for name in names)


def summary(scale: str) -> str:
    """What a scale is."""
    much = SCALES[scale]
    vae, language, seeds = much["vae"], much["language"], much["seeds"]
    return (
        f"{much['linear']['repetitions']:,} repetitions of least squares and {much['gaussian']['repetitions']:,} of the Gaussian; "
        f"a VAE on {vae['rows']:,} images of MNIST, {vae['generations']} generations, {seeds['vae']} seeds; a language model on "
        f"{language['rows']:,} pieces of tiny Shakespeare, {language['generations']} generations, {seeds['language']} seeds."
    )
