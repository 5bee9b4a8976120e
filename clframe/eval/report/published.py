"""Tables for papers and pages: Markdown and LaTeX. Bold only where paired differences tell the best from every other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from clframe.eval.report import format as fmt
from clframe.eval.report.tables import HEADLINE, Cell, Line, direction, footnote, imported, lines, title, usable, value
from clframe.eval.result import OWN, Results
from clframe.eval.statistics import paired_difference

BOLD = "best mean, and better than every other by paired differences over seeds (95 % intervals without 0)"
ITALIC = "best mean, not told apart from every other"


def markdown(results: Results, metrics: Sequence[str] | None = None) -> str:
    """The table in Markdown, with its footnote.

    Args:
        results: the runs.
        metrics: names of metrics; the headline ones by default.

    Raises:
        OptionError: a metric is not a known name, or options were chosen by looking at different things.

    Example:
        >>> import clframe
        >>> results = clframe.compare("split-digits", ["finetune", "er"], seeds=2, evaluate="boundaries")
        >>> print(markdown(results, ["acc"]).splitlines()[0])
        | strategy | ACC ↑ | seeds | time |
    """
    header, rows = grid(results, metrics, "**{}**", "*{}*", str)
    first = header.index("strategy") + imported(results)
    rule = [":--" if i <= first else "--:" for i in range(len(header))]
    table = "\n".join("| " + " | ".join(t.replace("|", "\\|") for t in row) + " |" for row in [header, rule, *rows])
    return f"{table}\n\n{_footnote(results, '**bold**', '*italic*')}\n"


def latex(results: Results, metrics: Sequence[str] | None = None) -> str:
    """The table in LaTeX (package booktabs), with its footnote as a comment.

    Args and errors as `markdown`.

    Example:
        >>> import clframe
        >>> results = clframe.compare("split-digits", ["finetune", "er"], seeds=2, evaluate="boundaries")
        >>> print(latex(results, ["acc"]).splitlines()[0])
        \\begin{tabular}{lrrr}
    """
    header, rows = grid(results, metrics, r"\textbf{{{}}}", r"\textit{{{}}}", fmt.tex)
    first = header.index("strategy") + imported(results)
    align = "".join("l" if i <= first else "r" for i in range(len(header)))
    table = [rf"\begin{{tabular}}{{{align}}}", r"\toprule", " & ".join(map(fmt.tex, header)) + r" \\", r"\midrule"]
    table += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*table, r"\bottomrule", r"\end{tabular}", f"% {_footnote(results, 'bold', 'italic')}", ""])


def decided(results: Results, best: str, metric: str) -> bool:
    """Whether the runs of one scenario tell the best strategy from every other one: each paired difference over the seeds that
    both have, at least two, has an interval without 0. Not corrected for the number of strategies.

    Args:
        results: the runs of one scenario.
        best: the strategy with the best mean.
        metric: the metric.
    """
    own = _by_seed(results.of(best), metric)
    for other in results.strategies:
        if other == best:
            continue
        theirs = _by_seed(results.of(other), metric)
        if not own.keys() & theirs.keys():
            return False
        difference = paired_difference(own, theirs)
        if difference.low is None or difference.high is None or difference.low <= 0.0 <= difference.high:
            return False
    return True


def _by_seed(results: Results, metric: str) -> dict[int, float | None]:
    """Values by seed; none of imported runs, which share no stream with others of the same seed."""
    return {r.seed: value(r, metric) for r in usable(results) if r.source == OWN}


def grid(
    results: Results, metrics: Sequence[str] | None, bold: str, italic: str, write: Callable[[str], str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows, cells marked."""
    names = list(HEADLINE if metrics is None else metrics)
    found, several, sources = lines(results, names), len(results.scenarios) > 1, imported(results)
    header = [
        *(["scenario"] if several else []),
        "strategy",
        *(["source"] if sources else []),
        *map(title, names),
        "seeds",
        "time",
    ]
    rows: list[list[str]] = []
    for row in found:
        here = results.of(scenario=row.scenario)
        head = [*([row.scenario] if several else []), row.strategy, *([row.source] if sources else [])]
        cells = [_marked(write(c.text), c, row, here, m, bold, italic) for m, c in row.cells.items()]
        rows.append([*map(write, head), *cells, write(f"{row.seeds} {row.remark}".strip()), write(fmt.seconds(row.seconds.mean))])
    return header, rows


def _marked(text: str, cell: Cell, row: Line, here: Results, metric: str, bold: str, italic: str) -> str:
    if not cell.best or direction(metric) == 0:
        return text
    return (bold if decided(here, row.strategy, metric) else italic).format(text)


def _footnote(results: Results, bold: str, italic: str) -> str:
    return footnote(results, marks=f"{bold}: {BOLD}; {italic}: {ITALIC}" if len(results.strategies) > 1 else "")
