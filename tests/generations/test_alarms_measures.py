"""The measures against their published definitions, computed by brute force, and against closed forms."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from clframe.generations.alarms import density, mauve, ngrams, vendi
from clframe.generations.alarms.heldout_loss import increase_by_chance
from clframe.generations.alarms.variance import by_chance_alone


def test_density_and_coverage_are_their_definition() -> None:
    random = np.random.default_rng(0)
    x, n, k = random.normal(size=(27, 3)), 15, 3
    radius = [sorted(float(np.linalg.norm(x[i] - x[j])) for j in range(n) if j != i)[k - 1] for i in range(n)]
    hits = [[float(np.linalg.norm(x[i] - x[j])) <= radius[i] for j in range(n, 27)] for i in range(n)]
    found = density.density_and_coverage(density.distances(x), np.arange(n), np.arange(n, 27), k)
    assert found == pytest.approx((np.sum(hits) / (k * 12), np.any(hits, axis=1).mean()))


def test_expected_density_and_coverage() -> None:
    random, found = np.random.default_rng(1), []
    for _ in range(60):
        among = density.distances(random.normal(size=(60, 2)))
        found.append(density.density_and_coverage(among, np.arange(40), np.arange(40, 60), 3))
    assert np.mean(found, axis=0) == pytest.approx([1, density.expected_coverage(40, 20, 3)], abs=0.05)


def test_mauve_is_its_definition() -> None:
    real, made = np.array([5, 3, 0, 2]), np.array([4, 0, 5, 1])
    p, q = real / 10, made / 10
    curve = [(1.0, 0.0)]
    for a in np.linspace(1e-6, 1 - 1e-6, 25):
        r = a * p + (1 - a) * q
        of_q = sum(q[i] * np.log(q[i] / r[i]) for i in range(4) if q[i])
        of_p = sum(p[i] * np.log(p[i] / r[i]) for i in range(4) if p[i])
        curve.append((float(np.exp(-5 * of_q)), float(np.exp(-5 * of_p))))
    curve.append((0.0, 1.0))
    area = sum((x0 - x1) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(curve))
    assert mauve.mauve(real, made) == pytest.approx(area)
    assert mauve.mauve(made, real) == pytest.approx(area)
    assert mauve.mauve(real, 3 * real) == pytest.approx(1)


def test_vendi_is_its_definition() -> None:
    for shape in ((5, 3), (4, 7)):
        x = np.random.default_rng(2).normal(size=shape)
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        values = np.linalg.eigvalsh(unit @ unit.T / len(x))
        values = values[values > 1e-12]
        assert vendi.vendi_score(x) == pytest.approx(np.exp(-np.sum(values * np.log(values))))


def test_self_bleu_is_its_definition() -> None:
    texts = ["the cat sat on the mat", "the cat sat on a mat today", "the the the cat sat on it"]
    scores = []
    for i, text in enumerate(texts):
        own, others = text.split(), [t.split() for j, t in enumerate(texts) if j != i]
        score = 1.0
        for n in (1, 2):
            of = [Counter(tuple(w[s : s + n]) for s in range(len(w) - n + 1)) for w in (own, *others)]
            hit = sum(min(c, max(other[g] for other in of[1:])) for g, c in of[0].items())
            score *= (hit / sum(of[0].values())) ** 0.5
        nearest = min((abs(len(o) - len(own)), len(o)) for o in others)[1]
        scores.append(score * min(1.0, float(np.exp(1 - nearest / len(own)))))
    assert ngrams.self_bleu(texts, 2) == pytest.approx(np.mean(scores))
    assert ngrams.self_bleu(["a b", "c d"]) == 0


def test_distinct_and_entropy_of_grams() -> None:
    parts, k = ngrams.grams(["a b a b c"], 2)
    counts = np.bincount(parts[0], minlength=k)
    assert ngrams.distinct(counts) == 3 / 4
    assert ngrams.gram_entropy(counts) == pytest.approx(-(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25)))


def test_the_bootstrap_has_the_standard_error_of_the_mean() -> None:
    d = np.random.default_rng(0).normal(size=200)
    found = increase_by_chance(d, np.zeros(200), 2000, np.random.default_rng(1))
    assert found.std() == pytest.approx(d.std() / 200**0.5, rel=0.08)
    assert abs(found.mean()) < 0.01


def test_variance_that_chance_leaves() -> None:
    """Gaussians fitted to 20 rows of the last one, 10 times over."""
    random, variance = np.random.default_rng(0), np.ones(4000)
    for _ in range(10):
        variance = (np.sqrt(variance)[:, None] * random.normal(size=(4000, 20))).var(axis=1)
    assert variance.mean() == pytest.approx(by_chance_alone(20, 10), rel=0.06)
