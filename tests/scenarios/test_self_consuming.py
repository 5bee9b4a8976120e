"""Streams of generated data: what each experience holds, where labels come from, what is kept, refusals."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import clframe
from clframe.data import Dataset, from_arrays, load
from clframe.errors import ClframeError, DataError, OptionError
from clframe.generations.generators import generator
from clframe.generations.ledger import Ledger
from clframe.generations.policies import policy
from clframe.scenarios import Stream
from clframe.scenarios.catalog import build
from clframe.seeding import seed_for
from clframe.self_consuming import self_consuming

SMALL = "vae(epochs=2,hidden=16,latent=2,conditional=true)"


def inputs(stream: Stream, k: int) -> torch.Tensor:
    return stream.data.train.fetch(torch.from_numpy(stream.segments[k]))


def test_the_first_experience_is_real_and_the_others_are_not() -> None:
    data = load("digits")
    stream = self_consuming(data, generator=SMALL, generations=2, rows=300, samples=100, seed=1)
    assert [len(ids) for ids in stream.segments] == [300, 100, 100]
    real = stream.segments[0]
    assert torch.equal(inputs(stream, 0), data.train.fetch(torch.from_numpy(real)))
    assert (stream.data.train.y[real] == data.train.y[real]).all()
    assert all((ids >= len(data.train)).all() for ids in stream.segments[1:])
    assert stream.data.test is data.test
    assert all(len(ids) == len(data.test) for ids in stream.tests)
    low, high = float(inputs(stream, 0).min()), float(inputs(stream, 0).max())
    made = torch.cat([inputs(stream, 1), inputs(stream, 2)])
    assert low - 1e-5 <= float(made.min()) < float(made.max()) <= high + 1e-5


def test_the_loop_is_the_one_of_the_policy() -> None:
    x = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    data = from_arrays(x, y, x, y)
    for words in ("accumulate", "replace(allow_collapse=true)"):
        stream = self_consuming(data, generator="gaussian", policy=words, generations=2, seed=5)
        model, choose = generator("gaussian"), policy(words)
        first = {"x": x, "label": y}
        model.fit(first, np.ones(80), seed_for(5, "fit", 1))
        one = model.sample(80, seed_for(5, "sample", 1))["x"]
        assert np.allclose(inputs(stream, 1), one, atol=1e-6)
        taken = np.concatenate([x, one]) if isinstance(choose, type(policy("accumulate"))) else one
        model.fit({"x": taken}, np.ones(len(taken)), seed_for(5, "fit", 2))
        assert np.allclose(inputs(stream, 2), model.sample(80, seed_for(5, "sample", 2))["x"], atol=1e-6)
        nearest = ((one[:, None] - x[None]) ** 2).sum(2).argmin(1)
        assert (stream.data.train.y[stream.segments[1]] == y[nearest]).all()


def test_a_conditional_generator_labels_what_it_makes() -> None:
    stream = self_consuming("digits", generator="vae(epochs=15,hidden=100,conditional=true)", generations=1, seed=0)
    from sklearn.neighbors import KNeighborsClassifier

    real, made = (inputs(stream, k).flatten(1).numpy() for k in (0, 1))
    y = stream.data.train.y
    known = KNeighborsClassifier(3).fit(real, y[stream.segments[0]])
    assert (known.predict(made) == y[stream.segments[1]]).mean() > 0.8  # measured: 0.97


def test_colour_images_come_back_as_they_went() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (60, 4, 4, 3)).astype(np.uint8)
    x[0], x[1] = 0, 255
    y = np.arange(60) % 2
    stream = self_consuming(from_arrays(x, y, x, y), generator="kernel-density(bandwidth=0.001)", generations=1)
    real, made = inputs(stream, 0), inputs(stream, 1)
    away = ((made.flatten(1)[:, None] - real.flatten(1)[None]) ** 2).sum(2)
    assert float(away.min(1).values.max()) < 1e-3  # each is nearly one of the real ones, channels and rows in their places
    assert (stream.data.train.y[stream.segments[1]] == y[away.argmin(1).numpy()]).all()


def test_held_out_samples_are_shown_to_no_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    data, asked = load("digits"), set()
    fetch = type(data.train).fetch

    def watched(self: object, index: torch.Tensor) -> torch.Tensor:
        if self is data.train:
            asked.update(index.tolist())
        return fetch(self, index)

    monkeypatch.setattr(type(data.train), "fetch", watched)
    stream = self_consuming(data, generator="gaussian", generations=2, validation=0.2, seed=3)
    assert asked == set(stream.segments[0].tolist())
    assert not asked & set(stream.validation[0].tolist())
    assert len(stream.validation) == len(stream) == 3
    assert len(stream.on_validation().experiences[2].test) == len(stream.validation[0])


def test_it_is_a_function_of_its_seed_whatever_the_number_of_threads() -> None:
    one = self_consuming("digits", generator=SMALL, generations=2, rows=200)
    torch.set_num_threads(2)
    try:
        again = self_consuming("digits", generator=SMALL, generations=2, rows=200)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert one.fingerprint() == again.fingerprint()
    assert one.fingerprint() != self_consuming("digits", generator=SMALL, generations=2, rows=200, seed=1).fingerprint()


def test_a_folder_keeps_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = self_consuming("digits", generator=SMALL, generations=2, rows=100)
    kept = self_consuming("digits", generator=SMALL, generations=2, rows=100, out=tmp_path / "loops")
    assert plain.fingerprint() == kept.fingerprint()
    (folder,) = (tmp_path / "loops").iterdir()
    assert [r.generation for r in Ledger(folder / "pool").records()] == [0, 1, 2]
    assert not Ledger(folder / "pool").fsck()

    def fit(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("clframe.generations.generators.vae.VAE.fit", fit)  # nothing is fitted again
    again = self_consuming("digits", generator=SMALL, generations=2, rows=100, out=tmp_path / "loops")
    assert again.fingerprint() == plain.fingerprint()
    with pytest.raises(ZeroDivisionError):
        self_consuming("digits", generator=SMALL, generations=3, rows=100, out=tmp_path / "loops")
    assert len(os.listdir(tmp_path / "loops")) == 1  # what failed left nothing


def test_a_run_over_it(tmp_path: Path) -> None:
    words = f"self-consuming(data=digits,generator='{SMALL}',generations=1,rows=200)"
    result = clframe.run(words, "finetune", evaluate="boundaries", out=tmp_path / "run")
    assert result.finished
    assert build(words).name == "self-consuming"
    assert len(result.rows.evaluated.unique()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generations": 0}, "generations must be a whole number from 1; got 0"),
        ({"rows": -1}, "rows must be a whole number from 0; got -1"),
        ({"rows": 5000}, "rows must be at most the 1,438 real training samples; got 5000"),
        ({"policy": "replace"}, "Take accumulate, or write replace"),
        ({"policy": "acumulate"}, "Did you mean 'accumulate'"),
        ({"generator": "vea"}, "Did you mean 'vae'"),
        ({"generator": "language"}, "column 'text'|needs transformers"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ClframeError, match=message):
        self_consuming("digits", **options)  # type: ignore[arg-type]


def test_images_without_contrast_and_rows_that_are_no_images_are_refused() -> None:
    x, y = np.full((20, 4, 4), 7, dtype=np.uint8), np.arange(20) % 2
    with pytest.raises(DataError, match="images must vary in every channel"):
        self_consuming(from_arrays(x, y, x, y), generator="gaussian")
    flat: Dataset = from_arrays(np.eye(20), y, np.eye(20), y)
    with pytest.raises((DataError, OptionError), match="needs a column 'x' of images"):
        self_consuming(flat)
