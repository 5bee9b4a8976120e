"""`clframe list`."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from clframe.cli.parsing import parse, parser
from clframe.errors import unknown_name
from clframe.registry import Registry


def main(arguments: Sequence[str]) -> int:
    """Print the names there are, with one line about each."""
    made = parser("list", "The names there are, with one line about each.")
    made.add_argument("what", type=str, nargs="?", default="", help=f"one of {', '.join(KINDS)}; all by default")
    made.add_argument("--json", type=bool, default=False, help="print as JSON")
    given = parse(made, arguments)
    if given.what and given.what not in KINDS:
        raise unknown_name("kind", given.what, KINDS)
    found = {kind: dict(KINDS[kind]()) for kind in ([given.what] if given.what else KINDS)}
    if given.json:
        print(json.dumps(found, indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for kind, names in found.items():
        table = Table(title=kind, title_justify="left", title_style="bold", box=None, show_header=False, padding=(0, 2, 0, 0))
        for name, line in names.items():
            table.add_row(name, line)
        console.print(table)
        console.print()
    return 0


def _strategies() -> Iterable[tuple[str, str]]:
    from clframe.strategies import STRATEGIES

    return _registered(STRATEGIES)


def _scenarios() -> Iterable[tuple[str, str]]:
    from clframe.scenarios.catalog import KINDS, PREFIXES

    return _registered(KINDS) + [
        (f"{prefix}-DATA", f"{kind} over a named data set: {prefix}-digits") for prefix, kind in PREFIXES.items()
    ]


def _data() -> Iterable[tuple[str, str]]:
    from clframe import data

    return [(name, "") for name in data.names()]


def _methods() -> Iterable[tuple[str, str]]:
    from clframe.selection.methods import REGISTRY

    return _registered(REGISTRY)


def _policies() -> Iterable[tuple[str, str]]:
    from clframe.generations.policies import POLICIES

    return _registered(POLICIES)


def _generators() -> Iterable[tuple[str, str]]:
    from clframe.generations.generators import GENERATORS

    return _registered(GENERATORS)


def _models() -> Iterable[tuple[str, str]]:
    from clframe.models.build import BRIDGES, MODELS

    return [(name, _first_line(_load(where))) for name, where in {**MODELS, **BRIDGES}.items()]


def _memories() -> Iterable[tuple[str, str]]:
    from clframe.selection import MEMORIES

    return [(name, _first_line(made)) for name, made in MEMORIES.items()]


def _plans() -> Iterable[tuple[str, str]]:
    from clframe.eval.plan import PLANS

    return _registered(PLANS)


def _metrics() -> Iterable[tuple[str, str]]:
    from clframe.eval.metrics import METRICS

    return [(name, metric.description) for name, metric in METRICS.items()]


def _tuned() -> Iterable[tuple[str, str]]:
    from clframe.eval.protocol.frozen import read
    from clframe.eval.protocol.lookup import TUNED

    for s in read(TUNED):
        values = ", ".join(f"{name}={value}" for name, value in s.values.items())
        yield f"{s.method}, {s.kind}", f"{values}; {s.protocol} on {s.tuning}: {s.metric} {s.score:.3f}"


KINDS: Mapping[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "strategies": _strategies,
    "scenarios": _scenarios,
    "data": _data,
    "models": _models,
    "memories": _memories,
    "methods": _methods,
    "policies": _policies,
    "generators": _generators,
    "plans": _plans,
    "metrics": _metrics,
    "tuned": _tuned,
}


def _registered(table: Registry) -> list[tuple[str, str]]:
    return [(name, _first_line(table.load(name))) for name in table.names()]


def _load(where: str) -> object:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)


def _first_line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]
