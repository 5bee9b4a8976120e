"""`clframe run`."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from clframe.cli.frozen_settings import found_for, with_setting
from clframe.cli.output import print_results, told_apart
from clframe.cli.parsing import parse, parser, progress, say
from clframe.errors import RunError, bad_option
from clframe.registry import split

NOT_OF_A_RUN = ("config", "json", "jobs", "seeds", "out", "settings")
SETTINGS = "each strategy as a protocol chose it: tuned (see clframe list tuned), or a study's settings.json"


def main(arguments: Sequence[str]) -> int:
    """Run strategies along scenarios over seeds, and report."""
    from clframe import pieces
    from clframe.comparison import Options, perform, plan
    from clframe.eval.result import Results
    from clframe.experiment import run
    from clframe.rundir import load

    made = parser("run", "Run strategies along a scenario, measuring after every update, over seeds.")
    made.add_argument("--config", action="config", help="YAML file with any of these options")
    made.add_argument("--scenario", type=str, default="split-digits", help="one scenario, several with commas, or a YAML file")
    made.add_argument("--strategy", type=str, default="finetune,lwf,ewc,er", help="strategies, with commas: er(size=200),er+lwf")
    made.add_argument("--seeds", type=int | str | list[int], default=1, help="how many, or which: 3, or 0,1,5, or 0-4")
    made.add_argument("--model", type=str, default="auto", help="mlp, cnn, slim-resnet18, resnet18, resnet32 or module:Name")
    made.add_argument("--out", type=str | None, default=None, help="directory of the runs; runs/SCENARIO-HASH by default")
    made.add_argument("--settings", type=str | None, default=None, help=SETTINGS)
    made.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at the same time")
    made.add_argument("--json", type=bool, default=False, help="print the metrics as JSON")
    made.add_function_arguments(run, skip={"scenario", "strategy", "seed", "model", "out", "progress"})
    given = parse(made, arguments)

    options: dict[str, Any] = {k: v for k, v in vars(given).items() if k not in NOT_OF_A_RUN}
    scenarios, strategies = split(options.pop("scenario"), ","), split(options.pop("strategy"), ",")
    seeds = given.seeds if isinstance(given.seeds, list) else _seeds(str(given.seeds))
    frozen = {} if given.settings is None else found_for(given.settings, scenarios, strategies, seeds, options, arguments)
    told = {**options, **({"settings": [setting.hash for setting in frozen.values()]} if frozen else {})}
    out = Path(given.out) if given.out else Path("runs") / _name(scenarios, strategies, told)
    for scenario in scenarios:
        for strategy in strategies:
            pieces.stream(scenario, strategy, seeds[0], options["data_dir"])
        first = frozen.get((scenario, strategies[0])) if strategies else None
        say(_plan(scenario, strategies, seeds, given.jobs, {**options, **(first.options if first else {})}, out))
    planned = [with_setting(job, frozen) for job in plan(scenarios, strategies, seeds, out, cast(Options, options))]
    try:
        with progress(quiet=given.json) as tell:
            asked = perform(planned, jobs=given.jobs, out=out, progress=tell)
    except KeyboardInterrupt as stop:
        stop.add_note(f"What had begun is saved in {out}: run the same command again to go on, or clframe resume {out}")
        raise
    except RunError:
        if any(out.rglob("metrics.json")):
            found = told_apart(Results([r for r in load(out) if r.finished]))
            print_results(found, found.report(out / "report.html"), given.json)
        raise
    known = {r.spec["identity"] for r in asked}
    results = told_apart(Results([*asked, *(r for r in load(out) if r.spec["identity"] not in known)]))
    print_results(results, results.report(out / "report.html"), given.json)
    return 0


def _plan(scenario: str, strategies: list[str], seeds: list[int], jobs: int, options: dict[str, Any], out: Path) -> str:
    """What is about to be done, and what memory grows with the data."""
    from clframe import pieces
    from clframe.eval.evaluator import Evaluator
    from clframe.eval.plan import plan

    stream = pieces.stream(scenario, "finetune", seeds[0], options["data_dir"])
    stream = stream.walked(batch_size=options["batch_size"], epochs=options["epochs"])
    evaluator = Evaluator(stream, plan(options["evaluate"]), subset=options["subset"])
    runs = len(strategies) * len(seeds)
    return (
        f"{scenario}: {runs} run{'s' * (runs > 1)} of {stream.starts[-1]} updates along {len(stream)} experiences, "
        f"{min(jobs, runs)} at a time; each keeps {evaluator.bytes / 1e6:.0f} MB of test samples. To {out}"
    )


def _seeds(text: str) -> list[int]:
    if re.fullmatch(r"\d+", text):
        count = int(text)
        if count < 1:
            raise bad_option("seeds", "at least one", text, "Give --seeds 3.")
        return list(range(count))
    found: list[int] = []
    for piece in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", piece.strip())
        if match is None:
            raise bad_option("seeds", "a number of seeds, or which ones", text, "Give --seeds 3, or --seeds 0,1,5, or --seeds 0-4.")
        found.extend(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def _name(scenarios: list[str], strategies: list[str], options: dict[str, Any]) -> str:
    from clframe.experiment import ADDED

    given = {k: v for k, v in options.items() if (k, v) not in ADDED.items() and k != "log"}
    digest = hashlib.blake2b(json.dumps([scenarios, strategies, given], sort_keys=True).encode(), digest_size=3).hexdigest()
    first = Path(scenarios[0]).stem if scenarios else "run"
    return re.sub(r"[^\w.-]+", "-", first).strip("-") + f"-{digest}"
