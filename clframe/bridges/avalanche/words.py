"""Avalanche's strategies in words: `avalanche(name=Replay, mem_size=200)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clframe.types import Strategy

if TYPE_CHECKING:
    from clframe.strategies.build import Setup


def avalanche(setup: Setup, name: str = "Naive", online: bool = False, plugins: Any = (), **options: Any) -> Strategy:
    """A strategy of `avalanche.training.supervised` by its name, with options and plugins in words.

    Args:
        setup: what a run is made from.
        name: a class of `avalanche.training.supervised`.
        online: see `strategy`.
        plugins: a list of plugins of `avalanche.training.plugins`, such as `[LwFPlugin(alpha=1,temperature=2)]`.
        options: of the strategy, such as `mem_size=200`.

    Raises:
        OptionError: an unknown name of a strategy, a plugin or an option, or options that it does not take.

    Example:
        >>> import clframe
        >>> words = "avalanche(name=Naive,plugins=[ReplayPlugin(mem_size=50),LwFPlugin(alpha=1,temperature=2)])"
        >>> result = clframe.run("split-digits", words, evaluate="boundaries")
        >>> result.finished
        True
    """
    from clframe.bridges.avalanche import need

    need()
    from clframe.bridges.avalanche.naming import made

    return made(setup, name, online, [plugins] if isinstance(plugins, str) else list(plugins), options)
