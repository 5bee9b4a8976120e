"""A coreset in some lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clframe.selection import Coreset


def print_coreset(coreset: Coreset) -> None:
    """What was chosen, and what it says."""
    from clframe.selection.estimate import enough_rows
    from clframe.selection.methods.auto_words import described

    m: dict[str, Any] = dict(coreset.manifest)
    drawn = int(coreset.choice.count.sum())
    repeats = f" ({drawn:,} draws, some of the same row)" if drawn > m["rows"] else ""
    print(f"{m['rows']:,} of {m['pool']['rows']:,} rows of {m['pool']['name']}{repeats} by {m['method']}, seed {m['seed']}")
    if m.get("budget"):
        print("{spent:,.6g} of {asked:,.6g} {column}".format(**m["budget"]))
    mean = coreset.mean_loss
    if mean is not None:
        share = f" (± {100 * mean.half / mean.mean:.1f} %)" if mean.mean else ""
        print(f"mean loss {mean.mean:.4g}, 95 % interval [{mean.low:.4g}, {mean.high:.4g}]{share}, from {m['queries']:,} losses")
        skew = m["mean_loss"].get("skewness") or 0.0
        if drawn < enough_rows(skew):
            wanted = f"about {enough_rows(skew):,} would do"
            print(f"few rows for losses so skewed ({skew:.1f}): the interval may be too low and too narrow; {wanted}")
    else:
        print("mean loss: no losses were given, or the choice is not random, so there is no estimate")
    print(f"effective size {m['effective_size']:.0f}; largest weight {m['largest_weight']:.2f} times the mean one")
    facts = m["facts"]
    if "chosen" in facts:
        print(f"auto chose {described(facts['chosen'])}: {facts['reason']}")
    if facts.get("correlation_of_guess_and_loss") is not None:
        print(f"correlation of guess and loss {facts['correlation_of_guess_and_loss']:.2f}")
    for name, c in m.get("coverage", {}).items():
        many, missing = {"cell": "cells", "label": "classes"}[name], c["empty"]
        said = f"all {c['parts']:,} have" if not missing else f"{c['parts'] - missing:,} of {c['parts']:,} have"
        print(f"{many}: {said} a chosen row; coverage of the worst tenth {c['worst_tenth']:.2f}")
