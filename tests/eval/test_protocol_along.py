"""Protocols that choose along the stream: every try starts where the learner stands, what is reported is what was walked."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clframe
from clframe import pieces
from clframe.errors import OptionError, RunError
from clframe.eval.protocol.along import Schedule, TuningWalk
from clframe.eval.protocol.along.choosers import Adaptive, Best, Round, StabilityDecay, Try
from clframe.eval.protocol.along.importance import importance
from clframe.eval.protocol.conduct import conduct
from clframe.eval.protocol.outcome import groups
from clframe.eval.protocol.protocols import protocol
from clframe.eval.protocol.search import Search
from clframe.eval.protocol.space import space
from clframe.eval.protocol.study import Study, parse_study, read
from clframe.snapshot import copied

STREAM, HELD = "split-digits(experiences=3)", "split-digits(experiences=3,validation=0.2)"
OPTIONS = {"batch_size": 20}
SHUFFLED = f"{Path(__file__).parent / 'shuffled_labels.py'}:stream"


def search(trials: int = 3, how: str = "random", **dimensions: Any) -> Search:
    found = dimensions or {"lr": {"log-range": [0.01, 0.2]}}
    named = {name.replace("__", "."): values for name, values in found.items()}
    return Search(how, space("x", named), trials, seed=3)


def walk(out: Path, chooser: Any, method: str = "er(size=40)", **changes: Any) -> TuningWalk:
    made = TuningWalk(
        HELD, STREAM, method, search(lr={"log-range": [0.01, 0.2]}, er__batch_size=[5, 20]), chooser, 0.2, 0, out, OPTIONS
    )
    return dataclasses.replace(made, **changes)


def study(**changes: Any) -> Study:
    written = {
        "methods": {"finetune": None, "er(size=40)": {"er.batch_size": [5, 20]}},
        "space": {"lr": {"log-range": [0.01, 0.2]}},
        "scenarios": {"digits": STREAM},
        "protocols": ["current-task"],
        "trials": 2,
        "seeds": 2,
        "options": {"evaluate": "boundaries", "batch_size": 20},
    }
    return parse_study({**written, **changes})


@pytest.mark.parametrize("method", ["er(size=40)", "lwf", "ewc", "der(size=40)+ema", "agem(size=40)", "si"])
def test_equal_options_at_every_experience_are_the_method_itself_even_where_it_is_made_anew(method: str) -> None:
    plain = clframe.run(STREAM, method, lr=0.1, momentum=0.9, **OPTIONS)
    same = clframe.run(STREAM, Schedule(method, ({"lr": 0.1, "momentum": 0.9},) * 3), **OPTIONS)
    anew = clframe.run(
        STREAM, Schedule(method, tuple({"lr": 0.1, "momentum": 0.9, "weight_decay": d} for d in (0.0, 1e-300, 1e-301))), **OPTIONS
    )
    for other in (same, anew):
        assert plain.rows.drop(columns=["run", "seconds"]).equals(other.rows.drop(columns=["run", "seconds"]))
    assert same.budget.train_flops == plain.budget.train_flops


def test_the_options_are_those_of_the_experience_and_the_state_is_kept() -> None:
    seen: list[tuple[float, int, int]] = []

    class Spy(Schedule):
        def __call__(self, setup: Any) -> Any:
            made = super().__call__(setup)
            begin = made.begin

            def told(train: Any) -> None:
                begin(train)
                part = made.learner.parts[0]
                seen.append((made.learner.optimizer.param_groups[0]["lr"], part.batch_size, len(part.memory)))

            made.begin = told
            return made

    clframe.run(
        STREAM, Spy("er(size=40)", ({"lr": 0.1, "er.batch_size": 5}, {"lr": 0.2, "er.batch_size": 7}, {"lr": 0.3})), **OPTIONS
    )
    assert seen == [(0.1, 5, 0), (0.2, 7, 40), (0.3, None, 40)]


def test_a_schedule_is_resumed_exactly(tmp_path: Path) -> None:
    schedule = Schedule("er(size=40)", ({"lr": 0.1}, {"lr": 0.2, "er.batch_size": 7}, {"lr": 0.05}))
    whole = clframe.run(STREAM, schedule, **OPTIONS)
    stops = iter([30, 45, 10**9])
    for stop in stops:
        try:
            halting = None if stop == 10**9 else (lambda n, total, stop=stop: n >= stop)
            found = clframe.run(STREAM, schedule, out=tmp_path / "run", progress=halting, **OPTIONS)
        except KeyboardInterrupt:
            continue
    assert found.rows.drop(columns="seconds").equals(whole.rows.drop(columns="seconds"))


@pytest.mark.parametrize(
    "chooser", [Best(), Best("seen", retrains=False), Best("memory"), StabilityDecay(attempts=3), Adaptive(1, 1, 2)]
)
def test_the_walk_ends_where_the_reported_run_does(chooser: Any, tmp_path: Path) -> None:
    made = walk(tmp_path, chooser)
    tuned = made(None)
    stand = made.standpoint()
    with pieces.isolated_run(0, 1):
        for values in tuned.settings:
            stand.go_on(values, lambda share: None)
    assert stand._at is not None
    walked = stand._at.state["model"]
    clframe.run(STREAM if chooser.retrains else HELD, Schedule("er(size=40)", tuned.settings), out=tmp_path / "run", **OPTIONS)
    reported = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["strategy"]["learner"]["model"]
    assert all(torch.equal(walked[name], reported[name]) for name in walked)


def test_a_try_leaves_no_trace_and_is_repeatable(tmp_path: Path) -> None:
    stand = walk(tmp_path, Best("memory")).standpoint()
    quiet = lambda share: None  # noqa: E731
    with pieces.isolated_run(0, 1):
        first = stand.tried(Try({"lr": 0.1}), quiet)
        assert stand.tried(Try({"lr": 0.1}), quiet) == first
        stand.go_on({"lr": 0.1}, quiet)
        assert stand._at is not None
        before = copied(stand._at.state)
        tried = [stand.tried(Try({"lr": lr}), quiet) for lr in (0.1, 0.01, 0.1)]
    assert tried[0] == tried[2] != tried[1]
    assert repr(before) == repr(stand._at.state)


def test_withheld_samples_are_not_replayed_and_come_from_every_class(tmp_path: Path) -> None:
    stand = walk(tmp_path, Best("memory")).standpoint()
    with pieces.isolated_run(0, 1):
        stand.go_on({"lr": 0.1}, lambda share: None)
        learner = stand._learner("er(size=40)", {"lr": 0.1})
        withheld = stand._withheld(learner)
    assert withheld is not None
    memory = learner.parts[0].memory
    drawn = {int(i) for _ in range(50) for i in memory.draw(20)}
    assert drawn and not drawn & set(withheld.tolist()) and set(withheld.tolist()) <= set(memory.index[: memory.filled].tolist())
    labels = stand._stream.data.train.y
    held = {int(c): int((labels[memory.index[: memory.filled].numpy()] == c).sum()) for c in np.unique(labels[withheld])}
    assert all(int((labels[withheld] == c).sum()) == round(0.2 * n) for c, n in held.items())


def test_killed_three_times_a_walk_ends_with_the_same_choice(tmp_path: Path) -> None:
    whole = walk(tmp_path / "whole", Best())(None)
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from test_protocol_along import walk, Best
import time
walk(Path({str(tmp_path / "killed")!r}), Best())(lambda n, total: time.sleep(0.01))
"""
    file = tmp_path / "killed" / "schedule.json"
    for kill in range(3):
        process = subprocess.Popen([sys.executable, "-c", code])
        before = file.stat().st_mtime_ns if file.exists() else 0
        while process.poll() is None and not (file.exists() and file.stat().st_mtime_ns != before):
            time.sleep(0.02)
        time.sleep(0.1 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not walk(tmp_path / "killed", Best()).out.joinpath("metrics.json").exists()
    assert walk(tmp_path / "killed", Best())(None) == whole


def test_stability_decays_until_enough_plasticity_is_left() -> None:
    chooser, how = StabilityDecay(drop=0.2, decay=0.5, attempts=4), search(2, "grid", lr=[0.1, 0.01], ewc__strength=[1.0, 100.0])
    tried: list[Try] = []
    scores = iter([0.9, 0.5, 0.1, 0.6, 0.73])
    while (proposed := chooser.propose(how, [], tried)) is not None:
        tried.append(dataclasses.replace(proposed, score=next(scores)))
    assert [t.plain for t in tried] == [True, True, False, False, False]
    assert [t.values.get("ewc.strength") for t in tried] == [None, None, 100.0, 50.0, 25.0]
    assert {t.values["lr"] for t in tried[2:]} == {tried[0].values["lr"]}
    assert chooser.pick(tried) == 4
    past = [Round(tuple(tried), 4)]
    after = [Try({"lr": 0.1}, True, 0.9), Try({"lr": 0.01}, True, 0.1)]
    carried, again = (c.propose(how, past, after) for c in (chooser, dataclasses.replace(chooser, carry_over=False)))
    assert carried is not None and again is not None
    assert (carried.values["ewc.strength"], again.values["ewc.strength"]) == (25.0, 100.0)


def test_several_options_of_stability_give_way_one_after_the_other_then_together_and_the_last_attempt_is_taken() -> None:
    chooser, how = StabilityDecay(attempts=5), search(1, lr=[0.1], a__x=[8.0], b__n=[4])
    tried: list[Try] = []
    while (proposed := chooser.propose(how, [], tried)) is not None:
        tried.append(dataclasses.replace(proposed, score=0.9 if proposed.plain else 0.0))
    pairs = [(t.values["a.x"], t.values["b.n"]) for t in tried[1:]]
    assert pairs == [(8.0, 4), (4.0, 4), (8.0, 2), (4.0, 2), (2.0, 2)]
    assert chooser.pick(tried) == len(tried) - 1
    assert chooser.pick([*tried[:-1], Try({}, score=None)]) == len(tried) - 2


def test_what_mattered_is_tuned_again_and_the_rest_stays() -> None:
    how = search(9, "grid", lr=[1.0, 2.0, 3.0], momentum=[0.0, 0.5, 0.9])
    tries = [Try(values, score=values["lr"] + 0.001 * values["momentum"]) for values in how.drawn]
    shares = importance(how.space, [[(t.values, t.score) for t in tries]] * 2, seed=0)
    assert shares["lr"] > 0.9 > shares["momentum"]
    past, chooser = [Round(tuple(tries), 8)], Adaptive(m=1, top=1, trials=3)
    later: list[Try] = []
    while (proposed := chooser.propose(how, past, later)) is not None:
        later.append(dataclasses.replace(proposed, score=0.5))
    assert later[0].values == {"lr": 3.0, "momentum": 0.9}
    assert {t.values["momentum"] for t in later} == {0.9} and len(later) <= 3


def test_a_study_of_protocols_along_the_stream(tmp_path: Path) -> None:
    names = ["current-task", "seen-tasks", "seen-tasks(by=memory)", "stability-decay(attempts=2)", "adaptive(m=1,trials=2)"]
    found = study(protocols=names)
    entries = conduct(found, tmp_path)
    tables = groups(found, entries)
    assert [g.protocol for g in tables] == names
    for entry in entries:
        assert len(entry.results) == len(entry.tuned) == 2 and not entry.failed and entry.tuning_flops > 0
        assert all(len(v["lr"]) == 3 for v in entry.values)
        assert entry.results[0].strategy == f"{entry.case.method}, scheduled"
        assert entry.results[0].spec["options"]["tuning_trials"] == sum(len(r.tries) for r in entry.tuned[0].rounds)
    sizes = {e.case.protocol.name: e.results[0].budget.samples for e in entries if e.case.method == "finetune"}
    assert sizes["seen-tasks"] < sizes["current-task"] == sizes["adaptive(m=1,trials=2)"]
    again = conduct(found, tmp_path)
    assert [e.values for e in again] == [e.values for e in entries]


def test_two_processes_choose_what_one_does(tmp_path: Path) -> None:
    found = study(protocols=["seen-tasks(by=memory)"], methods=["er(size=40)"])
    one, two = conduct(found, tmp_path / "one"), conduct(found, tmp_path / "two", jobs=2)
    assert [(e.values, e.score) for e in one] == [(e.values, e.score) for e in two]


def test_shuffling_all_test_labels_changes_no_choice(tmp_path: Path) -> None:
    chosen = []
    for shuffled in (False, True):
        names = ["current-task", "seen-tasks", "seen-tasks(by=memory)", "stability-decay(attempts=2)"]
        found = study(scenarios={"mine": f"{SHUFFLED}(shuffled={shuffled})"}, protocols=names, seeds=1, methods=["er(size=40)"])
        chosen.append([(e.values, e.score) for e in conduct(found, tmp_path / str(shuffled))])
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"epochs": [1, 2]}}, "must be able to change between experiences; got 'epochs'"),
        ({"methods": {"er": {"er.size": [40, 80]}}}, "must not change what is remembered; 'er' with"),
        (
            {"methods": {"er": {"er.memory": ["reservoir", "ring"]}}, "protocols": ["stability-decay"]},
            "must be numbers in stability-decay",
        ),
        ({"methods": ["gdumb"]}, "must be options of a composition of parts"),
        ({"methods": ["joint"]}, "must go along the stream as it is"),
        ({"metric": "min_acc"}, "metric must be acc"),
        ({"protocols": ["stability-decay(decay=2)"]}, "decay must be in (0, 1); got 2"),
        ({"protocols": ["seen-tasks(by=test)"]}, "by must be 'validation' or 'memory'; got 'test'"),
        ({"protocols": ["adaptive(m=0)"]}, "m must be a positive integer; got 0"),
    ],
)
def test_what_cannot_be_chosen_along_a_stream_is_refused_before_anything_is_trained(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(OptionError) as caught:
        conduct(study(**changes), tmp_path / "out")
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_walk_over_other_data_is_refused_and_not_taken_for_its_own(tmp_path: Path) -> None:
    made = walk(tmp_path, Best())
    made(None)
    other = dataclasses.replace(made, scenario="split-digits(experiences=4,validation=0.2)", whole="split-digits(experiences=4)")
    with pytest.raises(RunError, match="what is in it was chosen on other data"):
        other(None)


def test_a_key_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("methods: [finetune]\nscenarios: split-digits\ntrials: 3\ntrials: 1\n")
    with pytest.raises(OptionError, match="the key 'trials' is there twice") as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_names_tell_options_apart() -> None:
    assert protocol("stability-decay(drop=0.1)").name == "stability-decay(drop=0.1)"
    assert protocol("stability-decay(drop=0.2)").name == "stability-decay"
    assert protocol("adaptive(m=2)").name == "adaptive(m=2)"
