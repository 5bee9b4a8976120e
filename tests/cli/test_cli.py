"""The command line: what it prints, what it returns, and what it says when something is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from clframe.cli.main import COMMANDS, main
from clframe.cli.run_command import _seeds


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    code = main(
        ["run", "--scenario", "split-digits", "--strategy", "finetune,er(size=50)", "--seeds", "2", "--jobs", "1",
         "--out", str(out), "--evaluate", "every(k=10)"]
    )  # fmt: skip
    assert code == 0
    return out


def test_run_writes_a_directory_a_run_and_one_report(runs: Path) -> None:
    found = sorted(str(p.parent.relative_to(runs)) for p in runs.rglob("metrics.json"))
    assert found == ["er-size=50/seed-0", "er-size=50/seed-1", "finetune/seed-0", "finetune/seed-1"]
    files = {p.name for p in (runs / "finetune" / "seed-0").iterdir() if not p.name.startswith(".")}
    assert files == {
        *("spec.json", "environment.json", "checkpoint.pt", "subset.parquet", "records.parquet", "terms.parquet"),
        *("classes.parquet", "budget.json", "metrics.json", "report.html"),
    }
    html = (runs / "report.html").read_text()
    assert "er(size=50)" in html
    assert 'src="http' not in html
    assert 'href="http' not in html


def test_report_compares_and_json_is_for_programs(runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "report", str(runs), "--json", "--out", str(tmp_path / "r.html"))
    assert code == 0
    found = json.loads(out)
    assert len(found["runs"]) == 4
    assert all(0 <= r["metrics"]["acc"] <= 1 for r in found["runs"])
    assert Path(found["report"]).exists()


def test_the_same_command_reports_what_is_finished(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in runs.rglob("checkpoint.pt")}
    arguments = ["--seeds", "2", "--jobs", "1", "--evaluate", "every(k=10)", "--out", str(runs)]
    code, out, err = run(capsys, "run", "--scenario", "split-digits", "--strategy", "finetune,er(size=50)", *arguments)
    assert code == 0, err
    assert "report" in out
    assert {p: p.stat().st_mtime_ns for p in runs.rglob("checkpoint.pt")} == before


def test_two_processes_give_the_numbers_of_one(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--seeds", "2", "--jobs", "2", "--evaluate", "every(k=10)", "--out", str(tmp_path / "two")]
    code, _, err = run(capsys, "run", "--scenario", "split-digits", "--strategy", "finetune,er(size=50)", *arguments)
    assert code == 0, err
    for file in runs.rglob("metrics.json"):
        assert (tmp_path / "two" / file.relative_to(runs)).read_text() == file.read_text()


def test_a_configuration_file_and_print_config_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "--strategy", "er", "--lr", "0.1", "--print_config"])
    assert stop.value.code == 0
    config = tmp_path / "study.yaml"
    config.write_text(capsys.readouterr().out)
    assert "lr: 0.1" in config.read_text()
    code, _, err = run(capsys, "run", "--config", str(config), "--out", str(tmp_path / "r"), "--jobs", "1", "--evaluate=boundaries")
    assert code == 0, err
    assert json.loads((tmp_path / "r" / "er" / "seed-0" / "spec.json").read_text())["options"]["lr"] == 0.1


@pytest.mark.parametrize(
    "kind",
    ["strategies", "scenarios", "data", "models", "memories", "methods", "policies", "generators", "plans", "metrics", "tuned"],
)
def test_list_names_everything(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", kind, "--json")
    assert code == 0
    assert len(json.loads(out)[kind]) >= 2


def test_show_prints_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show", "split-digits", "--figure", str(tmp_path / "s.png"))
    assert code == 0, err
    assert "split-digits" in out
    assert (tmp_path / "s.png").stat().st_size > 1000
    code, out, _ = run(capsys, "show", "split-digits", "--json")
    assert code == 0
    assert json.loads(out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main([command, "--help"])
    except SystemExit as stop:
        code = stop.code
    assert code == 0
    out = capsys.readouterr().out
    assert "usage: clframe" in out and not re.findall(r"--\w*_\w*", out)


def test_options_with_dashes_are_understood_as_help_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "--print-config" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["run", "--batch-size", "7", "--print-config"])
    assert stop.value.code == 0 and "batch_size: 7" in capsys.readouterr().out


WRONG = [
    (["rnu"], "Did you mean 'run'"),
    (["run", "--strategy", "ewcc"], "Did you mean 'ewc'"),
    (["run", "--scenario", "split-digit"], "digits"),
    (["run", "--sceanrio", "split-digits"], "Did you mean '--scenario'"),
    (["run", "--lr", "abc"], "abc"),
    (["run", "--lr", "-1"], "lr must be positive; got -1.0"),
    (["run", "--epochs", "0"], "epochs must be a positive integer; got 0"),
    (["run", "--batch-size", "0"], "batch_size must be a positive integer; got 0"),
    (["run", "--seeds", "0"], "seeds must be at least one"),
    (["run", "--seeds", "a"], "seeds must be a number"),
    (["run", "--jobs", "0"], "jobs must be a positive integer"),
    (["run", "--device", "tpu"], "device must be 'auto' or one of"),
    (["run", "--evaluate", "sometimes"], "evaluation plan must be a known name"),
    (["run", "--evaluate", "every(k=0)"], "k must be a positive integer"),
    (["run", "--model", "resnet"], "Did you mean 'resnet"),
    (["run", "--model", "resnet18", "--scenario", "no-such.yaml"], "no-such.yaml"),
    (["run", "--optimizer", "sdg"], "Did you mean 'sgd'"),
    (["run", "--scenario", "split-digits(experiences=20)"], "experiences must be"),
    (["run", "--scenario", "split-mnist", "--data-dir", "/nowhere"], "nowhere"),
    (["run", "--scenario", "gaussian-digits", "--strategy", "ewc"], "'boundaries'"),
    (["run", "--subset", "-3"], "subset must be"),
    (["run", "--threads", "0"], "threads must be a positive integer"),
    (["report", "/nowhere"], "must be a run directory or hold some"),
    (["resume", "/nowhere"], "must be a run directory or hold some"),
    (["list", "strategy"], "Did you mean 'strategies'"),
    (["check", "nowhere.py:Cls"], "nowhere.py"),
    (["show", "split-digit"], "digits"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(w[0]) for w in WRONG])
def test_what_is_wrong_gets_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("CLFRAME_DATA", raising=False)
    extra = ["--jobs", "1"] if arguments[0] == "run" and "--jobs" not in arguments else []
    code, out, err = run(capsys, *arguments, *extra)
    assert code == 2, (out, err)
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.rglob("metrics.json"))
    assert len(err.strip().splitlines()) == 1


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    from clframe.errors import OptionError

    with pytest.raises(OptionError):
        main(["run", "--strategy", "ewcc", "--debug"])


def test_bad_data_gets_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = np.zeros((10, 4), dtype=np.float32), np.arange(10) % 2
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x[:3], y_test=np.zeros(3, dtype=np.int64))
    code, _, err = run(capsys, "run", "--scenario", f"class-incremental(data={tmp_path / 'mine.npz'},experiences=2)", "--jobs", "1")
    assert code == 2
    assert "class" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(("text", "seeds"), [("3", [0, 1, 2]), ("0,1,5", [0, 1, 5]), ("2-4", [2, 3, 4]), ("7,9-10", [7, 9, 10])])
def test_seeds(text: str, seeds: list[int]) -> None:
    assert _seeds(text) == seeds


def test_an_error_in_the_users_own_code_names_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.py"
    file.write_text(
        "from clframe.strategies import Part\n\n\nclass Raises(Part):\n    name = 'raises'\n\n"
        "    def penalty(self, view):\n        raise ValueError('boom')\n\n\nclass NotPart:\n    pass\n"
    )
    code, _, err = run(capsys, "run", "--strategy", f"{file}:Raises", "--jobs", "1", "--out", str(tmp_path / "a"))
    assert code == 2
    assert f"{file}:8 raised ValueError: boom" in err
    code, _, err = run(capsys, "run", "--strategy", f"{file}:NotPart", "--jobs", "1", "--out", str(tmp_path / "b"))
    assert code == 2
    assert "a strategy must be a Part, a Recipe, or have begin, observe" in err


def test_empty_cells_in_the_label_column_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("u,v,label\n" + "1,2,a\n3,4,b\n5,6,\n" * 10)
    code, _, err = run(capsys, "show", f"class-incremental(data={tmp_path / 't.csv'},experiences=2)")
    assert code == 2
    assert "a label must be an integer or a string; got '' in row 2" in err or "None in row 2" in err


def test_resume_starts_what_had_not_begun_as_it_was_first_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r"
    command = ["run", "--strategy", "finetune,lwf", "--jobs", "1", "--evaluate", "boundaries", "--out", str(out)]
    assert main([*command, "--lr", "0.02"]) == 0
    shutil.rmtree(out / "lwf")
    code, _, err = run(capsys, "run", "--strategy", "finetune", "--jobs", "1", "--out", str(out), "--lr", "0.5")
    assert code == 2
    assert "it holds another one" in err
    code, _, err = run(capsys, "resume", str(out), str(tmp_path / "nowhere"), "--jobs", "1")
    assert code == 2
    assert "nowhere" in err
    code, _, err = run(capsys, "resume", str(out), "--jobs", "1")
    assert code == 0, err
    spec = json.loads((out / "lwf" / "seed-0" / "spec.json").read_text())
    assert spec["options"]["lr"] == 0.02


def test_what_cannot_be_built_is_refused_before_anything_is_trained_or_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = tmp_path / "none"
    for strategies, said in (
        ("finetune,er(size=5)", "er(size=5): size must be at least the number of classes, 10"),
        ("finetune,der(size=200,size=300)", "an option of 'der' must be given once; got 'size' twice"),
        ("finetune,ewc(strength=nan)", "strength must be float, finite; got 'nan'"),
        ("finetune,ER", "Did you mean 'er'"),
        ("finetune,ewc+prd", "'ewc' makes use of the network's head, which must be trained"),
        ("finetune,fetril", "fetril: backbone must be 'given' where the first experience has one class"),
        ("", "strategies must be at least one; got []"),
    ):
        scenario = "split-digits(experiences=10)" if "fetril" in strategies else "split-digits"
        code, _, err = run(capsys, "run", "--scenario", scenario, "--strategy", strategies, "--out", str(place), "--jobs", "1")
        assert code == 2
        assert said in err
        assert not place.exists()


def test_a_run_that_diverges_does_not_take_the_table_of_the_others_with_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--strategy", "ewc(strength=1e30),finetune", "--evaluate", "boundaries", "--out", str(tmp_path), "--jobs", "1"]
    code, out, err = run(capsys, "run", *arguments)
    assert code == 2
    assert "must be finite" in err
    assert "finetune" in out
    assert (tmp_path / "report.html").exists()


def test_the_validation_split_and_a_slice_of_a_stream_can_be_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    scenario = "split-digits(validation=0.2,classes=0-5,experiences=3)[:2]"
    arguments = ["--strategy", "finetune", "--evaluate", "boundaries", "--tested-on", "validation", "--out", str(tmp_path)]
    code, _, err = run(capsys, "run", "--scenario", scenario, *arguments, "--json", "true")
    assert code == 0, err
    spec = json.loads(next(tmp_path.rglob("spec.json")).read_text())
    assert spec["resolved"]["tested_on"] == "validation"
    assert spec["resolved"]["experiences"] == 2
