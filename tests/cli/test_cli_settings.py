"""`clframe run --settings`: every strategy with its own values, which nothing on the command line overrides unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clframe.cli.main import main
from clframe.eval.protocol import frozen, parse_study
from clframe.eval.protocol.cases import Entry, Trial, cases_of
from clframe.eval.result import Results

TUNING, EVALUATION = "split-digits(classes=0-4,experiences=2)", "split-digits(classes=5-9,experiences=2)"
CHOSEN = {"finetune": {"lr": 0.02}, "er(size=40)": {"lr": 0.1, "er.batch_size": 5}}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a study leaves it, with nothing trained."""
    study = parse_study(
        {
            "methods": {method: {name: [value] for name, value in values.items()} for method, values in CHOSEN.items()},
            "scenarios": {"digits": {"tuning": TUNING, "evaluation": EVALUATION}},
            "protocols": ["gtep"],
            "seeds": 1,
            "options": {"batch_size": 20},
        }
    )
    path = tmp_path_factory.mktemp("study") / "settings.json"
    frozen.write(path, study, [Entry(c, (Trial(CHOSEN[c.method], (0.7,)),), (0,), Results([])) for c in cases_of(study)])
    return path


def run(*arguments: str | Path) -> int:
    return main(["run", *map(str, arguments), "--jobs", "1", "--evaluate", "boundaries"])


def options(place: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((place / "spec.json").read_text())["options"]
    return found


def test_strategies_of_one_command_have_their_own_options_and_say_where_they_are_from(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    command = ("--scenario", EVALUATION, "--strategy", "finetune,er(size=40)", "--settings", file, "--out", out)
    assert run(*command) == 0
    printed = " ".join(capsys.readouterr().out.split())
    hashes = [setting.hash[:12] for setting in frozen.read(file)]
    assert "tuning looked at: gtep: validation samples of the tuning stream" in printed
    assert f"settings {', '.join(hashes)} (1 trials)" in printed
    finetune, er = options(out / "finetune" / "seed-0"), options(out / "er-size=40" / "seed-0")
    assert (finetune["lr"], er["lr"], er["strategy"]) == (0.02, 0.1, "er(size=40,batch_size=5)")
    assert finetune["batch_size"] == er["batch_size"] == 20 and finetune["evaluate"] == "boundaries"
    assert str(er["tuning"]).endswith(f"setting {hashes[1]}") and er["tuning_trials"] == 1
    planned = json.loads((out / "planned.json").read_text())
    assert planned["er-size=40/seed-0"]["options"]["lr"] == 0.1, "what resume goes by"
    before = (out / "finetune" / "seed-0" / "metrics.json").stat().st_mtime_ns
    assert run(*command, "--lr", "0.05", "--strategy", "finetune") == 2, "given as the default is given, too"
    assert run(*command) == 0
    assert (out / "finetune" / "seed-0" / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--lr", "0.3"), "an option that a setting fixes must be left out; got --lr 0.3, and"),
        (("--batch-size=10",), "got --batch-size 10, and"),
        (("--tuning", "by hand"), "got --tuning 'by hand', and"),
        (("--scenario", TUNING), "a setting must be evaluated on data that its tuning did not see; 721 of the 901 samples"),
        (("--strategy", "er"), "Did you mean 'er(size=40)'?"),
    ],
)
def test_what_contradicts_a_setting_is_refused_before_anything_is_written(
    arguments: tuple[str, ...], said: str, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("--scenario", EVALUATION, "--strategy", "er(size=40)", "--settings", file, "--out", tmp_path / "none")
    assert run(*command, *arguments) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_an_option_that_agrees_may_be_given_and_a_configuration_counts(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("--scenario", EVALUATION, "--strategy", "er(size=40)", "--settings", f"{file}:gtep", "--out", tmp_path / "runs")
    (tmp_path / "c.yaml").write_text("lr: 0.3\n")
    assert run("--config", tmp_path / "c.yaml", *command) == 2
    assert "got --lr 0.3" in capsys.readouterr().err
    (tmp_path / "c.yaml").write_text("lr: 0.1\n")
    assert run("--config", tmp_path / "c.yaml", *command, "--batch-size", "20") == 0


def test_the_settings_that_ship_are_listed_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "tuned", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["tuned"]
    assert "lr=" in listed["er(size=200), class-incremental"]
    assert run("--scenario", "split-digits(experiences=2)", "--strategy", "slda", "--settings", "tuned", "--out", tmp_path) == 0
    assert options(tmp_path / "slda" / "seed-0")["tuning_trials"] == 60
