"""What the options of a run were chosen by: results whose choices looked at different things are not to be ranked in one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from clframe.errors import OptionError

if TYPE_CHECKING:
    from clframe.eval.result import Result

NONE = "none declared"


def access(result: Result) -> str:
    """What was declared, without the hash of a setting."""
    declared = result.spec.get("options", result.spec).get("tuning") or NONE
    return str(declared).partition("; setting ")[0]


def short(declared: str) -> str:
    """As a mark on a name: what stands before the colon.

    Example:
        >>> short("gtep: validation samples of the tuning stream, other data")
        'gtep'
    """
    name = declared.partition(":")[0].strip()
    return name if len(name) <= 32 else f"{name[:31]}…"


def mark(result: Result) -> str:
    """The name of the strategy, with what its options were chosen by."""
    end = f" [{short(access(result))}]"
    return result.strategy if result.strategy.endswith(end) else result.strategy + end


def mixed(results: Iterable[Result]) -> list[str]:
    """What was looked at in the first scenario where that differs and is not marked; nothing where all is well."""
    by_scenario: dict[str, list[Result]] = {}
    for result in results:
        by_scenario.setdefault(result.scenario, []).append(result)
    for some in by_scenario.values():
        declared = list(dict.fromkeys(map(access, some)))
        if len(declared) > 1 and any(mark(r) != r.strategy for r in some):
            return declared
    return []


def refuse_mixed(results: Sequence[Result]) -> None:
    """Refuse results of one scenario whose options were chosen by looking at different things, unless they are marked.

    Raises:
        OptionError: what was looked at.
    """
    declared = [repr(short(d)) for d in mixed(results)]
    if declared:
        more = f" and {len(declared) - 3} more" if len(declared) > 3 else ""
        raise OptionError(
            f"a table must not mix what options were chosen by; got {', '.join(declared[:3])}{more}. Give the directories one by "
            "one, or ask for all together with --mixed (results.marked() in Python), which marks them."
        )
