"""Which parts can be composed: everything that may be there once is there once, and everything that is needed is there."""

from __future__ import annotations

import difflib
from collections import Counter

from clframe.errors import CompositionError
from clframe.strategies.part import Part

HOOKS = ("recall", "criterion", "penalty", "project", "constrain", "absorb", "network", "read", "begin", "end")
SLOTS = {
    "criterion": "replace the loss of each sample",
    "project": "rewrite the gradient",
    "constrain": "change the weights after the step",
}


def overrides(part: Part, hook: str) -> bool:
    """Whether the part has a `hook` of its own."""
    return getattr(type(part), hook) is not getattr(Part, hook)


def refuse_conflicts(parts: tuple[Part, ...]) -> None:
    repeated = [name for name, count in Counter(p.name for p in parts).items() if count > 1]
    if repeated:
        raise CompositionError(
            f"parts of a Learner must have different names; got {repeated[0]!r} twice. "
            f"Set another name on one of them, such as part.name = '{repeated[0]}2', or leave one out."
        )
    for part in parts:
        if not any(overrides(part, hook) for hook in HOOKS):
            own = [n for n in vars(type(part)) if callable(getattr(part, n)) and not n.startswith("_")]
            near = [(n, h) for n in own for h in difflib.get_close_matches(n, HOOKS, n=1, cutoff=0.5)]
            guess = f"Did you mean {near[0][1]!r} for {near[0][0]!r}? " if near else ""
            raise CompositionError(
                f"a part must override at least one of {', '.join(HOOKS)}; {part.name!r} overrides none. {guess}"
                "As it is, it would do nothing."
            )
    for slot, what in SLOTS.items():
        _at_most_one([p for p in parts if overrides(p, slot)], what)
    _at_most_one([p for p in parts if overrides(p, "network") or (overrides(p, "read") and p.answers)], "answer")
    _refuse_unlike_networks(parts)
    _refuse_untrained_heads(parts)
    for part in parts:
        for hook in sorted(part.partners):
            if not any(brings(other, hook) for other in parts if other is not part):
                what = {"recall": "recalls samples, such as 'er'"}.get(hook, f"has a {hook!r} of its own")
                raise CompositionError(
                    f"{part.name!r} needs another part that {what}; got {' + '.join(repr(p.name) for p in parts)}. "
                    f"Compose it, as in 'er+{part.name}'."
                )


def brings(part: Part, hook: str) -> bool:
    """Whether the part has that hook for others; another view of the new batch is nothing recalled."""
    return overrides(part, hook) and (hook != "recall" or part.recalls == "past")


def _at_most_one(takers: list[Part], what: str) -> None:
    if len(takers) > 1:
        raise CompositionError(
            f"at most one part may {what}; got {' and '.join(repr(p.name) for p in takers)}. "
            "Their result would depend on who comes first, so choose one of them."
        )


def _refuse_untrained_heads(parts: tuple[Part, ...]) -> None:
    """What a head says that nobody trains must not guide another part."""
    untrained, misled = [p for p in parts if not p.trains_head], [p for p in parts if p.needs_head]
    if untrained and misled:
        raise CompositionError(
            f"{misled[0].name!r} makes use of the network's head, which must be trained; {untrained[0].name!r} trains only what is "
            "below it. Choose one of them."
        )


def _refuse_unlike_networks(parts: tuple[Part, ...]) -> None:
    """A head that was fitted to the trained network's features must not read those of an averaged one."""
    answering = [p for p in parts if overrides(p, "network")]
    reading = [p for p in parts if overrides(p, "read")]
    if answering and reading:
        raise CompositionError(
            f"a head must read the features of the network that it was fitted to; {answering[0].name!r} answers with another "
            f"network than the one that {reading[0].name!r} was fitted to. Choose one of them."
        )
