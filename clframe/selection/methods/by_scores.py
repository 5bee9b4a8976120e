"""A choice drawn in proportion to scores."""

from __future__ import annotations

from typing import Any

from clframe.errors import bad_option, unknown_name
from clframe.seeding import rng, seed_for
from clframe.selection.choice import Ask, Choice
from clframe.selection.draws import Scores, iid, systematic
from clframe.selection.estimate import drawn_mean

DRAWS = ("iid", "systematic")


def by_scores(ask: Ask, scores: Scores, draw: str, name: str, **facts: Any) -> Choice:
    """Draw, and estimate the mean loss from what was drawn, where losses are known.

    Args:
        ask: pool, size, seed and losses.
        scores: p.
        draw: "iid" with replacement, or "systematic" for distinct rows.
        name: of the method, to which its random numbers belong.
        facts: for the manifest.
    """
    one_by_one = draw == "iid"
    drawn = iid(scores, ask.size, rng(ask.seed, name)) if one_by_one else systematic(scores, ask.size, seed_for(ask.seed, name))
    estimate = None if ask.losses is None else drawn_mean(drawn, ask.losses(drawn.rows), ask.pool.n)
    return Choice.drawn(drawn, scores.raw_at(drawn.rows), estimate, **facts)


def check(mixture: float, draw: str, usual: float) -> None:
    """Refuse a share that is none, and an unknown way to draw.

    Raises:
        OptionError: one of them.
    """
    if not 0 <= mixture <= 1:
        raise bad_option("mixture", "a share in [0, 1]", mixture, f"Give mixture={usual:g}.")
    if draw not in DRAWS:
        raise unknown_name("draw", draw, DRAWS)
