"""One HTML file that opens offline: the answer first, then the curves behind it, then everything needed to doubt it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.errors import bad_option
from clframe.eval.access import refuse_mixed
from clframe.eval.metrics import METRICS
from clframe.eval.report import budgets, plots, sections, style, tables, words
from clframe.eval.report import format as fmt
from clframe.eval.report.capacity import task_counts
from clframe.eval.report.classes import class_table
from clframe.eval.report.further import with_heads
from clframe.eval.report.picture import Picture, picture
from clframe.eval.report.series import Track, centre, track
from clframe.eval.result import OWN, Results

if TYPE_CHECKING:
    from jinja2 import Template

ZOOMS = 9
"""Boundaries that are shown at once; the others are folded away."""


def write(results: Results, path: str | Path) -> Path:
    """Write the report, atomically: a reader sees the old file or the new one, never half of one.

    Args:
        results: any runs; one section a scenario.
        path: the file, such as report.html; its directory is made.

    Returns:
        The path.

    Raises:
        OptionError: there are no runs.
    """
    return save(render(results), path)


def save(page: str, path: str | Path) -> Path:
    """Write a page, atomically; the directory is made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def render(results: Results) -> str:
    """The page as text: the same results give the same bytes.

    Raises:
        OptionError: there are no runs, some were imported, or their options were chosen by looking at different things (see
            `Results.marked`).
    """
    if not len(results):
        raise bad_option("results", "at least one run", [], "Give directories that hold runs.")
    refuse_mixed(results)
    if tables.imported(results):
        sources = ", ".join(sorted({r.source for r in results if r.source != OWN}))
        raise bad_option("results", "runs of clframe, whose curves a report draws", sources, "Use results.table() or .write().")
    most = min(plots.LINES, max(r.curves.accuracy.shape[1] for r in results))
    dark: dict[str, str] = {}
    for count in sorted({*range(1, most + 1), *task_counts(results)}):
        dark |= style.dark_colours(count)
    order = with_heads(results.strategies, results)
    parts = [section(results.of(scenario=s), f"s{i}", order, dark) for i, s in enumerate(results.scenarios)]
    return template("template.html").render(
        title=_title(results),
        results=results,
        sections=parts,
        glossary=glossary(),
        dark=dark,
        swatch=swatch,
        seconds=fmt.seconds,
        number=fmt.number,
        headline=len(tables.HEADLINE),
        keys=len(order),
        most_bands=plots.BANDS,
        environment=settings([dict(r.environment) for r in results], [r.strategy for r in results]),
    )


def _title(results: Results) -> str:
    names = style.short_names(results.strategies, 40)
    return f"{', '.join(results.scenarios)}: {', '.join(names) if len(names) <= 6 else f'{len(names)} strategies'}"


@lru_cache(maxsize=4)
def template(name: str) -> Template:
    """A template of this folder: a page extends layout.html, which has the style in it and links to nothing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    places = FileSystemLoader(Path(__file__).parent)
    found = Environment(loader=places, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return found.get_template(name)


def section(results: Results, key: str, order: list[str], dark: dict[str, str]) -> dict[str, Any]:
    """Everything that the template shows of one scenario; `order` gives the strategies their colours in the whole report."""
    tracks = [track(tables.usable(results.of(s)), s) for s in results.strategies]
    chance = words.chance(results)
    zooms = list(_zooms(results, key, chance, order, dark))
    return {
        "key": key,
        "colour": {s: i for i, s in enumerate(order)},
        "name": results.scenarios[0],
        "facts": [words.seeds(results), words.size(results), words.plan(results), tables.tuning(results)],
        "notices": words.notices(results),
        "lines": tables.lines(results),
        "titles": [(METRICS[m].description, tables.title(m)) for m in tables.HEADLINE],
        "footnote": tables.footnote(results, best="bold"),
        "stories": [(s, words.story(results.of(s))) for s in results.strategies],
        "comparison": _comparison(tracks, key, chance, order, dark),
        "curves": [_curves(t, key, i, chance, dark) for i, t in enumerate(tracks)],
        "bands": max(t.seeds for t in tracks) > 1,
        "images": tracks[0].experiences > plots.LINES,
        "chance": chance,
        "zooms": zooms[:ZOOMS],
        "more_zooms": zooms[ZOOMS:],
        "matrices": [_matrix(results.of(s), key, i, dark) for i, s in enumerate(results.strategies)],
        "time": picture(plots.time_figure(results, order), f"{key}time", "Seconds in training and evaluation", "", dark),
        "budget": budgets.spent(results),
        "budget_columns": budgets.COLUMNS,
        "equal": budgets.equal(results),
        "all_metrics": sections.all_metrics(results),
        "heads": sections.heads(results, key, chance, order, dark),
        "representation": list(sections.representation(results, key, order, dark)),
        "certificates": list(sections.certificates(results, key, dark)),
        "capacity": list(sections.capacity(results, key, dark)),
        "classes": class_table(results),
        "spec": settings([dict(r.spec) for r in results], [r.strategy for r in results]),
    }


def swatch(position: int) -> str:
    colour, dash = style.strategy_style(position)
    tone = f"var(--c{colour[1:]}, {colour})"
    return tone if dash == "-" else f"repeating-linear-gradient(90deg, {tone} 0 3px, transparent 3px 5px)"


def _comparison(tracks: list[Track], key: str, chance: float | None, order: list[str], dark: dict[str, str]) -> tuple[str, str]:
    label = "Mean accuracy over the experiences seen so far, every strategy"
    wide = style.svg(plots.comparison_figure(tracks, chance, order, width=760), f"{key}wide", label, dark)
    narrow = style.svg(plots.comparison_figure(tracks, chance, order), f"{key}narrow", label, dark)
    return wide, narrow


def _curves(t: Track, key: str, position: int, chance: float | None, dark: dict[str, str]) -> Picture:
    fig = plots.curves_figure(t, chance)
    return picture(fig, f"{key}c{position}", f"Accuracy of every experience, {t.strategy}", t.strategy, dark)


def _zooms(results: Results, key: str, chance: float | None, order: list[str], dark: dict[str, str]) -> Iterator[Picture]:
    for boundary in range(max(r.curves.k for r in results)):
        fig = plots.boundary_figure(results, boundary, chance, order)
        if fig is not None:
            before = "experience 0" if boundary == 0 else f"experiences 0–{boundary}"
            caption = f"experience {boundary + 1} begins · accuracy on {before}"
            yield picture(fig, f"{key}z{boundary}", f"Accuracy around boundary {boundary + 1}", caption, dark)


def _matrix(results: Results, key: str, position: int, dark: dict[str, str]) -> Picture:
    matrices = [r.curves.matrix for r in tables.usable(results)]
    rows = max(len(m) for m in matrices)
    mean = centre(np.stack([m for m in matrices if len(m) == rows]))
    name = results.strategies[0]
    return picture(plots.matrix_figure(mean), f"{key}m{position}", f"Accuracy matrix, {name}", name, dark)


def glossary() -> list[tuple[str, str, str]]:
    """(name, direction in words, explanation) of every metric, the headline ones first."""
    direction = {1: "higher is better", -1: "lower is better", 0: ""}
    names = [*tables.HEADLINE, *(m for m in METRICS if m not in tables.HEADLINE)]
    return [(fmt.metric_name(m), direction[tables.direction(m)], METRICS[m].description) for m in names]


@dataclass(frozen=True, slots=True)
class Settings:
    """Key-value tables of several runs: what all share, and what differs.

    Attributes:
        common: (key, value).
        differing: (key, one value a strategy: several values of its runs joined).
        strategies: the strategies, in the order of those values.
    """

    common: list[tuple[str, str]]
    differing: list[tuple[str, list[str]]]
    strategies: list[str]


def settings(values: list[dict[str, Any]], names: list[str]) -> Settings:
    """What the runs have in common, and what they do not."""
    flat = [fmt.flat(v) for v in values]
    strategies = list(dict.fromkeys(names))
    common: list[tuple[str, str]] = []
    differing: list[tuple[str, list[str]]] = []
    for key in dict.fromkeys(k for f in flat for k in f):
        if len({f.get(key) for f in flat}) == 1:
            common.append((key, flat[0][key]))
            continue
        each = [dict.fromkeys(f.get(key, fmt.DASH) for f, n in zip(flat, names, strict=True) if n == s) for s in strategies]
        differing.append((key, [", ".join(e) for e in each]))
    return Settings(common, differing, strategies)
