"""Policies: what the next generation trains on."""

from __future__ import annotations

from clframe import registry
from clframe.generations.policies.interface import Part, Policy, Scores, Shard, Training

POLICIES = registry.Registry(
    "policy",
    {
        name: f"clframe.generations.policies.{name.replace('-', '_')}:{name.title().replace('-', '')}"
        for name in ("replace", "accumulate", "accumulate-subsample", "fixed-real", "golden", "sensitivity-subsample")
    },
    "clframe.policies",
)


def policy(words: str) -> Policy:
    """A policy by name, with options in brackets, or one of your own by module:Name.

    Raises:
        OptionError: an unknown name or option, with the nearest ones; or a value that breaks its rule.

    Example:
        >>> policy("accumulate-subsample(real_floor=0.2)").real_floor
        0.2
        >>> policy("accumulate(size=3)")
        Traceback (most recent call last):
        clframe.errors.OptionError: policy 'accumulate' takes no options; got 'size'. Leave it out.
    """
    name, options = registry.parse(words)
    made: Policy = registry.call("policy", name, POLICIES.load(name), options)
    return made


__all__ = ["POLICIES", "Part", "Policy", "Scores", "Shard", "Training", "policy"]
