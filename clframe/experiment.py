"""Run an experiment: resolve what was written, build the pieces, walk the stream, return a `Result`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clframe import pieces, strategies
from clframe.checkpoint import Checkpoint
from clframe.environment import describe, resolve_device
from clframe.errors import bad_option, unknown_name
from clframe.eval.boards import about, check, opened, positions
from clframe.eval.budget import Meter
from clframe.eval.certificates import Certificates, certifying
from clframe.eval.evaluator import Evaluator
from clframe.eval.follower import Following, following
from clframe.eval.plan import Plan, plan
from clframe.eval.records import Records
from clframe.eval.result import Result
from clframe.ledger import account
from clframe.loop import refuse_hidden, walk
from clframe.models import Network
from clframe.rundir import RunDirectory, scenario_name
from clframe.scenarios import Stream
from clframe.strategies.build import Setup, Written
from clframe.types import Strategy

NOT_IDENTITY = ("out", "checkpoint_seconds", "checkpoint_every", "progress", "data_dir", "report", "log")
ADDED = {"representation": None, "tested_on": "test", "certify": None, "attack": False}
"""Options younger than the run directories of earlier versions: with these values they are not in a spec, which stays as it was."""


def run(
    scenario: str | Stream = "split-digits",
    strategy: Written = "er",
    *,
    model: str | nn.Module = "auto",
    head: str = "auto",
    optimizer: str = "sgd",
    lr: float = 0.05,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    reset_optimizer: bool = False,
    batch_size: int = 10,
    epochs: int = 1,
    evaluate: str = "every",
    subset: int = 1000,
    bits: bool = False,
    representation: str | None = None,
    certify: str | None = None,
    attack: bool = False,
    tested_on: str = "test",
    grad_decomposition: bool = False,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    tuning: str = "none declared",
    tuning_trials: int = 0,
    data_dir: str | None = None,
    out: str | Path | None = None,
    checkpoint_seconds: float = 30.0,
    checkpoint_every: int | None = None,
    report: bool = True,
    log: str | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Result:
    """Run one strategy along one stream, with one seed, measuring as it learns.

    Args:
        scenario: a name such as "split-digits", with options as in "split-digits(experiences=2)", a YAML file, or a Stream.
        strategy: a name such as "er", with options as in "er(size=200)", a composition such as "er+lwf", or parts.
        model: "mlp", "cnn", "slim-resnet18", "resnet18", "resnet32", "module:Name", or an nn.Module; "auto" takes the slim
            ResNet-18 for colour images of 24 pixels or more and the MLP for the rest.
        head: "single", "multi", "masked", "cosine", "none"; "auto" takes multi where the test tells the task, else single.
        optimizer: "sgd", "adam" or "adamw".
        lr: learning rate.
        momentum: momentum of sgd.
        weight_decay: weight decay.
        reset_optimizer: forget the optimizer's state when an experience begins.
        batch_size: new samples an update.
        epochs: passes over each experience.
        evaluate: when to measure between boundaries: "every", "every(k=5)", "dense(first=50, every=5)", "log", "boundaries".
        subset: test samples an experience for these measurements, drawn once per run; 0 for all.
        bits: keep the correctness of every sample, for intervals over the test samples.
        representation: also measure RankMe and alpha-ReQ of the features, at boundaries and after those evaluated updates that
            this plan names: "every" (all of them), "every(k=50)", "boundaries"; not measured by default.
        certify: when to measure what a method with interval weights promises of each experience: certified accuracy, and whether
            the weights lie in their boxes; "boundaries", or after those evaluated updates besides that this plan names, or
            "off"; by default the boundaries, for methods that promise something.
        attack: also attack the networks in the boxes of each experience when it has ended; it costs some 100 passes.
        tested_on: "test", or "validation": the samples that a scenario with `validation=0.1` holds out of its training data.
        grad_decomposition: log the norms and the angle of the plasticity and the stability gradient of every update.
        seed: root of every random number, class order and initialisation included.
        device: "auto", "cpu", "cuda" or "mps".
        threads: processor threads; results are exact for a given number.
        tuning: what was looked at to choose these options; stored and shown with the result.
        tuning_trials: runs that were made to choose them; stored in the budget.
        data_dir: folder of data sets; the environment variable CLFRAME_DATA by default.
        out: directory of the run; none is written by default.
        checkpoint_seconds: time between checkpoints.
        checkpoint_every: updates between checkpoints, instead of a time.
        report: draw report.html into the directory when the run is finished; it takes longer than a very small run.
        log: dashboards to send every measurement to while the run goes on: "tensorboard", "mlflow", "wandb"; several with commas.
        progress: called with (updates done, updates in all) after each; if it returns true, the run saves and stops.

    Raises:
        ClframeError: whatever was written cannot be run; the message says why and what to do.

    Example:
        >>> result = run("split-digits", "er(size=100)", seed=0)
        >>> result.finished, len(result.updates) > 100
        (True, True)
    """
    given = dict(locals())
    options = {k: v for k, v in given.items() if k not in NOT_IDENTITY and (k, v) not in ADDED.items()}
    if tuning_trials < 0:
        raise bad_option(
            "tuning_trials", "0 or more", tuning_trials, "Give the number of runs that were made to choose the options."
        )
    place = resolve_device(device)
    directory = RunDirectory(Path(out)) if out is not None else None
    with pieces.isolated_run(seed, threads):
        stream, network, learner, due, shown = built(given, place)
        promises = _certificates(given, stream, learner)
        evaluator = Evaluator(
            stream, due, subset=subset, seed=seed, device=place, bits=bits, representation=shown, certificates=promises
        )
        spec = pieces.resolved(options, stream, learner, network, data_dir)
        environment = describe(place, threads)
        if directory is not None:
            directory.claim(spec, environment)
            if directory.finished:
                return _logged(directory.load(), log)
        with directory.alone() if directory is not None else nullcontext(), _followed(spec, directory, log, seed) as follower:
            records, meter = follower.records, Meter()
            checkpoint = Checkpoint(
                directory.checkpoint if directory is not None else None,
                spec["identity"],
                {"strategy": learner, "records": records, "evaluator": evaluator, "meter": meter},
                seconds=checkpoint_seconds,
                every=checkpoint_every,
                progress=follower.telling(progress, stream.starts[-1]),
            )
            with checkpoint.stoppable():
                checkpoint.save(walk(stream, learner, evaluator, records, checkpoint))
            budget = account(learner, network, stream, evaluator, meter, tuning_trials)
            result = Result(
                strategy=spec["options"]["strategy"],
                scenario=scenario_name(spec),
                seed=seed,
                spec=spec,
                rows=records.rows(),
                terms=records.terms(),
                classes=records.classes(),
                budget=budget,
                environment=environment,
                path=directory.path if directory is not None else None,
                head_rows=records.head_rows(),
                head_classes=records.head_classes(),
                representation=evaluator.represented(),
                certificates=evaluator.certified(),
                **_capacity(learner),
            )
            if directory is not None:
                directory.save(result, evaluator.chosen(), report)
            follower.finish(result)
    return result


def rehearse(scenario: str | Stream, strategy: Written, *, seed: int = 0, **options: Any) -> None:
    """Build everything that a run is made of, begin, and train nothing: what cannot be built or does not fit is refused here.

    Args:
        scenario, strategy, seed, options: as in `run`; what is left out has its default.

    Raises:
        ClframeError: as `run` would.

    Example:
        >>> rehearse("split-digits", "er(size=0)")
        Traceback (most recent call last):
        clframe.errors.OptionError: size must be a positive integer; got 0. Give size=500 for 500 remembered samples.
    """
    given = with_defaults({**options, "scenario": scenario, "strategy": strategy, "seed": seed})
    check(given["log"])
    with pieces.isolated_run(seed, given["threads"]):
        stream, _, learner, _, _ = built(given, resolve_device(given["device"]))
        _certificates(given, stream, learner)
        learner.begin(stream.experiences[0].train)


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a run: these, and for the others what `run` takes without them.

    Example:
        >>> with_defaults({"lr": 0.1})["lr"], with_defaults({})["batch_size"]
        (0.1, 10)
    """
    return {**{name: p.default for name, p in inspect.signature(run).parameters.items()}, **options}


def built(o: Mapping[str, Any], place: torch.device) -> tuple[Stream, Network, Strategy, Plan, Plan | None]:
    """The stream, the network, the strategy, and when to measure accuracy and features."""
    walked = {"batch_size": o["batch_size"], "epochs": o["epochs"], "device": place, "seed": o["seed"]}
    stream = pieces.stream(o["scenario"], o["strategy"], o["seed"], o["data_dir"]).walked(**walked)
    if o["tested_on"] not in ("test", "validation"):
        raise unknown_name("tested_on", o["tested_on"], ("test", "validation"))
    stream = stream.on_validation() if o["tested_on"] == "validation" else stream
    network = pieces.network(o["model"], o["head"], stream, o["seed"]).to(place)
    make = pieces.optimizer(o["optimizer"], o["lr"], o["momentum"], o["weight_decay"])
    once = (o["seed"], o["reset_optimizer"], o["grad_decomposition"], o["epochs"])
    setup = Setup(network, make, *once, width=pieces.width(stream), batch_size=o["batch_size"])
    learner = strategies.build(o["strategy"], setup)
    refuse_hidden(stream, learner)
    return stream, network, learner, plan(o["evaluate"]), _representation_plan(o["representation"], learner)


def _followed(spec: Mapping[str, Any], directory: RunDirectory | None, log: str | None, seed: int) -> Following:
    """The record table of a run, and what sends it to dashboards: those that are asked for, or that it had before it stopped."""
    run = about(spec, scenario_name(spec), None if directory is None else directory.path)
    asked = ",".join(positions(run.folder)) if log is None else log
    return following(opened(asked, run), run, Records(run.strategy, seed))


def _logged(result: Result, log: str | None) -> Result:
    """A run that was finished before, sent to dashboards that have not all of it."""
    if log is not None:
        result.log(log)
    return result


def _certificates(o: Mapping[str, Any], stream: Stream, strategy: Strategy) -> Certificates | None:
    """What measures the promises of the strategy; None where there are none."""
    return certifying(o["certify"], o["attack"], strategy, stream.reveals.boundaries, o["seed"])


def _capacity(strategy: Strategy) -> dict[str, Any]:
    """The tables of a strategy that says which task owns which weights; none of another."""
    tables: Callable[[], object] | None = getattr(strategy, "capacity", None)
    found = tables() if callable(tables) else None
    known = found if isinstance(found, Mapping) else {}
    return {name: known[name] for name in ("capacity", "overlap") if len(known.get(name, ()))}


def _representation_plan(written: str | None, strategy: Strategy) -> Plan | None:
    """When to measure the features.

    Raises:
        OptionError: an unknown plan, or a strategy without a model that has features.
    """
    if written is None:
        return None
    if not callable(getattr(getattr(strategy, "model", None), "features", None)):
        kind = type(strategy).__name__
        raise bad_option("representation", f"left out for {kind}, which has no model with features", written, "Leave it out.")
    return plan(written)
