"""What may enter the pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clframe.errors import OptionError, bad_option, unknown_name
from clframe.generations.ledger.record import KINDS, Record


def generation_of(kind: str, parents: Sequence[Record], generation: int | None) -> int:
    """The generation of rows of this kind: 0 for real ones; above that of every parent otherwise, 1 + the largest if none is given.

    Raises:
        OptionError: one that does not fit, or is no whole number.

    Example:
        >>> old = Record("ab", "synthetic", 2, 3, 500, None, {"x": "double"})
        >>> generation_of("synthetic", [old], None), generation_of("real", [], None)
        (3, 0)
    """
    lowest = 0 if kind == "real" else 1 + max(p.generation for p in parents)
    if generation is not None and not hasattr(generation, "__index__"):
        raise bad_option("generation", "a whole number", generation, "Leave it out.")
    found = lowest if generation is None else int(generation)
    if kind == "real" and found != 0:
        raise bad_option("generation", "0 for real rows", found, "Leave it out.")
    if found < lowest:
        raise bad_option("generation", f"at least {lowest}, above that of every parent", found, "Leave it out.")
    return found


def check_descent(kind: str, parents: Sequence[str], model: Any, sampler: Any) -> None:
    """Refuse what a kind cannot have, or lacks.

    Raises:
        OptionError: an unknown kind; a value of another form; real rows with a model, a sampler or parents; synthetic rows without
            parents or a model; edited ones without parents.
    """
    if kind not in KINDS:
        raise unknown_name("kind", str(kind), KINDS)
    if isinstance(parents, str):
        raise bad_option("parents", "a list of ids", parents, f"Give [{parents!r}].")
    for name, value in (("model", model), ("sampler", sampler)):
        if value is not None and not isinstance(value, Mapping):
            raise bad_option(name, "a mapping", value, f"Give {name}={{'name': {value!r}}}.")
    made_by = {"a model": model, "a sampler": sampler, "parents": parents}
    given = [what for what, value in made_by.items() if value]
    if kind == "real" and given:
        rule = f"synthetic or edited where the rows have {' and '.join(given)}"
        raise bad_option("kind", rule, kind, "Rows that a model made, or that were edited, are not real.")
    if kind != "real" and not parents:
        raise bad_option("parents", f"given for {kind} rows", list(parents), "Name the shards that the rows come from.")
    if kind == "synthetic" and not model:
        raise bad_option("model", "given for synthetic rows", model, "Say what made them: model={'weights': hash}.")


def check_filter(told: Mapping[str, Any] | None, rows: int) -> None:
    """Refuse counts that do not fit the rows.

    Raises:
        OptionError: no rule, or counts other than generated >= accepted = rows.
    """
    if told is None:
        return
    form = "{'rule': ..., 'generated': rows before, 'accepted': rows after}"
    if not isinstance(told, Mapping) or not {"rule", "generated", "accepted"} <= set(told):
        raise bad_option("filter", form, told, "Give all three.")
    before, after = told["generated"], told["accepted"]
    if not (isinstance(before, int) and isinstance(after, int) and before >= after):
        raise bad_option("filter", "generated >= accepted, whole numbers", dict(told), "Count rows before and after the filter.")
    if after != rows:
        raise bad_option("filter", f"accepted = {rows:,}, the rows of the shard", dict(told), "Count the rows after the filter.")


def check_same(found: Record, asked: Record) -> None:
    """Refuse content that is in the pool with another record.

    Raises:
        OptionError: naming what it is in the pool as.
    """
    other = found.differs(asked)
    if not other:
        return
    there = f"the same content is in the pool as {found.kind}, generation {found.generation} ({found.short})"
    if "kind" in other or "generation" in other:
        told = f"{asked.kind}, generation {asked.generation}"
        raise OptionError(f"{there}; got it as {told}. A shard has one record: append only rows that are new.")
    told = "; ".join(f"{name} {_short(getattr(found, name))} there, {_short(getattr(asked, name))} here" for name in other)
    raise OptionError(f"{there} with another {' and '.join(other)}: {told}. A shard has one record: give the same, or other rows.")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
