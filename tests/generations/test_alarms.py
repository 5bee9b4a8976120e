"""Alarms as a whole: quiet on fresh real data, loud on collapsed data, and what they read from a pool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from clframe.errors import DataError, OptionError
from clframe.generations import Ledger
from clframe.generations.alarms import Data, Thresholds, check, exchange, on_numbers
from clframe.generations.alarms.alarm import judged
from clframe.generations.alarms.entropy import entropy_change
from clframe.generations.alarms.from_pool import gather
from clframe.generations.alarms.heldout_loss import increase, increase_by_chance
from clframe.generations.alarms.tail import tail_coverage
from clframe.generations.alarms.thresholds import as_yaml, read
from clframe.generations.alarms.variance import determinant_ratio, trace_ratio, trace_ratio_by_chance

X = npt.NDArray[np.float32]


def modes(n: int, seed: int, shares: tuple[float, ...] = (0.4, 0.3, 0.25, 0.05)) -> X:
    """Rows of a mixture of Gaussians in four directions."""
    random = np.random.default_rng(seed)
    middle = 6 * np.eye(4)[random.choice(4, n, p=np.array(shares) / sum(shares))]
    return (middle + random.normal(size=(n, 4))).astype(np.float32)


def ringing(data: Data, **given: float) -> set[str]:
    small = {"near_rows": 80, "exchanges": 339} | given
    return {one.name for one in check(data, Thresholds(**small)).alarms if one.rings}  # type: ignore[arg-type]


def test_each_statistic_rings_falsely_at_its_level() -> None:
    """200 fresh samples, level 0.1, no tolerance: at most 0.1 plus three standard errors, and not hardly ever."""
    random, rings = np.random.default_rng(0), np.zeros(4)
    tail = np.arange(8) < 2
    for _ in range(200):
        real, made = (random.multinomial(n, np.arange(1, 9) / 36) for n in (300, 200))
        x, loss = random.normal(size=(50, 2)), random.normal(size=(60,))
        found = (
            ("low", entropy_change(real, made), exchange.of_counts(entropy_change, real, made, 59, random), 0.0),
            (
                "low",
                tail_coverage(real, made, tail),
                exchange.of_counts(lambda r, m: tail_coverage(r, m, tail), real, made, 59, random),
                1.0,
            ),
            ("low", trace_ratio(x[25:], x[:25]), trace_ratio_by_chance(x, 25, 59, random), 1.0),
            ("high", increase(loss, np.zeros(60)), increase_by_chance(loss, np.zeros(60), 59, random), 0.0),
        )
        rings += [judged("a", value, chance, limit, 0.1, "", bad=bad).rings for bad, value, chance, limit in found]
    assert (rings / 200 <= 0.1 + 3 * (0.1 * 0.9 / 200) ** 0.5).all() and (rings / 200 >= 0.03).all(), rings / 200


def test_fresh_data_rings_nothing_as_a_whole() -> None:
    """All alarms together, with their thresholds and with none: at most the level, 0.05, plus three standard errors."""
    none = {"variance_ratio": 1.0, "determinant_ratio": 1.0, "cell_entropy": 0.0, "empty_cells": 0.0, "tail_coverage": 1.0}
    quick = {"exchanges": 199, "density": None, "coverage": None, "mauve": None, "vendi_ratio": None}
    limits = Thresholds(**none, **quick, near_copies=0.0, starved_mass=0.0)  # type: ignore[arg-type]
    loud = sum(check(Data(real=modes(400, 2 * i), made=modes(150, 2 * i + 1)), limits).rings for i in range(40))
    assert loud <= 40 * 0.05 + 3 * (40 * 0.05 * 0.95) ** 0.5


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (modes(400, 1).mean(0) + (modes(400, 1) - modes(400, 1).mean(0)) * np.float32(0.5**0.5), {"variance_ratio"}),
        (modes(400, 1, (0.4, 0.3, 0.25, 0)), {"cell_entropy", "empty_cells"}),
        (modes(400, 1, (0.4, 0.3, 0, 0.05)), {"cell_entropy", "empty_cells", "starved_mass"}),
        (
            modes(400, 1, (1, 0, 0, 0)),
            {"variance_ratio", "cell_entropy", "starved_mass", "tail_coverage", "coverage", "mauve", "vendi_ratio"},
        ),
        (modes(400, 1) + np.float32(2), {"density", "mauve"}),
        (np.concatenate([modes(1000, 0)[:100], modes(300, 1)]), {"near_copies"}),
        (modes(400, 1), set()),
    ],
    ids=["half the variance", "a rare mode lost", "a mode lost", "one mode left", "moved off", "copied rows", "fresh"],
)
def test_what_rings(made: X, expected: set[str]) -> None:
    found = ringing(Data(real=modes(1000, 0), made=made, outside=modes(500, 2)), near=1e-6)
    assert expected <= found and (expected or not found), found


def test_texts_and_losses() -> None:
    random = np.random.default_rng(0)
    vocabulary = np.array([f"w{i}" for i in range(60)])
    texts = [" ".join(vocabulary[random.integers(60, size=12)]) for _ in range(120)]
    narrow = [" ".join(vocabulary[random.integers(8, size=12)]) for _ in range(60)]
    loss = random.normal(size=200)
    data = Data(real_texts=texts[:60], made_texts=texts[60:], losses={1: loss, 2: loss + random.normal(0, 0.1, 200)}, generation=2)
    assert not ringing(data, rows=100, exchanges=339)
    worse = {1: loss, 2: loss + 0.3, 3: loss + 0.3 + random.normal(0, 0.1, 200)}
    found = ringing(Data(real_texts=texts[:60], made_texts=narrow, losses=worse, generation=3), exchanges=339)
    assert found == {"distinct_1", "distinct_2", "distinct_3", "gram_entropy", "loss_since_first"}
    with pytest.raises(DataError, match="same rows in every generation"):
        check(Data(losses={1: loss, 2: loss[:-1]}, generation=2))


def test_counts_exchange_as_rows_do() -> None:
    """The hypergeometric counts and the permuted rows give the same distribution, and matrix products the same traces."""
    random, cell = np.random.default_rng(0), np.repeat([0, 1, 2], [5, 3, 4])
    counts = [np.bincount(part, minlength=3) for part in (cell[:7], cell[7:])]
    by_rows = exchange.of_rows(
        lambda r, m: entropy_change(np.bincount(cell[r], minlength=3), np.bincount(cell[m], minlength=3)), 7, 5, 4000, random
    )
    by_counts = exchange.of_counts(entropy_change, *counts, 4000, random)
    assert np.abs(np.quantile(by_rows, [0.1, 0.3, 0.6]) - np.quantile(by_counts, [0.1, 0.3, 0.6])).max() < 0.08
    x = random.normal(size=(30, 3)) + 5
    same = exchange.of_rows(lambda r, m: trace_ratio(x[m], x[r]), 18, 12, 20, np.random.default_rng(3))
    dealt = trace_ratio_by_chance(x, 18, 2000, np.random.default_rng(4))
    assert np.isclose(np.median(dealt), 1, atol=0.1) and dealt.min() <= same.min() * 1.3
    values = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    assert determinant_ratio(values * [2, 1], values) == pytest.approx(2) and determinant_ratio(values * [1, 0], values) == 0


def test_a_pool(tmp_path: Path) -> None:
    pool = Ledger(tmp_path / "p")
    with pytest.raises(DataError, match="synthetic rows"):
        gather(pool)
    real = pool.append({"x": modes(300, 0), "label": np.arange(300)}, kind="real")
    loss = [0.1, 0.2, 0.4]
    made = {"x": np.concatenate([modes(300, 0)[:40], modes(60, 1)]), "label": np.arange(100)}
    model = {"weights": "1"}
    one = pool.append(made, kind="synthetic", parents=[real.id], model=model, losses={"heldout": loss})
    pool.append({"x": modes(50, 2)}, kind="synthetic", parents=[one.id, real.id], model=model, losses={"heldout": [0.5, 0.6, 0.9]})
    data = gather(pool)
    assert data.generation == 2 and data.trained == 400 and data.made is not None and data.made.shape == (50, 4)
    assert set(data.losses) == {1, 2} and data.real is not None and data.real.shape == (300, 4)
    assert not {"exact_copies", "near_copies"} & ringing(data)
    assert {"exact_copies", "near_copies"} <= ringing(gather(pool, 1), near=1e-6)
    with pytest.raises(OptionError, match="one with synthetic rows: 1, 2"):
        gather(pool, 5)
    with pytest.raises(DataError, match="same numbers in a row"):
        check(gather(pool, 1, {"x": np.ones((5, 2))}))
    assert [m.name for m in on_numbers.of_losses(gather(pool, 1), Thresholds())] == []


def test_thresholds(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(as_yaml(Thresholds(seed=3)))
    assert read(path) == Thresholds(seed=3)
    for text, told in (
        ("variance_rato: 0.5", "Did you mean 'variance_ratio'"),
        ("level: 0.7", "level must be between 0 and 0.5"),
        ("level: null", "level must be a number"),
        ("exchanges: 2.5", "exchanges must be an integer"),
        ("variance_ratio: low", "or null to turn the alarm off"),
        ("[1]", "a YAML file of names and numbers"),
        ("a: [", "readable YAML"),
    ):
        path.write_text(text)
        with pytest.raises(OptionError, match=told):
            read(path)
    path.write_text("variance_ratio: null\nnear_rows: 40\nexchanges: 299")
    assert "variance_ratio" not in {a.name for a in check(Data(real=modes(90, 0), made=modes(90, 1)), read(path)).alarms}
    with pytest.raises(OptionError, match="exchanges must be at least"):
        check(Data(real=modes(90, 0), made=modes(90, 1)), Thresholds(exchanges=9))
    with pytest.raises(DataError, match="must be finite"):
        check(Data(real=modes(90, 0), made=np.full((3, 4), np.nan, np.float32)))
