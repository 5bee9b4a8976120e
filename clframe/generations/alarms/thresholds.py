"""Thresholds of the alarms, in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, final

import yaml

from clframe.errors import OptionError, bad_option, unknown_name


def _of(default: float | None, told: str) -> Any:
    return field(default=default, metadata={"told": told})


@final
@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """When an alarm rings. None turns it off. `clframe pool check --print-thresholds` prints all of them as a file.

    Raises:
        OptionError: a value that its rule forbids.

    Example:
        >>> Thresholds(variance_ratio=0.8).variance_ratio, Thresholds().level
        (0.8, 0.05)
    """

    level: float = _of(0.05, "probability that any alarm rings on a fresh sample of real data; divided among the alarms")
    exchanges: int = _of(999, "how often chance is tried for each alarm")
    seed: int = _of(0, "of all random numbers")
    cells: int = _of(0, "cells of k-means; 0: by the number of real rows")
    rows: int = _of(2000, "real rows, and generated ones, drawn for the variance and for texts")
    near_rows: int = _of(300, "the same for density, coverage and the Vendi score, whose cost grows with their square")
    mauve_rows: int = _of(5000, "the same for MAUVE")
    neighbours: int = _of(5, "k of density and coverage")
    near: float = _of(0.01, "near copies have a cosine above 1 minus this")
    loss_since_first: float | None = _of(0.0, "rises above: mean held-out real loss less that of the first model")
    loss_since_last: float | None = _of(0.0, "rises above: mean held-out real loss less that of the generation before")
    variance_ratio: float | None = _of(0.9, "falls below: trace of the covariance over that of real rows")
    determinant_ratio: float | None = _of(0.8, "falls below: determinant for each direction, over that of real rows")
    cell_entropy: float | None = _of(-0.05, "falls below: entropy over cells less that of real rows, nats")
    empty_cells: float | None = _of(0.05, "rises above: share of real cells without a generated row")
    tail_coverage: float | None = _of(0.75, "falls below: share of the rows to be expected in the rarest tenth of cells")
    starved_mass: float | None = _of(0.02, "rises above: share of real rows in cells with under a quarter of those expected")
    density: float | None = _of(0.8, "falls below: generated rows in the neighbourhoods of real ones")
    coverage: float | None = _of(0.85, "falls below: real rows with a generated neighbour, over that of real rows")
    mauve: float | None = _of(0.9, "falls below: MAUVE, 1 for the same distribution")
    vendi_ratio: float | None = _of(0.9, "falls below: Vendi score over that of real rows")
    exact_copies: float | None = _of(0.01, "rises above: share of rows equal to a training row, less that among training rows")
    near_copies: float | None = _of(0.02, "rises above: share of rows nearly alike to a real one, less that among real rows")
    distinct_1: float | None = _of(0.9, "falls below: distinct words over that of real texts")
    distinct_2: float | None = _of(0.9, "falls below: the same for pairs of words")
    distinct_3: float | None = _of(0.9, "falls below: the same for three words")
    gram_entropy: float | None = _of(-0.1, "falls below: entropy of pairs of words less that of real texts, nats")

    def __post_init__(self) -> None:
        for one in fields(self):
            _check(one.name, getattr(self, one.name), integer=str(one.type) == "int", off="None" in str(one.type))
        if not 0 < self.level < 0.5:
            raise bad_option("level", "between 0 and 0.5", self.level, "Give level: 0.05.")
        if not 0 < self.near <= 1:
            raise bad_option("near", "above 0 and at most 1", self.near, "Give near: 0.01.")
        least = {"exchanges": 1, "seed": 0, "cells": 0, "rows": 10, "near_rows": 10, "mauve_rows": 20, "neighbours": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise bad_option(name, f"at least {bound}", getattr(self, name), f"Leave {name} out.")


def _check(name: str, value: object, *, integer: bool, off: bool) -> None:
    if value is None and off:
        return
    number = isinstance(value, int if integer else int | float) and not isinstance(value, bool)
    if not (number and abs(value) < float("inf")):  # type: ignore[arg-type]
        rule = "an integer" if integer else "a number, or null to turn the alarm off" if off else "a number"
        raise bad_option(name, rule, value, "See clframe pool check --print-thresholds.")


def read(path: str | Path) -> Thresholds:
    """Thresholds of a file; those that it leaves out have their defaults.

    Raises:
        OptionError: it cannot be read; an unknown name (with the nearest ones); a value that its rule forbids.
    """
    try:
        written = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise OptionError(f"thresholds must be a readable YAML file; got {str(path)!r}: {why}. Correct the file.") from error
    written = {} if written is None else written
    if not isinstance(written, Mapping):
        raise bad_option("thresholds", "a YAML file of names and numbers", str(path), "See clframe pool check --print-thresholds.")
    known = {one.name for one in fields(Thresholds)}
    for name in written:
        if name not in known:
            raise unknown_name("threshold", str(name), known)
    return Thresholds(**written)


def as_yaml(thresholds: Thresholds) -> str:
    """As a file, with what each of them is.

    Example:
        >>> print(as_yaml(Thresholds()).splitlines()[0])
        level: 0.05                 # probability that any alarm rings on a fresh sample of real data; divided among the alarms
    """
    lines = []
    for one in fields(thresholds):
        value = getattr(thresholds, one.name)
        lines.append(f"{f'{one.name}: ' + ('null' if value is None else str(value)):<27} # {one.metadata['told']}\n")
    return "".join(lines)
