"""Protocols: the phases are apart, the choice sees no test label, what is there is not done again, mistakes name file and key."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml

import clframe
from clframe.cli.main import main
from clframe.errors import ClframeError, OptionError, RunError
from clframe.eval.protocol import storage
from clframe.eval.protocol.cases import Entry, cases_of, search_of
from clframe.eval.protocol.conduct import conduct
from clframe.eval.protocol.outcome import best_of, edges, groups
from clframe.eval.protocol.planned import AT_BOUNDARIES
from clframe.eval.protocol.protocols import validated
from clframe.eval.protocol.search import draws
from clframe.eval.protocol.space import dimension, space
from clframe.eval.protocol.study import Study, parse_study, read
from clframe.eval.protocol.tables import markdown, plan
from clframe.eval.protocol.tpe import suggest
from clframe.eval.result import Results
from clframe.rundir import RunDirectory

HALF = "split-digits(classes={},experiences=2)"
SMALL: dict[str, Any] = {
    "methods": {"finetune": None, "er(size=40)": {"er.batch_size": [5, 10]}},
    "space": {"lr": {"log-range": [0.01, 0.2]}},
    "scenarios": {"digits": {"tuning": HALF.format("0-4"), "evaluation": HALF.format("5-9")}},
    "protocols": ["gtep"],
    "trials": 2,
    "seeds": {"tuning": 1, "evaluation": 2},
    "options": {"evaluate": "boundaries", "batch_size": 20},
}


def made(**changes: Any) -> Study:
    return parse_study({**SMALL, **changes})


def write(path: Path, **changes: Any) -> Path:
    path.write_text(yaml.safe_dump({**SMALL, **changes}, sort_keys=False))
    return path


def scores(entries: list[Entry]) -> list[Any]:
    return [(e.case.method, e.case.protocol.name, [t.scores for t in e.trials], e.chosen, rows(e)) for e in entries]


def rows(entry: Entry) -> list[Any]:
    return [r.rows.drop(columns="seconds").to_dict("list") for r in entry.results]


def test_gtep_over_eight_strategies_on_split_digits(tmp_path: Path) -> None:
    methods = ["finetune", "er(size=40)", "der(size=40)", "agem(size=40)", "ewc", "lwf", "slda", "fecam"]
    found = made(methods=methods, trials=2)
    entries = conduct(found, tmp_path)
    (group,) = groups(found, entries)
    assert [line.method for line in group.lines] == methods
    assert all(len(e.results) == 2 and len(e.trials) == 2 for e in entries)
    assert sorted(line.rank or 0 for line in group.lines)[0] == 1
    assert group.tau is not None and -1 <= group.tau[0] <= 1
    for entry in entries:
        best = max(t.score or 0 for t in entry.trials)
        assert entry.score == best
        assert {r.spec["options"]["lr"] for r in entry.results} == {entry.trials[entry.chosen[0]].values["lr"]}
        assert {r.spec["options"]["tuning_trials"] for r in entry.results} == {2}
        assert "gtep: validation samples" in entry.results[0].spec["options"]["tuning"]
    lrs = [[t.values["lr"] for t in e.trials] for e in entries]
    assert all(tried == lrs[0] for tried in lrs), "draws are paired across methods"


SHUFFLED = f"{Path(__file__).parent / 'shuffled_labels.py'}:stream"


@pytest.mark.parametrize("protocol", ["end-of-training", "first-task"])
def test_shuffling_all_test_labels_changes_no_choice(protocol: str, tmp_path: Path) -> None:
    chosen, reported = [], []
    for shuffled in (False, True):
        found = made(scenarios={"mine": f"{SHUFFLED}(shuffled={shuffled})"}, protocols=[protocol], trials=3)
        entries = conduct(found, tmp_path / str(shuffled))
        chosen.append([(e.chosen, [t.scores for t in e.trials]) for e in entries])
        reported.append([r.metrics.acc for e in entries for r in e.results])
    assert chosen[0] == chosen[1]
    assert reported[0] != reported[1]


def test_every_seed_of_the_first_tasks_chooses_for_itself_and_its_score_is_of_the_others(tmp_path: Path) -> None:
    protocols = ["first-tasks(m=2)", "first-task", "fixed"]
    found = made(scenarios="split-digits(experiences=5)", protocols=protocols, methods=["finetune"])
    entries = conduct(found, tmp_path)
    apart, whole, fixed = (e.results[0].spec["resolved"]["experiences"] for e in entries)
    assert (apart, whole, fixed) == (3, 5, 5)
    for entry in entries[:2]:
        for s, i in enumerate(entry.chosen):
            assert entry.trials[i].scores[s] == max(t.scores[s] or 0 for t in entry.trials)
    assert entries[2].score is None
    assert entries[2].results[0].spec["options"]["tuning"] == "none declared"
    assert {g.protocol: g.cost for g in groups(found, entries)} == {
        "first-tasks(m=2)": 2 * 2 * 2 + 2 * 3, "first-task": 2 * 2 * 1 + 2 * 5, "fixed": 2 * 5,
    }  # fmt: skip


def test_the_oracle_gives_regret_and_transfer_and_is_marked(tmp_path: Path) -> None:
    found = made(protocols=["gtep", "end-of-training"], trials=4, methods=["finetune"], search="quasi-random")
    entries = conduct(found, tmp_path)
    gtep, oracle = groups(found, entries)
    assert gtep.lines[0].regret is not None
    assert gtep.lines[0].transfer is not None and -1 <= gtep.lines[0].transfer <= 1
    assert oracle.lines[0].regret is None
    other, best = entries
    for lost in (
        dataclasses.replace(best, chosen=(), results=Results([])),
        dataclasses.replace(best, results=Results(list(best.results)[:1])),
    ):
        line = groups(found, [other, lost])[0].lines[0]  # the oracle lost some or all of its runs
        assert line.regret is None
        assert line.transfer == gtep.lines[0].transfer
    assert any("no learner of one pass" in w for w in oracle.warnings)
    assert gtep.deployable and not oracle.deployable


def test_two_processes_give_the_rows_of_one_and_nothing_is_done_twice(tmp_path: Path) -> None:
    one = conduct(made(), tmp_path / "one")
    two = conduct(made(), tmp_path / "two", jobs=2)
    assert scores(one) == scores(two)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "one").rglob("metrics.json")}
    assert len(before) == 2 * 2 + 2 * 2
    conduct(made(trials=3), tmp_path / "one")
    place = tmp_path / "one" / "runs" / "digits" / "gtep"
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "one").rglob("metrics.json")}
    assert all(after[p] == t for p, t in before.items() if "trials" in p.parts)
    assert len(list(place.iterdir())) == 4, "what is reported is the study as it is"
    assert len(list((tmp_path / "one" / "earlier" / "digits" / "gtep").iterdir())) == 4
    assert scores(conduct(made(), tmp_path / "one")) == scores(one)
    again = {p: p.stat().st_mtime_ns for p in (tmp_path / "one").rglob("metrics.json")}
    assert {p: again[p] for p in before} == before


def test_one_process_at_a_time_works_on_a_study(tmp_path: Path) -> None:
    with RunDirectory(tmp_path).alone(), pytest.raises(RunError, match="must be run by one process at a time"):
        conduct(made(), tmp_path)


def test_ties_and_what_has_no_effect_are_told(tmp_path: Path) -> None:
    found = made(
        methods={"ewc": {"ewc.strength": [1.0, 2.0, 3.0]}}, space={}, trials=3, protocols=["first-task"], pruning="halving"
    )
    (group,) = groups(found, conduct(found, tmp_path))
    assert "ewc: 2 of 2 settings share the best score, and the first of them was taken." in group.warnings
    assert "Nothing could be pruned: trials have one experience." in group.warnings


def test_killed_three_times_it_ends_with_the_same_tables(tmp_path: Path) -> None:
    file = write(tmp_path / "study.yaml", methods=["er(size=40)"], options={"evaluate": "boundaries", "epochs": 4})
    command = [sys.executable, "-m", "clframe.cli.main", "protocol", str(file), "--jobs", "1", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    draw = random.Random(0)
    for _ in range(3):
        process = subprocess.Popen([*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(2.5, 5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(tmp_path / "killed")], check=True, capture_output=True)
    whole, killed = (json.loads((tmp_path / name / "study.json").read_text()) for name in ("whole", "killed"))
    assert whole == killed
    assert (tmp_path / "whole" / "study.md").read_text() == (tmp_path / "killed" / "study.md").read_text()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"space": {"lrr": [1, 2]}},
            r"space, for 'finetune': an option of 'finetune' must be a known name; got 'lrr'. Did you mean 'lr'",
        ),
        ({"methods": {"er": {"er.sise": [1, 2]}}}, r"methods\.er: .* got 'er\.sise'. Did you mean 'er\.size'"),
        ({"methods": {"er(size=9)": {"er.size": [1, 2]}}}, r"methods\.er\(size=9\): an option that is chosen must be left out"),
        ({"trials": 0}, r"trials must be a budget of at least one trial; got 0"),
        ({"validation": 0}, r"validation must be a share in \(0, 1\)"),
        ({"space": {"lr": ["fast", 0.1]}}, r"space\.lr: lr must be float; got 'fast'"),
        ({"space": {"lr": [True, 0.1]}}, r"space\.lr: lr must be a number or a word; got True"),
        ({"space": {"lr": {"log_range": [1, 2]}}}, r"space\.lr must be .* Write \{log-range"),
        ({"scenarios": {"d": {"tunning": "split-digits", "evaluation": "split-digits"}}}, r"scenarios\.d: .*Did you mean 'tuning'"),
        ({"scenarios": "split-digitz", "protocols": ["fixed"]}, r"scenarios\.split-digitz, evaluation: "),
        ({"metric": "wf_10"}, r"metric must be one that boundaries are enough for"),
        ({"seeds": 0}, r"seeds must be a number of seeds"),
        ({"protocols": ["gtepp"]}, r"protocol must be a known name; got 'gtepp'. Did you mean 'gtep'"),
        ({"metric": "ac"}, r"metric must be a known name; got 'ac'. Did you mean 'acc'"),
        ({"space": {"lr": {"log-range": [0, 1]}}}, r"space\.lr: log-range must be positive at both ends"),
        ({"space": {"lr": {"range": [1]}}}, r"space\.lr: range must be two numbers, the smaller first"),
        ({"space": {"lr": 0.1}}, r"space\.lr must be a list of values, "),
        ({"options": {"lr": 0.1}}, r"options, for methods\.finetune, must be options that are not chosen as well; got 'lr'"),
        ({"options": {"sede": 1}}, r"options: an option of a run must be a known name; got 'sede'"),
        ({"scenarios": {"a": {"tuning": "split-digits"}}}, r"scenarios\.a must be a scenario in words, or"),
        ({"scenarios": "split-digits"}, r"scenarios\.split-digits must name a 'tuning' stream of other data"),
        ({"search": "tpee"}, r"search must be a known name; got 'tpee'"),
        ({"trails": 3}, r"a key of a study must be a known name; got 'trails'. Did you mean 'trials'"),
        ({"methods": []}, r"methods must be a list of methods, or a mapping"),
        ({"methods": ["lwf", "lwf"]}, r"methods must be different from each other; got 'lwf'"),
        ({"methods": [{"lwf": None}]}, r"methods must be a list of methods, or a mapping"),
        ({"seed": None}, r"seed must be an integer; got None"),
        ({"seeds": True}, r"seeds must be a number of seeds"),
        (
            {"options": {"batch_size": None}},
            r"batch_size must be int; got None",
        ),
        ({"space": {"lr": [0.1, -1]}}, r"methods\.finetune on scenarios\.digits with lr=-1: lr must be positive; got -1"),
        ({"protocols": ["first-tasks(m=2)"]}, r"scenarios\.digits: .* must tune on fewer experiences than there are; .* has 2"),
        ({"protocols": ["first-tasks(m=2, reuse=true)"]}, r"scenarios\.digits: .* must tune on fewer experiences than there are"),
        ({"protocols": ["first-task"], "search": "tpe"}, r"search must not be sequential under 'first-task'"),
        ({"scenarios": "mine.yaml", "protocols": ["first-task"]}, r"a scenario that is tuned on must be written in words"),
        ({"scenarios": "split-digits(validation=0.1)", "protocols": ["first-task"]}, r"the validation share of a study must be"),
    ],
)
def test_a_mistake_in_a_study_names_the_file_and_the_key(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    file = write(tmp_path / "mine.yaml", **changes)
    with pytest.raises(ClframeError, match=rf"mine\.yaml: {said}"):
        conduct(read(file), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_in_both_phases_and_empty_validation_splits_are_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"digits": {"tuning": "split-digits(classes=0-5,experiences=3)", "evaluation": "split-digits(classes=5-9)"}}
    for changes, said in (
        ({"scenarios": both}, "scenarios.digits: what is tuned on and what is scored must have no sample in common; 182 of the"),
        (
            {"validation": 0.001},
            "methods.finetune on scenarios.digits with lr=0.08226: experience 0 of 'split-digits' must hold at least one val",
        ),
    ):
        file = write(tmp_path / "s.yaml", **changes)
        assert main(["protocol", str(file), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 2
        assert f"clframe protocol: {file}: {said}" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_setting_that_diverges_is_not_chosen_and_one_that_always_does_is_told(tmp_path: Path) -> None:
    methods = {"ewc": {"ewc.strength": [1.0, 1e30]}}
    found = made(methods=methods, search="grid", space={}, trials=2)
    (entry,) = conduct(found, tmp_path)
    assert [t.score is None for t in entry.trials] == [False, True]
    assert set(entry.chosen) == {0}
    alone = made(methods={"ewc": {"ewc.strength": [1e30]}, "finetune": None}, space={}, trials=1)
    (group,) = groups(alone, conduct(alone, tmp_path))
    ewc, finetune = group.lines
    assert (ewc.tuning, ewc.rank, ewc.score.n) == (None, None, 0)
    assert (finetune.rank, finetune.trials) == (1, 1)
    assert "| ewc | – | – | – | – |" in markdown([group], alone)
    assert "ewc: 1 of 1 trials diverged or have no acc, so nothing was chosen; spread is of the others." in group.warnings


def test_draws_are_reproducible_within_their_ranges_and_paired() -> None:
    found = space("s", {"lr": {"log-range": [0.001, 1]}, "epochs": {"range": [1, 3]}, "batch_size": [8, 16]})
    for how in ("random", "quasi-random"):
        tried = draws(how, found, 200, seed=3)
        assert tried == draws(how, found, 200, seed=3)
        assert tried != draws(how, found, 200, seed=4)
        assert all(0.001 <= t["lr"] <= 1 and t["epochs"] in (1, 2, 3) and t["batch_size"] in (8, 16) for t in tried)
        assert np.bincount([t["epochs"] for t in tried])[1:].min() > 40
        assert abs(np.median([np.log10(t["lr"]) for t in tried]) + 1.5) < 0.3
        alone = draws(how, {"lr": found["lr"]}, 200, seed=3, known=sorted(found))
        assert [t["lr"] for t in alone] == [t["lr"] for t in tried]
    with pytest.raises(OptionError, match="lr in the space must be a list of values in a grid search"):
        draws("grid", found, 10, seed=0)
    with pytest.raises(OptionError, match="trials must be at least the size of the grid, 4; got 3"):
        draws("grid", space("s", {"lr": [1, 2], "epochs": [1, 2]}), 3, seed=0)


def test_a_sequential_search_is_a_function_of_its_trials_and_finds_what_is_to_be_found() -> None:
    found = space("s", {"lr": {"log-range": [0.0001, 1]}, "epochs": {"range": [1, 8]}, "kind": ["a", "b", "c"]})

    def loss(values: dict[str, Any]) -> float:
        return float(np.log10(values["lr"] / 0.03) ** 2 + (values["epochs"] - 3) ** 2 / 8 + (values["kind"] != "b"))

    bests = []
    for seed in range(4):
        tried = [(v, loss(v)) for v in draws("tpe", found, 40, seed)]
        assert len(tried) == 10
        while len(tried) < 40:
            values = suggest(found, tried, False, seed)
            assert values == suggest(found, tried, False, seed)
            tried.append((values, loss(values)))
        bests.append((min(score for _, score in tried), min(loss(v) for v in draws("random", found, 40, seed))))
    tpe, random_search = np.mean(bests, axis=0)
    assert tpe < random_search
    diverged = [*tried, ({"lr": 1.0, "epochs": 1, "kind": "a"}, None)]
    assert set(suggest(found, diverged, False, 0)) == {"lr", "epochs", "kind"}


def test_a_study_with_a_sequential_search_keeps_its_budget_and_goes_on(tmp_path: Path) -> None:
    found = made(search="tpe", trials=6, methods=["finetune", "slda"], space={"lr": {"log-range": [0.001, 0.5]}})
    entries = conduct(found, tmp_path)
    assert [len(e.trials) for e in entries] == [6, 6]
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("metrics.json")}
    assert scores(conduct(found, tmp_path)) == scores(entries)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("metrics.json")} == before


def test_the_trials_of_a_sequential_search_can_be_opened_with_optuna(tmp_path: Path) -> None:
    found = made(search="tpe", trials=5, methods={"er(size=40)": {"er.batch_size": [5, 10]}})
    entries = conduct(found, tmp_path)
    for _ in range(2):  # the second time over the first
        storage.write(tmp_path / "optuna.db", found, entries)
    told = optuna.load_study(study_name="er(size=40) | gtep | digits", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    assert [(t.params, t.value) for t in told.trials] == [(t.values, t.score) for t in entries[0].trials]
    assert told.best_value == entries[0].score
    assert not list(tmp_path.glob(".optuna*"))


def test_numbers_without_a_point_are_numbers_and_equal_draws_are_tried_once() -> None:
    found = made(space={"lr": ["1e-2", "2E-1"]}, trials=6, methods=["finetune"])
    (case,) = cases_of(found)
    assert sorted(v["lr"] for v in search_of(found, case).drawn) == [0.01, 0.2]


def test_a_validation_share_is_put_in_without_touching_the_rest() -> None:
    assert validated("split-digits", 0.2) == "split-digits(validation=0.2)"
    assert validated("a(x='my, (1).csv', y=[1,2])[:3][1:]", 0.2) == "a(x='my, (1).csv', y=[1,2],validation=0.2)[:3][1:]"


def test_metrics_that_boundaries_are_enough_for_do_not_depend_on_what_is_measured_between_them() -> None:
    plans = ("boundaries", "every(k=5)")
    seldom, often = (clframe.run("split-digits(experiences=3)", "er(size=50)", evaluate=p).metrics for p in plans)
    assert [getattr(seldom, name) for name in AT_BOUNDARIES] == [getattr(often, name) for name in AT_BOUNDARIES]
    assert None not in [getattr(seldom, name) for name in AT_BOUNDARIES]


def test_edges_and_the_expected_best_of_some() -> None:
    found = space("s", {"lr": {"log-range": [0.001, 1]}, "k": [1, 2, 3], "two": [1, 2], "word": ["a", "b", "c"]})
    assert list(edges(found, [{"lr": 0.0011, "k": 3, "two": 1, "word": "a"}])) == ["lr=0.0011", "k=3"]
    assert list(edges(found, [{"lr": 0.01, "k": 2}])) == []
    draw = np.random.default_rng(0)
    values = draw.random(6)
    simulated = [np.mean([draw.permutation(values)[:r].max() for _ in range(20_000)]) for r in (1, 2, 4, 6)]
    assert np.allclose([best_of(values.tolist())[r - 1] for r in (1, 2, 4, 6)], simulated, atol=0.01)
    assert best_of([3.0, 1.0], maximise=False)[-1] == 1.0
    assert dimension("x", {"range": [0.0, 1.0]}).edge(0.97)


def test_the_command_writes_the_study_and_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "study.yaml", methods=["finetune"], trials=1)
    assert main(["protocol", str(file), "--out", str(tmp_path / "out"), "--jobs", "1"]) == 0
    out = capsys.readouterr().out
    found = read(file)
    (line,) = plan(found, list(cases_of(found)))
    looks = "digits, gtep: looks at validation samples of the tuning stream, other data"
    assert line == f"{looks}; 3 runs of 1 methods, 6 times training one experience"
    assert "finetune: lr=" in out and "Every choice rests on one run" in out
    assert "| finetune |" in (tmp_path / "out" / "study.md").read_text()
    assert json.loads((tmp_path / "out" / "study.json").read_text())["groups"][0]["protocol"] == "gtep"
    assert len(pd.DataFrame(json.loads((tmp_path / "out" / "study.json").read_text())["groups"][0]["lines"])) == 1
