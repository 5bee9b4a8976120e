"""The report of a study of generations: what each policy cost, generation by generation, and what the samples look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from clframe.eval.report import format as fmt
from clframe.eval.report import html, style
from clframe.eval.report.coreset_samples import address, as_image
from clframe.eval.report.generations_figures import generations_figure
from clframe.eval.report.picture import Picture, picture
from clframe.eval.statistics import Summary, paired_difference, summarise

if TYPE_CHECKING:
    from clframe.generations.outcome import Outcome

COLUMNS = ("policy", "first loss", "last loss", "change", "variance", "real, %", "rows", "seconds")
HELP = (
    "Mean loss on held-out real rows, less is better, of the first and of the last generation; change: the last minus the first, "
    "by seed. ±: half of the 95 % interval over seeds. Variance: of the last samples, over that of held-out real rows. Real: share "
    "of the weight on real rows in the last generation. Rows trained on and seconds: of all generations, mean over seeds."
)
SHOWN, LETTERS = 10, 600
"""Pictures of a generation, and letters of a text, that are shown."""


def lines(told: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """The table of one generator: a line for each policy, in COLUMNS."""
    return [_line(o) for o in told]


def _line(o: Outcome) -> tuple[str, ...]:
    first, last = (dict(zip(o.seeds, o.loss[:, n].tolist(), strict=True)) for n in (0, -1))
    variance = o.variance[:, -1]
    return (
        o.policy,
        _told(summarise(first.values())),
        _told(summarise(last.values())),
        _told(paired_difference(last, first)),
        _told(summarise([float(v) if np.isfinite(v) else None for v in variance])),
        f"{100 * o.real_share[:, -1].mean():.0f}",
        f"{o.rows.sum(axis=1).mean():,.0f}",
        f"{o.seconds.sum(axis=1).mean():,.1f}",
    )


def _told(s: Summary) -> str:
    half = fmt.half_width(s)
    return fmt.number(s.mean) + ("" if half is None or s.mean is None else f" ± {fmt.number(half)}")


def theory_lines(told: Sequence[Outcome], label: str) -> list[str]:
    """What theory expects of the last generation, where it says something; each line says what it is."""
    found = []
    for o in told:
        for expected, what in ((o.expected_loss, "loss"), (o.expected_variance, "variance")):
            if expected is not None:
                found.append(f"{o.policy}: {what} expected of generation {len(expected)}: {expected[-1]:.4g} ({label})")
    return found


def markdown(told: Sequence[Outcome], title: str, label: str) -> str:
    """The tables of the study."""
    out = [f"# {title}", ""]
    for generator in dict.fromkeys(o.generator for o in told):
        some = [o for o in told if o.generator == generator]
        out += [f"## {generator}", "", f"| {' | '.join(COLUMNS)} |", f"|---|{'---:|' * (len(COLUMNS) - 1)}"]
        out += [f"| {' | '.join(line)} |" for line in lines(some)]
        out += ["", *(f"- {line}" for line in theory_lines(some, label)), ""]
    return "\n".join([*out, HELP, ""])


def render(
    told: Sequence[Outcome],
    title: str,
    facts: Sequence[str],
    galleries: Mapping[tuple[str, str], Sequence[tuple[str, Mapping[str, Any]]]],
    label: str,
) -> str:
    """The page as text.

    Args:
        told: the outcomes.
        title: of the page.
        facts: sentences on what was done.
        galleries: by (generator, policy): (name of a generation, some of its rows by column).
        label: what is said of theory.
    """
    dark = style.dark_colours(1)
    policies = list(dict.fromkeys(o.policy for o in told))
    sections = []
    for number, generator in enumerate(dict.fromkeys(o.generator for o in told)):
        some = [o for o in told if o.generator == generator]
        sections.append(
            {
                "name": generator,
                "lines": lines(some),
                "pictures": list(_pictures(some, policies, f"g{number}", dark)),
                "theory": theory_lines(some, label),
                "samples": [(o.policy, _gallery(galleries.get((o.generator, o.policy), ()))) for o in some],
            }
        )
    return html.template("generations.html").render(
        title=title, facts=facts, dark=dark, sections=sections, columns=COLUMNS, help=HELP, label=label
    )


def _pictures(told: Sequence[Outcome], policies: Sequence[str], key: str, dark: dict[str, str]) -> list[Picture]:
    found = []
    for measure, caption in (("loss", "Loss on held-out real rows"), ("variance", "Variance of the samples")):
        if any(np.isfinite(getattr(o, measure)).any() for o in told):
            fig = generations_figure(told, measure, policies)
            found.append(picture(fig, f"{key}{measure}", f"{caption} against generation, by policy", caption, dark))
    return found


def _gallery(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Pictures and texts of some generations; nothing for other rows."""
    found = []
    for name, columns in rows:
        texts = [str(t)[:LETTERS] for t in columns.get("text", ())][:2]
        x = columns.get("x")
        images = [address(as_image(one)) for one in x[:SHOWN]] if x is not None and x.ndim in (3, 4) else []
        if texts or images:
            found.append({"name": name, "texts": texts, "images": images})
    return found
