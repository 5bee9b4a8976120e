"""Pruning gives up the worse trials and repeats nothing; budgets can be equal in compute; a study is watched while it goes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from clframe.errors import OptionError
from clframe.eval.protocol.conduct import conduct
from clframe.eval.protocol.outcome import groups
from clframe.eval.protocol.pruning import Halving, survivors
from clframe.eval.protocol.standing import Standing
from clframe.eval.protocol.study import Study, parse_study
from clframe.rundir import RunDirectory


def study(**changes: Any) -> Study:
    written = {
        "methods": ["er(size=40)"],
        "space": {"lr": {"log-range": [0.001, 0.3]}},
        "scenarios": {"digits": "split-digits"},
        "protocols": ["end-of-training"],
        "search": "quasi-random",
        "trials": 6,
        "seeds": 1,
        "options": {"evaluate": "boundaries", "batch_size": 20},
    }
    return parse_study({**written, **changes})


def test_survivors_end_as_if_nothing_had_been_pruned_and_the_others_stop(tmp_path: Path) -> None:
    (whole,) = conduct(study(), tmp_path / "whole")
    (pruned,) = conduct(study(pruning="halving"), tmp_path / "pruned")
    left = [t for t in pruned.trials if t.pruned_after is None]
    assert sorted(t.pruned_after or 0 for t in pruned.trials) == [0, 1, 1, 1, 2, 4][: len(pruned.trials)]
    assert all(t == whole.trials[i] for i, t in enumerate(pruned.trials) if t in left)
    assert pruned.chosen and pruned.trials[pruned.chosen[0]] in left
    assert pruned.tuning_flops < 0.6 * whole.tuning_flops
    told = groups(study(pruning="halving"), [pruned])[0].warnings
    assert any("5 of 6 trials were pruned" in warning for warning in told)


def test_pruned_trials_go_on_when_the_rule_is_taken_away_and_nothing_is_trained_twice(tmp_path: Path) -> None:
    (pruned,) = conduct(study(pruning="halving(first=2)"), tmp_path)
    steps = {p.parent: RunDirectory(p.parent).finished for p in (tmp_path / "trials").rglob("spec.json")}
    assert sum(steps.values()) == sum(t.pruned_after is None for t in pruned.trials) < len(steps)
    (again,) = conduct(study(pruning="halving(first=2)"), tmp_path)
    assert again.trials == pruned.trials and again.tuning_flops == pruned.tuning_flops
    (whole,) = conduct(study(), tmp_path)
    (fresh,) = conduct(study(), tmp_path / "fresh")
    assert whole.trials == fresh.trials and whole.tuning_flops == fresh.tuning_flops
    (after,) = conduct(study(pruning="halving(first=2)"), tmp_path)
    assert after.trials == pruned.trials, "trials that went on are judged where they stood"


def test_where_every_seed_chooses_each_has_survivors_of_its_own(tmp_path: Path) -> None:
    found = study(protocols=["first-tasks(m=3)"], pruning="halving(keep=0.4)", seeds=2, trials=5)
    (entry,) = conduct(found, tmp_path)
    assert len(entry.chosen) == 2
    for seed, chosen in enumerate(entry.chosen):
        assert entry.trials[chosen].scores[seed] == max(t.scores[seed] or 0.0 for t in entry.trials)
        assert sum(t.scores[seed] is not None for t in entry.trials) == 1


def test_pruning_in_two_processes_gives_the_same(tmp_path: Path) -> None:
    (one,), (two,) = (conduct(study(pruning="halving"), tmp_path / str(jobs), jobs=jobs) for jobs in (1, 2))
    assert one.trials == two.trials


def test_survivors_are_the_best() -> None:
    assert survivors([0.2, None, 0.9, 0.9, 0.1], Halving(keep=0.4)) == [2, 3]
    assert survivors([None, None], Halving()) == []
    assert survivors([0.1], Halving()) == [0]


def test_equal_compute_gives_the_dearer_method_fewer_trials(tmp_path: Path) -> None:
    found = study(methods=["finetune", "er(size=40,batch_size=40)"], equal="compute", trials=7)
    plain, er = conduct(found, tmp_path)
    assert len(plain.trials) == 7 and len(er.trials) == 2
    assert [t.values for t in er.trials] == [t.values for t in plain.trials[:2]]
    assert er.tuning_flops <= plain.tuning_flops
    told = groups(found, [plain, er])[0].warnings
    assert any(warning.startswith("Numbers of trials differ") for warning in told)


def test_unequal_compute_is_told(tmp_path: Path) -> None:
    found = study(methods=["finetune", "er(size=40,batch_size=40)"], trials=2)
    told = groups(found, conduct(found, tmp_path))[0].warnings
    assert any(w.startswith("Tuning compute differs: er(size=40,batch_size=40) has 3.0 times that of finetune") for w in told)


def test_the_standing_counts_to_its_end_and_knows_the_best(tmp_path: Path) -> None:
    seen: list[tuple[float, float, int]] = []
    last: list[Standing] = []

    def tell(standing: Standing) -> None:
        seen.append((standing.done, standing.total, standing.runs))
        last[:] = [standing]

    found = study(protocols=["end-of-training", "current-task", "fixed"], trials=2)
    entries = conduct(found, tmp_path, progress=tell)
    done = [d for d, _, _ in seen]
    assert all(b >= a - 1e-9 for a, b in pairwise(done))
    assert done[-1] == pytest.approx(seen[-1][1]) and seen[-1][2] == 6
    (standing,) = last
    assert standing.best["digits", "end-of-training", "er(size=40)"] == entries[0].score
    assert standing.seconds_left is None or standing.seconds_left == 0.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pruning": "halving(keep=1)"}, "keep must be a share in (0, 1); got 1"),
        ({"pruning": "hyperband"}, "hyperband"),
        ({"pruning": "halving", "search": "tpe"}, "pruning must be left out with search: tpe"),
        ({"pruning": "halving", "metric": "min_acc"}, "metric must be acc with pruning"),
        ({"pruning": "halving", "equal": "compute"}, "equal must be trials with pruning"),
        ({"equal": "time"}, "time"),
        ({"target": 80}, "target must be an accuracy in (0, 1]; got 80"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        study(**changes)
    assert said in str(caught.value)
