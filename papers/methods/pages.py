"""Make the method pages: docs/methods/NAME.md from each docstring, the results and the measured costs; and their index.

    python -m papers.methods.pages [--check]

With --check nothing is written, and the exit code says whether everything is as it would be written.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from clframe.eval.statistics import summarise
from clframe.strategies import STRATEGIES, Part
from clframe.strategies.composition import overrides
from papers.methods.docstrings import entries, sections
from papers.methods.families import FAMILIES, family_of
from papers.methods.settings import BENCHMARKS, METHODS

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PAGES = ROOT / "docs" / "methods"
COLUMNS = {
    "acc": "ACC",
    "forgetting_first_last": "FORG",
    "min_acc": "min-ACC",
    "wc_acc": "WC-ACC",
    "wf_10": "WF10",
    "gap_depth": "gap depth",
}
TITLES = {name: bench.title for name, bench in BENCHMARKS.items()} | {
    "split-cifar100-features": "Split CIFAR-100 over frozen features, class-incremental"
}
SLOTS = {
    "recall": "recalls samples",
    "criterion": "replaces the loss of each sample",
    "penalty": "adds to the loss",
    "project": "rewrites the gradient",
    "constrain": "changes the weights after the step",
    "network": "answers with another network",
    "read": "reads the features",
}
NOTICE = "<!-- Made by `python -m papers.methods.pages` from the docstring, the results and the costs; not to be edited. -->"


def page(name: str, results: pd.DataFrame, costs: dict[str, dict[str, Any]]) -> str:
    """One method."""
    made = STRATEGIES.load(name)
    told = sections(made)
    title, _, rest = told[""].partition("\n")
    source = Path(inspect.getsourcefile(made) or "").resolve().relative_to(ROOT)
    blocks = [NOTICE, f"# {name}", title, markdown(rest), f"Source: [{source}](../../{source})."]
    blocks += ["## Use", use(name, made)]
    if told.get("Args"):
        blocks += ["## Options", options(made, entries(told["Args"]))]
    logged = entries(told.get("Logs", ""))
    if logged:
        rows = [f"| `{term}` | {cell(what)} |" for term, what in logged.items()]
        blocks += ["## What it logs", "\n".join(["| term | what it is |", "|---|---|", *rows])]
    blocks += ["## Results", own_results(name, results), "## Cost", cost(name, results, costs)]
    for heading in ("Differences", "Reference"):
        if told.get(heading):
            blocks += [f"## {heading}", markdown(told[heading])]
    return "\n\n".join(block for block in blocks if block.strip()) + "\n"


def markdown(text: str) -> str:
    """Docstring prose as Markdown: an indented block is an equation; numbered points are one line each."""
    text = re.sub(r"::\n", ":\n", text)
    points = re.split(r"(?m)^\s*(?=\d+\. )|(?<=[.)]) (?=\d+\. [A-Z])", text.strip("\n"))
    if len(points) > 1:
        return "\n".join(" ".join(point.split()) for point in points if point.strip())
    return text.strip("\n")


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("|", "\\|")


def use(name: str, made: object) -> str:
    """The command, what it composes with, and what it needs."""
    alone = not isinstance(made, type) or not issubclass(made, Part)
    partner = "er+" if isinstance(made, type) and "recall" in getattr(made, "partners", ()) else ""
    needs = sorted(getattr(made, "requires", frozenset()) or frozenset()) if isinstance(made, type) else []
    scenario = "task-split-digits" if "task_test" in needs else "split-digits"
    lines = [f"```bash\nclframe run --scenario {scenario} --strategy {partner}{name} --seeds 3\n```"]
    if isinstance(made, type) and issubclass(made, Part):
        hooks = [what for hook, what in SLOTS.items() if overrides_of(made, hook)]
        lines.append(f"A part: it {', '.join(hooks) or 'learns from the step'}. Compose it with others by `+`.")
    elif alone and isinstance(made, type):
        lines.append("A strategy of its own: it does not compose.")
    if needs:
        lines.append(f"The scenario must reveal: {', '.join(needs)}.")
    return "\n\n".join(lines)


def overrides_of(made: type[Part], hook: str) -> bool:
    """Whether the class of parts has a hook of its own."""
    return overrides(made.__new__(made), hook)


def options(made: object, told: dict[str, str]) -> str:
    """A table of options with their defaults."""
    parameters = inspect.signature(made).parameters  # type: ignore[arg-type]
    rows = []
    for names, what in told.items():
        defaults = [repr(parameters[n.strip()].default) for n in names.split(",") if n.strip() in parameters]
        if names != "setup":
            rows.append(f"| `{names}` | {', '.join(f'`{d}`' for d in defaults)} | {cell(what)} |")
    return "\n".join(["| option | default | what it is |", "|---|---|---|", *rows])


def own_results(name: str, results: pd.DataFrame) -> str:
    """The rows of the table of methods whose strategy has this method in it."""
    rows = []
    for benchmark, title in TITLES.items():
        for method in dict.fromkeys(results.method[results.benchmark == benchmark]):
            if name in re.split(r"\+(?![^(]*\))(?!\+|$)", re.sub(r"\([^)]*\)", "", METHODS.get(method, method))) or method == name:
                found = results[(results.benchmark == benchmark) & (results.method == method)]
                rows.append(f"| {title} | {method}{diverged(found)} | {found.lr.iloc[0]:g} | {' | '.join(cells(found))} |")
    if not rows:
        return "Not in the table of methods."
    head = f"| stream | method | lr | {' | '.join(COLUMNS.values())} |"
    text = "From [the table of methods](README.md), which says how it was made: mean over seeds and half the 95 % t interval."
    return "\n".join([text, "", head, "|" + "---|" * (3 + len(COLUMNS)), *rows])


def diverged(found: pd.DataFrame) -> str:
    """A note where the loss of some runs was not finite; their learning rate had been the best on the tuning seed."""
    failed = int(found.acc.isna().sum())
    return f" (diverged with {failed} of {len(found)} seeds)" if failed else ""


def cells(found: pd.DataFrame) -> list[str]:
    """Mean and half-width of each column."""
    return [interval(found[column]) for column in COLUMNS]


def interval(values: pd.Series) -> str:
    """`mean ± half-width`, or a dash where it is not defined for every seed."""
    known = [float(v) for v in values if pd.notna(v)]
    if not known or len(known) < len(values):
        return "–"
    found = summarise(known)
    return f"{found.mean:.3f}" if found.low is None else f"{found.mean:.3f} ± {(found.high - found.low) / 2:.3f}"


def cost(name: str, results: pd.DataFrame, costs: dict[str, dict[str, Any]]) -> str:
    """Time of an update and FLOPs of training relative to finetune, and bytes of state."""
    lines = []
    if name in costs:
        found = costs[name]
        lines.append(
            f"An update takes {found['ratio']:.2f} times the CPU time of one of finetune (quartiles {found['spread'][0]:.2f} to "
            f"{found['spread'][1]:.2f}; MLP 784-400-400-10, batch 10; `python -m benchmarks --only methods`). What it "
            "does when an experience ends is not in it."
        )
    for benchmark in TITLES:
        here = results[results.benchmark == benchmark]
        own, plain = here[here.method == name], here[here.method == "finetune"]
        if len(own) and len(plain) and plain.train_flops.mean() > 0:
            ratio = own.train_flops.mean() / plain.train_flops.mean()
            lines.append(
                f"On {TITLES[benchmark]}, a whole run takes {ratio:.2f} times the training FLOPs of finetune and keeps "
                f"{own.state_bytes.mean() / 1024:,.0f} KiB of state beside the model and the optimizer."
            )
    return "\n".join(f"- {line}" for line in lines) or "Not measured."


def index(results: pd.DataFrame, costs: dict[str, dict[str, Any]]) -> str:
    """All methods by family, and the table of results."""
    text = (HERE / "index.md").read_text()
    lists = []
    for family, names in FAMILIES.items():
        lists += [
            f"### {family}",
            "| method | what it does | update / finetune |\n|---|---|---|\n" + "\n".join(map(row_of(costs), names)),
        ]
    tables = []
    for benchmark, title in TITLES.items():
        here = results[results.benchmark == benchmark]
        if len(here):
            tables += [f"### {title}", table(here)]
    return f"{NOTICE}\n\n" + text.format(methods="\n\n".join(lists), results="\n\n".join(tables))


def row_of(costs: dict[str, dict[str, Any]]) -> Callable[[str], str]:
    """A function from a name to its line in the list of methods."""

    def row(name: str) -> str:
        told = sections(STRATEGIES.load(name))[""].partition("\n")[0]
        ratio = f"{costs[name]['ratio']:.2f}" if name in costs else "–"
        return f"| [{name}]({name}.md) | {cell(told)} | {ratio} |"

    return row


def table(here: pd.DataFrame) -> str:
    """One stream: every method, in the order of their families."""
    rows = [f"| method | lr | {' | '.join(COLUMNS.values())} | training FLOPs |", "|---|---|" + "---|" * (len(COLUMNS) + 1)]
    plain = here.train_flops[here.method == "finetune"].mean()
    for method in sorted(dict.fromkeys(here.method), key=lambda m: family_of(METHODS.get(m, m), m)):
        found = here[here.method == method]
        relative = f"{found.train_flops.mean() / plain:.2f}x" if plain > 0 else "–"
        rows.append(f"| {method}{diverged(found)} | {found.lr.iloc[0]:g} | {' | '.join(cells(found))} | {relative} |")
    return "\n".join(rows)


def pages() -> dict[Path, str]:
    """Every page by its path."""
    results = pd.read_csv(HERE / "results.csv")
    measured = HERE / "costs.json"
    rows = json.loads(measured.read_text())["rows"] if measured.exists() else []
    costs = {re.split(", | \\(", row["what"])[1]: row for row in rows}
    made = {PAGES / f"{name}.md": page(name, results, costs) for name in STRATEGIES.table}
    return {**made, PAGES / "README.md": index(results, costs)}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m papers.methods.pages", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a page is not what it would be")
    given = parser.parse_args(arguments)
    made = pages()
    stale = [p for p, text in made.items() if not p.exists() or p.read_text() != text]
    extra = [p for p in PAGES.glob("*.md") if p not in made]
    if given.check:
        print("\n".join(f"not as it would be written: {p.relative_to(ROOT)}" for p in stale + extra), file=sys.stderr)
        return 1 if stale or extra else 0
    PAGES.mkdir(exist_ok=True)
    for p in extra:
        p.unlink()
    for p in stale:
        p.write_text(made[p])
    print(f"{len(stale)} of {len(made)} pages written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
