"""A model that is exported says what the run says, without clframe; its cost is measured; what cannot be exported is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import clframe
from clframe.cli.main import main
from clframe.errors import ClframeError, MissingExtraError, OptionError, RunError
from clframe.exporting import contents, restored, write
from clframe.exporting.flat import NotWritableError
from clframe.exporting.loader import loaded

QUICK = {"evaluate": "boundaries", "report": False, "model": "mlp(hidden=[60,60])"}


def trained(out: Path, strategy: str, scenario: str = "task-split-digits(experiences=2)", **options: object) -> Path:
    clframe.run(scenario, strategy, out=out, **{**QUICK, **options})  # type: ignore[arg-type]
    return out


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "dst", "dst(density=0.15,period=100)")


@pytest.fixture(autouse=True)
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.exporting.measured.ROUND_SECONDS", 1e-4)


def said(run: Path, task: int | None, told: bool = True) -> tuple[Tensor, Tensor]:
    """Test samples of an experience, and what the run's strategy says of them."""
    found = restored(run)
    x = found.stream.data.test.fetch(torch.from_numpy(found.stream.tests[task or 0]))
    found.strategy.model.eval()  # type: ignore[attr-defined]
    with torch.no_grad():
        return x, found.strategy.predict(x, torch.full((len(x),), task) if told and task is not None else None)


@pytest.mark.parametrize("kernel", ["dense", "csr", "gather", "auto"])
@pytest.mark.parametrize("task", [0, 1])
def test_every_kernel_gives_the_scores_of_the_run(run: Path, tmp_path: Path, kernel: str, task: int) -> None:
    made = clframe.export(run, task, tmp_path / "out", kernel=kernel, onnx=False, rounds=1)
    x, scores = said(run, task)
    net = loaded(made.path)
    for batch in (1, 7, len(x)):  # the layers compute differently for one sample, a few and many
        assert torch.allclose(net(x[:batch]), scores[:batch, list(made.classes)], atol=1e-5)
    assert made.kernel == kernel or kernel == "auto"
    assert [row.kind for row in made.rows] == ["dense", "csr", "gather"]
    assert all(row.difference < 1e-5 for row in made.rows)


def test_the_loader_needs_torch_and_safetensors_alone(run: Path, tmp_path: Path) -> None:
    made = clframe.export(run, 1, tmp_path / "out", kernel="csr", onnx=False, rounds=1)
    x, scores = said(run, 1)
    torch.save((x, scores[:, list(made.classes)]), tmp_path / "known.pt")
    code = """
import sys, warnings
warnings.simplefilter("error")
sys.modules["clframe"] = None
import torch
from model import CLASSES, load
x, scores = torch.load(sys.argv[1])
assert len(CLASSES) == scores.shape[1]
assert torch.allclose(load()(x), scores, atol=1e-5)
assert not any(name.startswith("clframe.") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "known.pt")], cwd=made.path, check=True)


def test_the_table_counts_what_there_is(run: Path, tmp_path: Path) -> None:
    made = clframe.export(run, 0, tmp_path / "out", onnx=False, rounds=1)
    dense, csr = made.row("dense"), made.row("csr")
    subnet = restored(run).strategy.subnet(0)  # type: ignore[attr-defined]
    active = sum(int((v != 0).sum()) for n, v in subnet.items() if n.endswith("weight"))
    assert dense.weights == 64 * 60 + 60 * 60 + 60 * 5
    assert csr.weights == active + 60 * 5
    assert (dense.flops, csr.flops) == (2 * dense.weights, 2 * csr.weights)
    assert csr.file_bytes < dense.file_bytes / 3
    assert (made.path / "model.safetensors").stat().st_size <= csr.file_bytes + 300  # names differ
    assert made.speed(dense, 1) == 1.0


def test_the_description_says_what_goes_in_and_what_comes_out(run: Path, tmp_path: Path) -> None:
    made = clframe.export(run, 0, tmp_path / "out", onnx=False, rounds=1)
    about = json.loads((made.path / "export.json").read_text())
    stream = restored(run).stream
    assert [c["label"] for c in about["classes"]] == list(stream.experiences[0].classes)
    assert about["input"]["shape"] == [1, 8, 8]
    assert about["input"]["normalisation"]["rule"] == "input = stored * scale + shift"
    assert about["compared_samples"] == len(stream.tests[0])
    assert about["files"] == ["model.safetensors", "model.py", "export.json"]


def test_constant_fan_in_needs_no_filling(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "dst(density=0.15,pattern=fan-in)")
    made = clframe.export(run, 0, tmp_path / "out", onnx=False, rounds=1)
    assert made.row("csr").weights <= made.row("gather").weights <= 1.1 * made.row("csr").weights
    x, scores = said(run, 0)
    assert torch.allclose(loaded(made.path)(x), scores[:, list(made.classes)], atol=1e-5)


def test_a_task_that_is_inferred_is_exported_for_its_own_classes(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "dst(density=0.2,infer=entropy)", "split-digits(experiences=2)")
    made = clframe.export(run, 1, tmp_path / "out", onnx=False, rounds=1)
    x, scores = said(run, 1, told=False)
    own = scores[:, list(made.classes)].isfinite().all(1)
    assert made.classes == restored(run).stream.experiences[1].classes
    assert own.any()
    assert torch.allclose(loaded(made.path)(x[own]), scores[own][:, list(made.classes)], atol=1e-5)


@pytest.mark.parametrize(
    ("strategy", "options", "task", "kernel"),
    [
        ("er(size=20)", {}, None, "dense"),
        ("er(size=20)", {"head": "cosine"}, 1, "dense"),
        ("finetune", {"head": "masked", "model": "cnn(widths=[4],norm=ghost)"}, None, "dense"),
        ("finetune", {"model": "resnet32(blocks=1)"}, None, "dense"),
    ],
)
def test_other_strategies_are_exported_whole(
    tmp_path: Path, strategy: str, options: dict[str, str], task: int | None, kernel: str
) -> None:
    run = trained(tmp_path / "run", strategy, "split-digits(experiences=2)", **options)
    made = clframe.export(run, task, tmp_path / "out", kernel=kernel, onnx=False, rounds=1)
    x, scores = said(run, task, told=False)
    assert len(made.classes) == (10 if task is None else 5)
    with torch.no_grad():
        assert torch.allclose(loaded(made.path)(x), scores[:, list(made.classes)], atol=1e-4)


def test_units_that_spacenet_leaves_out_are_gone(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "spacenet")
    made = clframe.export(run, 0, tmp_path / "out", kernel="sliced", onnx=False, rounds=1)
    assert made.row("sliced").weights < made.row("dense").weights / 2
    assert any("Slicing removes" in note for note in made.notes)
    x, scores = said(run, 0)
    assert torch.allclose(loaded(made.path)(x), scores[:, list(made.classes)], atol=1e-5)


def test_onnx_gives_the_scores_of_the_run(run: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made = clframe.export(run, 0, tmp_path / "out", rounds=1)
    session = runtime.InferenceSession(str(made.path / "model.onnx"), providers=["CPUExecutionProvider"])
    x, scores = said(run, 0)
    for batch in (1, 5):
        found = torch.from_numpy(session.run(None, {"x": x[:batch].numpy()})[0])
        assert torch.allclose(found, scores[:batch, list(made.classes)], atol=1e-5)
    assert made.row("onnx").file_bytes == (made.path / "model.onnx").stat().st_size


def test_a_strategy_whose_answer_is_not_its_models_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "icarl(size=20)", "split-digits(experiences=2)")
    with pytest.raises(OptionError, match=r"must answer by its model to be exported; the scores of 'icarl"):
        clframe.export(run, None, tmp_path / "out", onnx=False)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_refused_in_a_sentence(run: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    unfinished = tmp_path / "unfinished"
    with pytest.raises(KeyboardInterrupt):
        clframe.run("split-digits", "finetune", out=unfinished, progress=lambda n, total: n == 3)
    cases: list[tuple[type[ClframeError], str, dict[str, object]]] = [
        (OptionError, r"task must be one of the tasks of the run: \[0, 1\]; got 9", {"task": 9}),
        (OptionError, r"task must be one of \[0, 1\], because 'dst.*has a model for each", {"task": None}),
        (OptionError, "kernel must be a known name; got 'cssr'. Did you mean 'csr'", {"kernel": "cssr"}),
        (OptionError, "2:4 needs a CUDA GPU", {"kernel": "2:4"}),
        (OptionError, "kernel must be one that this model can have: dense, csr, gather", {"kernel": "sliced"}),
        (OptionError, "rounds must be a positive integer", {"rounds": 0}),
        (RunError, "must be a new folder or an earlier export; it holds 'mine.txt'", {"out": tmp_path / "full"}),
        (RunError, "must be a run directory or hold some", {"run": tmp_path / "full"}),
        (RunError, "must be a finished run", {"run": unfinished}),
    ]
    for kind, message, changed in cases:
        given = {"run": run, "task": 0, "out": tmp_path / "out", "onnx": False, "rounds": 1, **changed}
        with pytest.raises(kind, match=message):
            clframe.export(**given)  # type: ignore[arg-type]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "unfinished"]


def test_an_earlier_export_is_replaced_and_a_failure_leaves_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = clframe.export(run, 0, tmp_path / "out", kernel="dense", onnx=False, rounds=1)
    before = (first.path / "model.py").read_text()
    clframe.export(run, 1, tmp_path / "out", kernel="csr", onnx=False, rounds=1)
    after = (first.path / "model.py").read_text()
    assert before != after
    monkeypatch.setattr(contents, "TOLERANCE", -1.0)
    with pytest.raises(OptionError, match=r"model.py must give the scores of the run"):
        clframe.export(run, 0, tmp_path / "out", kernel="dense", onnx=False, rounds=1)
    assert (first.path / "model.py").read_text() == after
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_missing_packages_are_named_with_the_command(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clframe.exporting.onnx_file.find_spec", lambda name: None)
    made = clframe.export(run, 0, tmp_path / "out", rounds=1)
    assert any("pip install 'clframe[export]'" in note for note in made.notes)
    assert "model.onnx" not in made.files
    monkeypatch.setattr(write, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clframe\[export\]'"):
        clframe.export(run, 0, tmp_path / "out", rounds=1)


def test_a_model_that_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(64, 8)\n"
        "    def forward(self, x):\n"
        "        return self.layer(x.flatten(1)) if len(x) else x.new_zeros(0, 8)\n"
    )
    run = trained(tmp_path / "run", "finetune", "split-digits(experiences=2)", model=f"{tmp_path / 'mine.py'}:Net")
    with pytest.raises(NotWritableError, match=r"model.py must hold what torch.fx can trace; .* Use model.onnx"):
        clframe.export(run, None, tmp_path / "out", onnx=False, rounds=1)


def test_the_command_prints_a_table_or_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(run), "--task", "0", "--out", str(tmp_path / "out"), "--onnx", "false", "--rounds", "1"]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "A batch of 256" in out and "median" in out
    assert "…" not in out  # nothing is cut off in 80 columns
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == 0
