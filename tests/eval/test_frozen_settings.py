"""Frozen settings: what is kept and what is left out, what was changed is refused, and so is data that tuning saw."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clframe
from clframe.data import load
from clframe.errors import ClframeError, DataError, OptionError
from clframe.eval.protocol import frozen, parse_study, settings_for
from clframe.eval.protocol.cases import Entry, Trial, cases_of
from clframe.eval.protocol.lookup import TUNED, Shelf
from clframe.eval.protocol.sketch import KEPT, Sketch
from clframe.eval.protocol.study import Study
from clframe.eval.result import Results
from clframe.experiment import rehearse
from clframe.scenarios.catalog import PREFIXES, build
from clframe.scenarios.kind import kind_of

TUNING, EVALUATION = "split-digits(classes=0-4, experiences=2)", "split-digits(classes=5-9, experiences=2)"
SMALL: dict[str, Any] = {
    "methods": {"finetune": None, "er(size=40, memory=ring)+lwf": {"er.batch_size": [5, 10]}},
    "space": {"lr": [0.02, 0.1]},
    "scenarios": {"digits": {"tuning": TUNING, "evaluation": EVALUATION}},
    "protocols": ["gtep"],
    "seeds": 2,
    "options": {"evaluate": "boundaries", "batch_size": 20, "momentum": 0.5, "subset": 50},
}
BOTH = "er(size=40, memory=ring)+lwf"


def made(**changes: Any) -> Study:
    return parse_study({**SMALL, **changes}, "mine.yaml")


def entries(study: Study, chosen: tuple[int, ...] = (1, 1)) -> list[Entry]:
    """Two trials of each case, and what was chosen of them; nothing is trained."""
    found = []
    for case in cases_of(study):
        own = [{"lr": lr, **({"er.batch_size": 5} if case.method == BOTH else {})} for lr in (0.02, 0.1)]
        trials = tuple(Trial(values, (0.5, 0.5 + i / 8)) for i, values in enumerate(own))
        found.append(Entry(case, trials, chosen if case.tuning is not None else (0, 0), Results([])))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    study = made()
    frozen.write(tmp_path / "settings.json", study, entries(study))
    return tmp_path / "settings.json"


def test_what_is_frozen_is_read_back_with_everything_that_it_says(file: Path) -> None:
    finetune, both = frozen.read(file)
    assert (finetune.method, both.method) == ("finetune", BOTH)
    assert both.values == {"lr": 0.1, "er.batch_size": 5}
    assert both.strategy == "er(size=40,memory=ring,batch_size=5)+lwf"
    assert both.options["lr"] == 0.1 and both.options["batch_size"] == 20 and both.options["momentum"] == 0.5
    assert both.options["epochs"] == 1 and not {"evaluate", "subset", "data_dir"} & set(both.options)
    assert both.tuning == "split-digits(classes=0-4, experiences=2,validation=0.2)"
    assert (both.kind, both.protocol, both.deployable, both.metric) == ("class-incremental", "gtep", True, "acc")
    assert (both.score, both.trials, both.search, both.tuning_seeds) == (0.5625, 2, "random", (1000, 1001))
    assert (both.study, both.clframe) == ("mine.yaml", clframe.__version__)
    assert both.told == {
        "tuning": f"gtep: validation samples of the tuning stream, other data ({both.tuning}); setting {both.hash[:12]}",
        "tuning_trials": 4,
    }
    assert both.seen.count == 721 and both.seen.complete
    assert len(json.loads(file.read_text())["sketches"]) == 1, "kept once for both"
    study = made()
    assert frozen.freeze(study, entries(study)) == json.loads(file.read_text())


def test_one_setting_for_all_seeds_is_frozen_and_nothing_else() -> None:
    study = made(protocols=["fixed", "first-task", "end-of-training"])
    assert [s["protocol"] for s in frozen.freeze(study, entries(study))["settings"]] == [
        *("first-task", "first-task", "end-of-training", "end-of-training")
    ]
    study = made(protocols=["first-task"])
    assert frozen.freeze(study, entries(study, (0, 1)))["settings"] == [], "every seed chose for itself"
    assert frozen.freeze(study, entries(study, ()))["settings"] == []


def changed_value(content: dict[str, Any]) -> None:
    content["settings"][1]["values"]["lr"] = 0.2


def changed_words(content: dict[str, Any]) -> None:
    content["settings"][1]["strategy"] = "er(size=4000)"


def emptied_sketch(content: dict[str, Any]) -> None:
    (name,) = content["sketches"]
    content["sketches"][name] = {"count": 0, "hashes": base64.b64encode(b"").decode()}


def no_sketch(content: dict[str, Any]) -> None:
    content["sketches"] = {}


def no_mapping(content: dict[str, Any]) -> None:
    content["settings"] = ["er"]


@pytest.mark.parametrize("change", [changed_value, changed_words, emptied_sketch, no_sketch, no_mapping])
def test_what_was_changed_afterwards_is_refused(change: Callable[[dict[str, Any]], None], file: Path) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(OptionError, match=rf"in '{file}' does not fit its hash\. Freeze it anew"):
        frozen.read(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "cannot be read"), ("[]", "has None"), ('{"format": 2}', "must have format 1; .* has 2"), (None, "FileNotFound")],
)
def test_a_file_that_is_none_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "s.json").write_text(text)
    with pytest.raises(OptionError, match=said):
        frozen.read(tmp_path / "s.json")


def test_data_that_tuning_did_not_see_is_accepted_and_order_and_spaces_do_not_count(file: Path) -> None:
    strategy, options = settings_for("lwf + er(memory=ring,size=40)", EVALUATION, str(file), seeds=range(3))
    assert strategy == "er(size=40,memory=ring,batch_size=5)+lwf"
    rehearse(EVALUATION, strategy, **options)
    assert settings_for("finetune", build(EVALUATION), str(file))[1]["lr"] == 0.1, "a stream instead of words"


def test_data_that_tuning_saw_is_refused_also_as_a_copy_under_another_name(file: Path, tmp_path: Path) -> None:
    digits = load("digits")
    parts = {name: part.fetch(torch.arange(len(part))).numpy() for name, part in (("train", digits.train), ("test", digits.test))}
    labels = {"y_train": np.array(digits.train.y), "y_test": np.array(digits.test.y)}
    np.savez(tmp_path / "copy.npz", x_train=parts["train"], x_test=parts["test"], **labels)
    np.savez(
        tmp_path / "turned.npz", x_train=parts["test"], x_test=parts["train"], y_train=labels["y_test"], y_test=labels["y_train"]
    )
    for scenario, said in (
        (TUNING, "721 of the 901 samples of .* \\(seed 0; training samples: 721, test samples: 0\\)"),
        ("split-digits", "721 of the 1797 samples"),
        ("split-copy(experiences=3)", "721 of the 1797 samples of 'split-copy"),
        ("split-turned", "training samples: 0, test samples: 721"),
    ):
        with pytest.raises(DataError, match=said):
            settings_for("finetune", scenario, str(file), data_dir=str(tmp_path))


def test_the_streams_of_all_seeds_are_held_against_what_tuning_saw(tmp_path: Path) -> None:
    first = {"digits": {"tuning": "split-digits[:1]", "evaluation": "split-digits"}}
    study = made(scenarios=first, seeds={"tuning": [0], "evaluation": 1}, methods=["finetune"])
    frozen.write(tmp_path / "s.json", study, [Entry(c, (Trial({"lr": 0.1}, (0.5,)),), (0,), Results([])) for c in cases_of(study)])
    assert settings_for("finetune", "split-digits[1:]", str(tmp_path / "s.json"), seeds=[0])
    with pytest.raises(DataError, match="seed 1;"):
        settings_for("finetune", "split-digits[1:]", str(tmp_path / "s.json"), seeds=[0, 1])


def test_a_sketch_finds_data_that_holds_one_percent_and_keeps_to_its_size() -> None:
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 2**64, 200_000, dtype=np.uint64)
    sketch = Sketch.of(seen)
    assert len(sketch.hashes) == KEPT and not sketch.complete and sketch.count == len(np.unique(seen))
    others = np.unique(rng.integers(0, 2**64, 100_000, dtype=np.uint64))
    assert sketch.shared(others) == 0
    found = sketch.shared(np.union1d(others, seen[:2000]))
    assert 10 < found < 90, "one percent of the 4096"
    again = Sketch.read(json.loads(json.dumps(sketch.plain())))
    assert again.name == sketch.name and (again.hashes == sketch.hashes).all()
    assert len(json.dumps(sketch.plain())) < 50_000


def test_of_several_gtep_is_taken_or_the_deployable_one_and_otherwise_it_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"

    def taken(*protocols: str, label: str = "") -> str:
        found = made(protocols=list(protocols), scenarios={"digits": {"tuning": TUNING, "evaluation": TUNING}})
        frozen.write(file, found, entries(found))
        return Shelf(f"{file}{label}").find("finetune", EVALUATION, [0]).protocol

    assert taken("end-of-training", "first-task", "gtep") == "gtep"
    assert taken("end-of-training", "first-task") == "first-task"
    assert taken("end-of-training") == "end-of-training"
    with pytest.raises(
        OptionError, match=r"has digits/first-task, digits/first-tasks\(m=1\), .* for 'finetune'.*json:digits/first-task'"
    ):
        taken("first-task", "first-tasks(m=1)", "end-of-training", label=":digits")
    for label in ("first-task", "digits/first-task"):
        assert taken("end-of-training", "gtep", "first-task", label=f":{label}") == "first-task"
    with pytest.raises(OptionError, match=r"got 'gtp'\. Did you mean 'gtep'"):
        taken("gtep", label=":gtp")


@pytest.mark.parametrize(
    ("method", "scenario", "said"),
    [
        ("er", EVALUATION, "got 'er'. .* has: finetune, er"),
        ("er(size=400)+lwf", EVALUATION, r"Did you mean 'er\(size=40, memory=ring\)\+lwf'"),
        ("finetune", "rotated-digits", "'rotated-digits' is 'domain-incremental', and .* has 'finetune' for 'class-incremental'"),
        ("finetune", "split-nothing", "nothing"),
    ],
)
def test_what_has_no_setting_is_told_what_there_is(method: str, scenario: str, said: str, file: Path) -> None:
    with pytest.raises(ClframeError, match=said):
        settings_for(method, scenario, str(file))


def test_what_ships_is_whole_deployable_and_can_be_built() -> None:
    settings = frozen.read(TUNED)
    assert len(settings) >= 9 and TUNED.stat().st_size < 300_000
    for setting in settings:
        assert setting.deployable and setting.tuning_seeds and setting.study.startswith("papers/")
        words, options = settings_for(setting.method, "split-digits")
        rehearse("split-digits", words, **options)
    assert settings_for("er(size=200)", "online-split-digits")[1]["epochs"] == 1


def test_the_kind_of_a_stream_is_read_off_its_samples() -> None:
    found = {prefix: kind_of(build(f"{prefix}-digits")) for prefix in PREFIXES}
    expected = {"split": "class-incremental", "longtail": "class-incremental", "task-split": "task-incremental"}
    expected |= dict.fromkeys(("permuted", "rotated", "colour"), "domain-incremental")
    expected |= {
        "iid": "data-incremental",
        "recurring": "recurring",
        "blurry": "blurry, task-free",
        "gaussian": "blurry, task-free",
    }
    assert found == expected
    assert kind_of(build("recurring-digits(schedule=[[0,1],[2,3]])")) == "class-incremental", "whatever it is called"
    assert kind_of(build("split-digits")[:1]) == "one experience"
