"""Generators: what they learn, make and score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KernelDensity as Density

from clframe.errors import DataError, OptionError
from clframe.generations.generators import generator
from clframe.generations.generators.interface import checked_scores, embedding, model_hash
from clframe.generations.loop import Run
from clframe.generations.sources import Named, source

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3)) @ np.diag([1.0, 2.0, 0.5]) + [1, 0, -1]
DATA = {
    "linear": {"x": X, "y": X @ [1.0, -1.0, 2.0] + RANDOM.normal(size=60)},
    "gaussian": {"x": X},
    "kernel-density": {"x": X},
    "vae(epochs=2,hidden=16,latent=2)": dict(Named("digits")(60, 20, 0, None).train),
    "vae(epochs=2,hidden=16,latent=2,conditional=true)": dict(Named("digits")(60, 20, 0, None).train),
}


def fitted(words: str, weight: np.ndarray | None = None, seed: int = 0) -> object:
    made = generator(words)
    made.fit(DATA[words], np.ones(60) if weight is None else weight, seed)
    return made


@pytest.mark.parametrize("words", DATA)
def test_the_same_seed_gives_the_same_model_and_samples(words: str) -> None:
    one, again = fitted(words), fitted(words)
    assert model_hash(one) == model_hash(again)
    first, second, other = one.sample(7, 1), again.sample(7, 1), one.sample(7, 2)
    assert all(np.array_equal(first[k], second[k]) and len(first[k]) == 7 for k in first)
    assert not all(np.array_equal(first[k], other[k]) for k in first)
    assert checked_scores(one, DATA[words]).shape == (60,)
    one.fit(one.sample(30, 1), np.ones(30), 0)  # what it made is what it can learn from
    assert model_hash(one) != model_hash(again)


@pytest.mark.parametrize("words", DATA)
def test_a_weight_of_two_is_a_row_that_is_there_twice(words: str) -> None:
    if words.startswith("vae"):
        weights = fitted(words, np.concatenate([np.full(30, 2.0), np.zeros(30)]))
        assert model_hash(weights) != model_hash(fitted(words))
        return
    some = np.repeat(np.arange(60), np.arange(60) % 3)
    twice = generator(words)
    twice.fit({k: v[some] for k, v in DATA[words].items()}, np.ones(len(some)), 0)
    weighted = fitted(words, (np.arange(60) % 3).astype(float))
    assert np.allclose(weighted.score(DATA[words]), twice.score(DATA[words]))


@pytest.mark.parametrize("words", DATA)
def test_before_it_has_learned_it_is_refused(words: str) -> None:
    with pytest.raises(OptionError, match="must be fitted before it samples or scores"):
        generator(words).sample(1, 0)


def test_linear_is_least_squares_on_a_fixed_design() -> None:
    made, real = fitted("linear"), DATA["linear"]
    assert np.allclose(made.w, np.linalg.pinv(real["x"]) @ real["y"])
    new = made.sample(60, 0)
    assert np.array_equal(new["x"], real["x"])
    assert np.std(new["y"] - real["x"] @ made.w) == pytest.approx(1.0, abs=0.3)


def test_gaussian_is_the_maximum_likelihood_fit() -> None:
    made = fitted("gaussian")
    truth = stats.multivariate_normal(X.mean(axis=0), np.cov(X.T, bias=True))
    assert np.allclose(made.score({"x": X}), -truth.logpdf(X))
    new = made.sample(20_000, 0)["x"]
    assert np.allclose(np.cov(new.T), np.cov(X.T, bias=True), atol=0.15)
    made.fit({"x": np.ones((5, 3))}, np.ones(5), 0)
    assert np.isfinite(made.score({"x": X})).all()  # collapsed to a point, it still has a loss


def test_kernel_density_is_scikit_learns() -> None:
    made = fitted("kernel-density")
    assert np.allclose(made.score({"x": X}), -Density(bandwidth=0.5).fit(X).score_samples(X))
    new = made.sample(5000, 0)["x"]
    assert np.allclose(new.var(axis=0), X.var(axis=0) + 0.25, rtol=0.15)


def test_vae_learns_and_makes_digits() -> None:
    real = Named("digits")(400, 100, 0, None)
    made, short = generator("vae(epochs=25,hidden=64,latent=8)"), generator("vae(epochs=1,hidden=64,latent=8)")
    made.fit(real.train, np.ones(400), 0)
    short.fit(real.train, np.ones(400), 0)
    assert made.score(real.heldout).mean() < 0.85 * short.score(real.heldout).mean()
    new = made.sample(50, 0)
    assert list(new) == ["x"] and new["x"].shape == (50, 8, 8) and new["x"].dtype == np.uint8
    assert embedding(made, real.heldout).shape == (100, 8)
    noise = {"x": np.random.default_rng(0).integers(0, 256, (100, 8, 8)).astype(np.uint8)}
    assert made.score(new).mean() < 0.5 * made.score(noise).mean()


def test_a_conditional_vae_makes_labels_as_often_as_it_saw_them() -> None:
    made = generator("vae(epochs=1,hidden=16,latent=2,conditional=true)")
    data = DATA["vae(epochs=2,hidden=16,latent=2)"]
    made.prepare(data)
    made.fit(data, (data["label"] < 3).astype(float) + 1e-9, 0)
    assert set(made.sample(50, 0)["label"]) == {0, 1, 2}
    with pytest.raises(DataError, match="a conditional vae needs a column 'label'"):
        generator("vae(conditional=true)").prepare({"x": data["x"]})


@pytest.mark.parametrize(
    ("words", "data", "message"),
    [
        ("linear", {"x": X}, "needs a column 'y' of targets"),
        ("gaussian", {"text": np.array(["a"])}, "needs a column 'x' of numbers; got text"),
        ("vae", {"x": X}, "needs a column 'x' of images"),
    ],
)
def test_data_of_another_kind_is_refused(words: str, data: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DataError, match=message):
        generator(words).fit(data, np.ones(len(next(iter(data.values())))), 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("linear(sigma=0)", "sigma must be positive"),
        ("gaussian(floor=0)", "floor must be positive"),
        ("kernel-density(bandwidth=-1)", "bandwidth must be positive"),
        ("vae(epochs=0)", "epochs must be a positive integer"),
        ("vae(epoch=3)", "Did you mean 'epochs'"),
        ("vea", "Did you mean 'vae'"),
        ("fractions:Fraction", "must have the methods fit.*fit, sample, score is missing"),
    ],
)
def test_wrong_options_are_refused(words: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        generator(words)


OWN = """
import numpy as np

class Histogram:
    def fit(self, data, weight, seed):
        self.count = np.bincount(data["x"][:, 0].clip(0, 9).astype(int), weight, 10) + 1e-3
    def sample(self, n, seed):
        return {"x": np.random.default_rng(seed).choice(10, (n, 1), p=self.count / self.count.sum()).astype(float)}
    def score(self, data):
        return -np.log(self.count / self.count.sum())[data["x"][:, 0].clip(0, 9).astype(int)]
"""


def test_a_generator_of_ones_own_runs_under_every_kind_of_policy(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    for policy in ("accumulate", "sensitivity-subsample"):
        asked = Run("normal(d=1)", f"{tmp_path / 'mine.py'}:Histogram", policy, 2, 0, rows=50, out=str(tmp_path / policy))
        assert [len(g.loss) for g in asked(None)] == [1000, 1000]


def test_a_score_that_is_not_a_number_is_refused() -> None:
    class Broken:
        def score(self, data: object) -> np.ndarray:
            return np.array([1.0, np.nan, 2.0])

    with pytest.raises(DataError, match="one finite loss for each of the 3 rows; got nan"):
        checked_scores(Broken(), {"x": np.zeros(3)})
    with pytest.raises(DataError, match="for each of the 2 rows; got 3 numbers"):
        checked_scores(Broken(), {"x": np.zeros(2)})


def test_named_data_is_the_same_for_the_same_seed_and_its_heldout_rows_for_all() -> None:
    one, other = source("digits")(50, 20, 0, None), source("digits")(50, 20, 1, None)
    assert one.fingerprint() == source("digits")(50, 20, 0, None).fingerprint() != other.fingerprint()
    assert np.array_equal(one.heldout["x"], other.heldout["x"]) and one.train["x"].max() == 255


def test_a_text_keeps_every_letter_and_holds_out_its_end(tmp_path: Path) -> None:
    text = "".join(f"line {n} of the tale\n" for n in range(300))
    (tmp_path / "tale.txt").write_text(text)
    made = source(f"text(path={tmp_path / 'tale.txt'},letters=100)")(0, 0, 0, None)
    assert "".join([*made.train["text"], *made.heldout["text"]]) == text
    with pytest.raises(DataError, match="must be a readable text file"):
        source("none.txt")(0, 0, 0, None)
    (tmp_path / "tale.txt").write_text("short")
    with pytest.raises(DataError, match="must be longer than 512 characters"):
        source(str(tmp_path / "tale.txt"))(0, 0, 0, None)
