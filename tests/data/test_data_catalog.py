"""Names, paths and what is said when there is nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from clframe.data import huggingface, load, names
from clframe.errors import ClframeError, DataError, OptionError

ARRAYS = {
    "x_train": np.random.default_rng(3).integers(0, 256, (20, 6, 5), dtype=np.uint8),
    "y_train": np.arange(20) % 2,
    "x_test": np.random.default_rng(4).integers(0, 256, (6, 6, 5), dtype=np.uint8),
    "y_test": np.arange(6) % 2,
}

DIGITS_TEST_LABELS = [0, 2, 8, 1, 2, 6, 4, 7, 9, 9, 4, 2]
DIGITS_CHECKSUM = 4652600


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("CLFRAME_DATA", raising=False)


def test_digits() -> None:
    data = load("digits")
    assert (len(data.train), len(data.test), data.num_classes) == (1438, 359, 10)
    assert data.train.input_shape == (1, 8, 8)
    x = data.train.fetch(torch.arange(len(data.train)))
    assert abs(float(x.mean())) < 1e-5
    assert abs(float(x.std()) - 1) < 1e-3
    assert data.fingerprint() == load("digits", seed=5).fingerprint()


def test_digits_split_never_drifts() -> None:
    data = load("digits")
    assert data.test.y[:12].tolist() == DIGITS_TEST_LABELS
    assert int((data.train.y * np.arange(len(data.train))).sum()) == DIGITS_CHECKSUM


@pytest.mark.parametrize("spelling", ["fashion-mnist", "fashion_mnist"])
def test_npz_in_the_data_folder(tmp_path: Path, spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / f"{spelling}.npz", **ARRAYS, class_names=np.array(["shoe", "bag"]))
    monkeypatch.setenv("CLFRAME_DATA", str(tmp_path))
    data = load("fashion-mnist")
    assert data.name == "fashion-mnist"
    assert data.train.class_names == ("shoe", "bag")
    assert data.train.input_shape == (1, 6, 5)
    assert data.test.y.tolist() == [0, 1, 0, 1, 0, 1]


def test_npz_with_experience_and_task(tmp_path: Path) -> None:
    further = {"experience_train": np.arange(20) // 5, "experience_test": np.zeros(6, int), "task_train": np.zeros(20, int)}
    np.savez(tmp_path / "own.npz", **ARRAYS, **further)
    for name, folder in (("own", tmp_path), (str(tmp_path / "own.npz"), None)):
        data = load(name, folder)
        assert data.train.columns["experience"].tolist() == (np.arange(20) // 5).tolist()  # type: ignore[attr-defined]
        assert data.train.task is not None
    assert "own" in names(tmp_path)


def test_names() -> None:
    assert {"digits", "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "tiny-imagenet"} == set(names())


def test_unknown_name_answers_with_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"got 'mnits'\. Did you mean 'mnist'"):
        load("mnits")


@pytest.mark.parametrize("name", ["mnist", "tiny-imagenet", "someone/something"])
def test_absent_data_says_where_to_put_what(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a network call was attempted")

    monkeypatch.setattr(huggingface.urllib.request, "urlopen", refuse)
    short = name.split("/")[-1]
    with pytest.raises(DataError, match=f"{name}: must be in .*; got neither. Put {short}.npz"):
        load(name, tmp_path)


def test_a_failing_network_ends_quickly_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    begin = time.perf_counter()
    with pytest.raises(DataError, match="got neither"):
        load("mnist")
    assert time.perf_counter() - begin < 8


def test_a_reachable_hub_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    table = datasets.Dataset.from_dict({"u": range(10), "label": [0, 1] * 5})
    asked = []
    monkeypatch.setattr(huggingface, "hub_reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: asked.append(name) or datasets.DatasetDict({"train": table}))
    assert len(load("someone/something").train) == 8
    assert load("mnist").name == "mnist"
    assert asked == ["someone/something", "ylecun/mnist"]


def test_a_hub_error_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def fail(name: str) -> None:
        raise FileNotFoundError("Dataset 'x' doesn't exist.\nmore lines")

    monkeypatch.setattr(huggingface, "hub_reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(DataError, match=r"someone/x: must be .* got Dataset 'x' doesn't exist\. Check its name\.$"):
        load("someone/x")


def test_npz_faults(tmp_path: Path) -> None:
    np.savez(tmp_path / "part.npz", x_train=ARRAYS["x_train"], y=ARRAYS["y_train"])
    with pytest.raises(DataError, match=r"must hold x_train, .*; got x_train, y\. Add y_train, x_test, y_test"):
        load("part", tmp_path)
    np.savez(tmp_path / "whole.npz", **ARRAYS)
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    flipped = bytearray(content)
    flipped[200] ^= 255
    (tmp_path / "flipped.npz").write_bytes(bytes(flipped))
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_text("")
    np.savez(tmp_path / "pickle.npz", **{**ARRAYS, "x_train": np.array([None, "a"], dtype=object)})
    for name in ("cut", "flipped", "text", "empty", "pickle"):
        with pytest.raises(DataError, match=r"must be a readable \.npz file") as caught:
            load(name, tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("./none.npz", {}, "got nothing at this path"),
        ("digits", {"label": "y"}, "label must be left out for digits"),
        ("own", {"task": "t"}, r"task must be left out for an \.npz file"),
        ("own", {"size": 3}, r"size must be left out for an \.npz file"),
        ("notes.txt", {}, r"a file must end in .*; got '\.txt'"),
    ],
)
def test_refused(name: str, options: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "own.npz", **ARRAYS)
    (tmp_path / "notes.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClframeError, match=message):
        load(name, tmp_path, **options)  # type: ignore[arg-type]


def test_the_data_folder_must_exist() -> None:
    with pytest.raises(DataError, match="data_dir must be a folder; got '/nowhere/at/all'"):
        load("mnist", "/nowhere/at/all")


def test_import_brings_nothing_heavy() -> None:
    heavy = "datasets pandas pyarrow sklearn PIL scipy matplotlib"
    code = f"import sys, clframe.data; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() == "[]"


def test_damage_anywhere_in_an_npz_is_a_sentence_or_harmless(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "whole.npz", **ARRAYS)
    content = (tmp_path / "whole.npz").read_bytes()
    draw = np.random.default_rng(5)
    refused = 0
    for _ in range(100):
        damaged = bytearray(content)
        damaged[draw.integers(len(content))] ^= int(draw.integers(1, 256))
        (tmp_path / "damaged.npz").write_bytes(bytes(damaged))
        try:
            load("damaged", tmp_path)
        except DataError as error:
            refused += "\n" not in str(error)
    assert refused > 50
