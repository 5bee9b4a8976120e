"""What a notebook shows of results: the table, and curves below it."""

from __future__ import annotations

from html import escape

from clframe.eval.report import plots, style, tables
from clframe.eval.report.published import BOLD, ITALIC, grid
from clframe.eval.report.series import track
from clframe.eval.result import OWN, Results

WIDTH = 760
_CELL = "padding:2px 8px;text-align:{};white-space:nowrap"


def html(results: Results) -> str:
    """The headline table, and a figure a scenario: every experience of a single run, or the strategies compared.

    Imported runs stand in the table alone.
    """
    if not len(results):
        return "<p>no runs</p>"
    header, rows = grid(results, None, "<b>{}</b>", "<i>{}</i>", escape)
    first = header.index("strategy") + tables.imported(results)
    sides = ["left" if i <= first else "right" for i in range(len(header))]
    head = "".join(f'<th style="{_CELL.format(s)}">{escape(h)}</th>' for h, s in zip(header, sides, strict=True))
    body = ["".join(f'<td style="{_CELL.format(s)}">{c}</td>' for c, s in zip(row, sides, strict=True)) for row in rows]
    lines = "".join(f"<tr>{row}</tr>" for row in body)
    note = tables.footnote(results, marks=f"bold: {BOLD}; italic: {ITALIC}" if len(results.strategies) > 1 else "")
    pictures = "".join(_figure(results.of(scenario=s), f"nb{i}") for i, s in enumerate(results.scenarios))
    return (
        f'<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table><p style="font-size:90%">{escape(note)}</p>{pictures}'
    )


def _figure(results: Results, key: str) -> str:
    own = Results([r for r in results if r.source == OWN])
    if not len(own):
        return ""
    if len(own.strategies) == 1:
        label = f"Accuracy of every experience after every measured update: {own.strategies[0]} on {own.scenarios[0]}"
        fig = plots.curves_figure(tables.usable(own), width=WIDTH)
    else:
        label = f"Mean accuracy over the experiences seen so far: {own.scenarios[0]}"
        fig = plots.comparison_figure([track(tables.usable(own.of(s)), s) for s in own.strategies], width=WIDTH)
    drawn = style.svg(fig, key, label, {})
    return f'<figure style="margin:8px 0;max-width:{WIDTH}px"><figcaption>{escape(label)}</figcaption>{drawn}</figure>'
