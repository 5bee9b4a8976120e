"""What each policy trains on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.generations.policies import POLICIES, Scores, Training, policy


@dataclass(frozen=True)
class Row:
    id: str
    kind: str
    generation: int
    rows: int


REAL = Row("real", "real", 0, 40)
THERE = [REAL, Row("g1", "synthetic", 1, 30), Row("g2", "synthetic", 2, 50)]
ALL = [f"{name}(allow_collapse=true)" if name == "replace" else name for name in POLICIES.names()]


def scores(rows: int = 120) -> Scores:
    x = np.random.default_rng(0).normal(size=(rows, 3))
    return Scores(x, np.square(x).sum(axis=1))


def taken(words: str, shards: list[Row] = THERE, seed: int = 0) -> Training:
    return policy(words)(shards, seed, scores(sum(s.rows for s in shards)))


def counts(found: Training) -> dict[str, int]:
    return {part.id: len(part.rows) for part in found.parts}


@pytest.mark.parametrize("words", ALL)
def test_every_policy_trains_the_first_model_on_all_real_rows(words: str) -> None:
    found = policy(words)([REAL], 0)
    assert counts(found) == {"real": 40}
    assert np.array_equal(np.sort(found.parts[0].rows), np.arange(40))
    assert np.allclose(found.weight, 1)


@pytest.mark.parametrize("words", ALL)
def test_rows_lie_in_their_shards_and_depend_on_the_seed_alone(words: str) -> None:
    first, again = taken(words), taken(words)
    for one, other in zip(first.parts, again.parts, strict=True):
        assert np.array_equal(one.rows, other.rows) and np.array_equal(one.weight, other.weight)
        assert one.rows.min() >= 0 and one.rows.max() < next(s.rows for s in THERE if s.id == one.id)
        assert len(np.unique(one.rows)) == len(one.rows)


@pytest.mark.parametrize("words", [w for w in ALL if not w.startswith("replace")])
def test_without_real_data_a_policy_is_refused_by_name(words: str) -> None:
    name = words.partition("(")[0]
    with pytest.raises(DataError, match=f"policy '{name}' must have real data; got 2 shards"):
        taken(words, THERE[1:])


def test_replace_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(OptionError, match=r"no real data, so that errors add up.*Take accumulate"):
        policy("replace")
    assert counts(taken("replace(allow_collapse=true)")) == {"g2": 50}
    with pytest.raises(DataError, match="policy 'replace' must have real data"):
        policy("replace(allow_collapse=true)")([], 0)


def test_accumulate_takes_everything() -> None:
    assert counts(taken("accumulate")) == {"real": 40, "g1": 30, "g2": 50}


def test_accumulate_subsample_is_uniform_and_of_the_first_size() -> None:
    drawn = [counts(taken("accumulate-subsample(real_floor=0)", seed=seed)) for seed in range(200)]
    assert all(sum(d.values()) == 40 for d in drawn)
    mean = np.mean([d.get("real", 0) for d in drawn])
    assert abs(mean - 40 * 40 / 120) < 4 * np.sqrt(40 * (1 / 3) * (2 / 3) * (80 / 119) / 200)


def test_accumulate_subsample_keeps_its_floor_of_real_rows() -> None:
    shards = [REAL, Row("g1", "synthetic", 1, 5000)]
    drawn = [counts(taken("accumulate-subsample(real_floor=0.3)", shards, seed)) for seed in range(5)]
    assert drawn == [{"real": 12, "g1": 28}] * 5
    assert counts(taken("accumulate-subsample(size=20,real_floor=1.0)", shards)) == {"real": 20}
    assert counts(taken("accumulate-subsample(size=100000)", shards)) == {"real": 40, "g1": 5000}


def test_fixed_real_has_its_share_by_weight_where_real_rows_are_few() -> None:
    assert counts(taken("fixed-real(share=0.5)")) == {"real": 20, "g2": 20}
    few = taken("fixed-real(share=0.5,size=100)")
    assert counts(few) == {"real": 40, "g2": 50}
    assert few.parts[0].weight.sum() == pytest.approx(50) == few.parts[1].weight.sum()


def test_golden_gives_real_data_its_weight() -> None:
    found = taken("golden")
    assert counts(found) == {"real": 40, "g2": 50}
    assert found.parts[0].weight.sum() / found.weight.sum() == pytest.approx((np.sqrt(5) - 1) / 2)
    assert found.weight.mean() == pytest.approx(1)


@pytest.mark.parametrize("words", ["sensitivity-subsample", "sensitivity-subsample(method=uniform)"])
def test_sensitivity_subsample_estimates_the_mean_over_all_rows_without_bias(words: str) -> None:
    shards, of = [Row("real", "real", 0, 100), Row("g1", "synthetic", 1, 900)], scores(1000)
    start = {"real": 0, "g1": 100}
    other = of.embedding[:, 0] ** 2 + 1  # not the loss that the draw knows
    means = []
    for seed in range(60):
        found = policy(words)(shards, seed, of)
        assert len(found) <= 100
        means.append(sum(float(part.weight @ other[start[part.id] + part.rows]) for part in found.parts) / 100)
    assert abs(np.mean(means) - other.mean()) < 4 * np.std(means) / np.sqrt(60)


def test_sensitivity_subsample_prefers_large_losses_and_bounds_weights() -> None:
    shards, of = [Row("real", "real", 0, 100), Row("g1", "synthetic", 1, 900)], scores(1000)
    found = policy("sensitivity-subsample(mixture=0.5)")(shards, 0, of)
    start = {"real": 0, "g1": 100}
    rows = np.concatenate([start[part.id] + part.rows for part in found.parts])
    assert of.loss[rows].mean() > 1.2 * of.loss.mean()
    assert found.weight.max() <= 2 * 3  # 1 / mixture, times few draws of one row


def test_sensitivity_subsample_takes_negative_losses_and_the_centres_of_cells() -> None:
    of = Scores(scores().embedding, scores().loss - 5)
    assert 0 < len(policy("sensitivity-subsample(known=false)")(THERE, 0, of)) <= 40
    with pytest.raises(OptionError, match="must have the scores of all rows; got none"):
        policy("sensitivity-subsample")(THERE, 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("accumulate-subsample(size=-1)", "size must be a number of rows"),
        ("accumulate-subsample(real_floor=2)", r"real_floor must be a share in \[0, 1\]; got 2"),
        ("fixed-real(share=-0.5)", "share must be a share"),
        ("golden(weight=1.5)", "weight must be a share"),
        ("golden(weight=0)", "weight must be above 0, as no real data is left"),
        ("fixed-real(share=0)", "share must be above 0, as no real data is left"),
        ("sensitivity-subsample(mixture=0)", "mixture must be above 0"),
        ("sensitivity-subsample(method=sensitivty)", "Did you mean 'sensitivity'"),
        ("accumulate-subsampel", "Did you mean 'accumulate-subsample'"),
        ("golden(weigth=0.5)", "Did you mean 'weight'"),
    ],
)
def test_wrong_options_are_refused(words: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        policy(words)


@pytest.mark.parametrize("share", [0.001, 0.04, 0.25, 0.99])
def test_a_share_of_less_than_a_row_is_kept_by_weight(share: float) -> None:
    chosen = taken(f"fixed-real(share={share})", [Row("real", "real", 0, 10), Row("g1", "synthetic", 1, 90)])
    real = next(part for part in chosen.parts if part.id == "real")
    alone = len(chosen.parts) == 1
    assert len(real.rows) >= 1
    assert float(real.weight.sum()) == pytest.approx((1 if alone else share) * float(chosen.weight.sum()))
