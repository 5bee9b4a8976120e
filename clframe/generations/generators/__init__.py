"""Generators: models that learn from rows and make new ones."""

from __future__ import annotations

from clframe import registry
from clframe.errors import OptionError
from clframe.generations.generators.interface import Columns, Generator

GENERATORS = registry.Registry(
    "generator",
    {
        "linear": "clframe.generations.generators.linear:Linear",
        "gaussian": "clframe.generations.generators.gaussian:Gaussian",
        "kernel-density": "clframe.generations.generators.kernel_density:KernelDensity",
        "vae": "clframe.generations.generators.vae:VAE",
        "language": "clframe.generations.generators.language:Language",
    },
    "clframe.generators",
)


def generator(words: str) -> Generator:
    """A generator by name, with options in brackets, or one of your own by module:Name or file.py:Name.

    Raises:
        OptionError: an unknown name or option, with the nearest ones; a value that breaks its rule; or a class without one of the
            three methods.
        MissingExtraError: it needs a package that is not installed.

    Example:
        >>> generator("kernel-density(bandwidth=0.1)").bandwidth
        0.1
    """
    name, options = registry.parse(words)
    made: Generator = registry.call("generator", name, GENERATORS.load(name), options)
    missing = [method for method in ("fit", "sample", "score") if not callable(getattr(made, method, None))]
    if missing:
        raise OptionError(
            f"generator {name!r} must have the methods fit(data, weight, seed), sample(n, seed) and score(data); "
            f"{', '.join(missing)} is missing. Add it."
        )
    return made


__all__ = ["GENERATORS", "Columns", "Generator", "generator"]
