"""Mammoth's and PyCIL's result files: small ones in their format, and what must not pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clframe
from clframe.bridges import literals, mammoth, pycil
from clframe.errors import DataError, OptionError
from clframe.eval.result import Results

R = np.array([[99.5, 0, 0], [61.25, 95, 0], [40.75, 50, 97.25]])


def mammoth_line(seed: Any = 0, matrix: np.ndarray = R, **options: Any) -> str:
    """One line as `Logger.write` prints it."""
    told: dict[str, Any] = {"dataset": "seq-cifar10", "model": "er", "buffer_size": 200, "lr": 0.1, "seed": seed, **options}
    for k in range(len(matrix)):
        told[f"accmean_task{k + 1}"] = np.float64(matrix[k, : k + 1].mean())
    for k in range(len(matrix)):
        for i in range(k + 1):
            told[f"accuracy_{i + 1}_task{k + 1}"] = matrix[k, i]
    tail = ", 'device': device(type='cuda', index=0), 'conf_timestamp': '2024-01-01', 'forward_transfer': nan, 'forgetting': 1.5}"
    return str(told)[:-1] + tail


def results_of(folder: Path, *lines: str, setting: str = "class-il") -> Path:
    place = folder / "results" / setting / "seq-cifar10" / "er"
    place.mkdir(parents=True, exist_ok=True)
    (place / "logs.pyd").write_text("\n".join(lines) + "\n")
    return place / "logs.pyd"


def test_mammoth_runs_have_their_accuracies_and_no_others(tmp_path: Path) -> None:
    results_of(tmp_path, mammoth_line(0), mammoth_line(1, R - 0.5 * (R > 0)))
    results_of(tmp_path, mammoth_line(0, np.minimum(100, R * 1.02)), setting="task-il")
    found = mammoth.read(tmp_path)
    assert found.scenarios == ["seq-cifar10 (class-il)", "seq-cifar10 (task-il)"] and found.strategies == ["er(buffer_size=200)"]
    first = found[0]
    assert first.source == "mammoth" and first.seed == 0 and first.spec["options"]["lr"] == 0.1
    assert first.spec["options"]["device"].startswith("device(")
    np.testing.assert_allclose(first.curves.matrix[3], R[2] / 100)
    m = first.metrics
    assert m.acc == pytest.approx(R[2].mean() / 100)
    assert m.forgetting_first_last == pytest.approx((99.5 - 40.75 + 95 - 50) / 200)
    assert m.bwt == pytest.approx(-(99.5 - 40.75 + 95 - 50) / 200)
    assert m.average_incremental_accuracy == pytest.approx(np.mean([99.5, (61.25 + 95) / 2, R[2].mean()]) / 100)
    assert m.min_acc is None and m.wf_10 is None and m.aaa is None and m.fwt is None and m.acc_sample_mean is None
    assert len(first.rows) == 0


def test_mammoth_without_accuracies_by_task_has_means_alone(tmp_path: Path) -> None:
    line = str({"seed": None, "model": "sgd", "dataset": "perm-mnist", "accmean_task1": 90.0, "accmean_task2": 80.0})
    (a, b) = mammoth.read(results_of(tmp_path, line, line, setting="domain-il"))
    assert (a.seed, b.seed) == (0, 1)
    assert (a.metrics.acc, a.metrics.average_incremental_accuracy, a.metrics.forgetting_first_last) == (
        0.8,
        pytest.approx(0.85),
        None,
    )


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("{'accmean_task1': 90.0", "one dictionary as Python prints it"),
        ("[1, 2]", "a dictionary"),
        ("{'seed': 1}", "accmean_task1, accmean_task2"),
        ("{'accmean_task1': 90.0, 'accmean_task3': 90.0}", r"got tasks \[1, 3\]"),
        ("{'accmean_task1': 190.0}", "accmean_task1 in \\[0, 100\\]; got 190.0"),
        ("{'accmean_task1': nan}", "accmean_task1 in \\[0, 100\\]; got nan"),
        ("{'accmean_task1': True}", "got True"),
        ("{'accmean_task1': 90.0, 'accuracy_1_task1': 80.0}", "the mean of its accuracies; got 90.00, not 80.00"),
        ("{'accmean_task1': __import__('os').getpid()}", 'got "__import__'),
    ],
)
def test_a_damaged_mammoth_line_is_refused_with_its_number(line: str, rule: str, tmp_path: Path) -> None:
    file = results_of(tmp_path, mammoth_line(), line)
    with pytest.raises(DataError, match=f"logs.pyd, line 2: must be .*{rule}"):
        mammoth.read(file)


def test_no_file_is_refused(tmp_path: Path) -> None:
    for read in (mammoth.read, pycil.read):
        with pytest.raises(DataError, match="there is none"):
            read(tmp_path)
        with pytest.raises(DataError, match="there is none"):
            read(tmp_path / "nowhere.log")


def pycil_log(matrix: np.ndarray = R, seed: int = 1993, init: int = 10, nme: bool = True, step: int = 10) -> list[str]:
    """The lines of one run: numpy 2 prints np.float64(...) inside the dictionary."""
    begin, lines = "2024-03-01 12:00:00,123 [trainer.py] => ", []
    args = {"config": "./exps/icarl.json", "prefix": "reproduce", "dataset": "cifar100", "model_name": "icarl", "memory_size": 2000}
    for name, value in {
        **args,
        "init_cls": init,
        "increment": 10,
        "device": "[device(type='cuda', index=0)]",
        "seed": seed,
    }.items():
        lines.append(f"{begin}{name}: {value}")
    curves: dict[str, list[float]] = {"CNN": [], "NME": []}
    for k in range(len(matrix)):
        lines += [
            f"{begin}All params: 464154",
            f"{begin}Learning on {10 * k}-{10 * k + 10}",
            f"Task {k}, Epoch 170/170 => Loss 0.01",
        ]
        for head in ("CNN", "NME")[: 1 + nme]:
            row = matrix[k, : k + 1] - 5 * (head == "NME")
            groups = {f"{step * i:02d}-{step * i + step - 1:02d}": np.float64(v) for i, v in enumerate(row)}
            told = {"total": np.float64(np.around(row.mean(), 2)), **groups, "old": 0, "new": row[-1]}
            lines.append(f"{begin}{head}: {told}")
            curves[head].append(float(told["total"]))
        for head in ("CNN", "NME")[: 1 + nme]:
            lines += [f"{begin}{head} top1 curve: {curves[head]}", f"{begin}{head} top5 curve: {[99.0] * (k + 1)}", ""]
        lines.append(f"{begin}Average Accuracy (CNN): {np.mean(curves['CNN'])}")
    return [*lines, "Accuracy Matrix (CNN):", f"{begin}Forgetting (CNN): 12.3"]


def logged(folder: Path, *lines: str) -> Path:
    file = folder / "logs" / "icarl" / "reproduce_1993_resnet32.log"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines))
    return file


def test_pycil_runs_have_their_accuracies_by_task(tmp_path: Path) -> None:
    logged(tmp_path, *pycil_log(), *pycil_log(R - 1 * (R > 0), seed=1994))
    found = pycil.read(tmp_path, scenario="split-cifar100")
    assert [(r.strategy, r.seed, r.scenario, r.source) for r in found] == [
        ("icarl", 1993, "split-cifar100", "pycil"),
        ("icarl", 1994, "split-cifar100", "pycil"),
    ]
    np.testing.assert_allclose(found[0].curves.matrix[3], R[2] / 100)
    np.testing.assert_allclose(found[1].curves.matrix[3], R[2] / 100 - 0.01)
    assert found[0].metrics.acc == pytest.approx(R[2].mean() / 100)
    assert found[0].metrics.acc_sample_mean == pytest.approx(round(R[2].mean(), 2) / 100)
    assert found[0].metrics.min_acc is None
    (nearest, _) = pycil.read(tmp_path, head="NME")
    assert nearest.strategy == "icarl [NME]" and nearest.metrics.acc == pytest.approx(R[2].mean() / 100 - 0.05)
    with pytest.raises(OptionError, match="Known: CNN, NME"):
        pycil.read(tmp_path, head="nme")


def test_pycil_groups_that_are_not_tasks_are_not_taken_for_tasks(tmp_path: Path) -> None:
    (run,) = pycil.read(logged(tmp_path, *pycil_log(init=50)))
    assert run.scenario == "cifar100 (50+10)"
    assert run.metrics.acc is None and run.metrics.forgetting_first_last is None
    totals = [round(R[k, : k + 1].mean(), 2) / 100 for k in range(3)]
    assert run.metrics.acc_sample_mean == pytest.approx(totals[-1])
    assert run.metrics.average_incremental_accuracy == pytest.approx(np.mean(totals))


def test_a_damaged_pycil_line_is_refused_with_its_number(tmp_path: Path) -> None:
    lines = pycil_log(nme=False)
    at = next(i for i, line in enumerate(lines) if "CNN top1 curve" in line)
    cases = {
        "top1 curve: [99.5, 3": "a value as Python prints it",
        "top1 curve: [99.5, 120.0]": r"accuracies in \[0, 100\]",
        "top1 curve: [99.5, 61.0, 40.0]": "the curve before it and one value more",
    }
    for number, (text, rule) in enumerate(cases.items()):
        damaged = [*lines[:at], lines[at].partition("top1")[0] + text, *lines[at + 1 :]]
        with pytest.raises(DataError, match=f"line {at + 1}: must be .*{rule}"):
            pycil.read(logged(tmp_path / str(number), *damaged))
    with pytest.raises(DataError, match=r"must hold a line 'CNN top1 curve"):
        pycil.read(logged(tmp_path / "none", *lines[:at]))
    with pytest.raises(DataError, match="preceded by a line 'seed: NUMBER'"):
        pycil.read(logged(tmp_path / "seedless", *(line for line in lines if "seed:" not in line)))


def test_imported_runs_stand_in_the_same_table_marked(tmp_path: Path) -> None:
    own = clframe.compare("split-digits(experiences=2)", ["er(size=20)", "finetune"], seeds=2, evaluate="boundaries")
    old = mammoth.read(results_of(tmp_path, mammoth_line(0), mammoth_line(1)), scenario="split-digits(experiences=2)")
    both = Results([*own, *old])
    for write in (both.table, both.markdown, both.latex):
        with pytest.raises(OptionError, match="must not mix what options were chosen by"):
            write()
    marked = both.marked()
    table = marked.table(["acc", "min_acc"])
    assert table["source"].tolist() == ["clframe", "clframe", "mammoth"]
    assert table.index[-1] == ("split-digits(experiences=2)", "er(buffer_size=200) [mammoth]")
    assert table["min_acc"].iloc[-1] == "–" and table["acc"].iloc[-1] == "0.627 ± 0.000"
    lines = marked.markdown(["acc"]).splitlines()
    assert lines[0] == "| strategy | source | ACC ↑ | seeds | time |"
    assert lines[4].split("|")[2].strip() == "mammoth" and "imported from mammoth: not measured by clframe" in lines[-1]
    assert r"strategy & source & ACC" in marked.latex(["acc"])
    assert marked.runs()["source"].tolist() == ["clframe"] * 4 + ["mammoth"] * 2
    with pytest.raises(OptionError, match="whose curves a report draws; got 'mammoth'"):
        marked.report(tmp_path / "report.html")


def test_nothing_in_a_file_is_executed() -> None:
    assert literals.value("[open('x'), np.array([1, 2]), -nan]") == ["open('x')", [1, 2], "-nan"]
    with pytest.raises(ValueError, match="no Python value"):
        literals.value("import os")
