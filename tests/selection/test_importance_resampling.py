"""Importance resampling: probabilities by brute force, and log ratios of texts by plain counting."""

from __future__ import annotations

import re
from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from clframe.errors import DataError, OptionError
from clframe.selection import Pool, pool_of, select
from clframe.selection.choice import Ask
from clframe.selection.methods import method
from clframe.selection.texts import hashed_ngram_log_ratio, ngram_buckets

RATIO = np.log([1.0, 2.0, 4.0, 0.5, 2.5])


def pool(ratio: np.ndarray) -> Pool:
    return pool_of(np.zeros((len(ratio), 1)), target_log_ratio=ratio)


def test_rows_are_drawn_one_after_another_in_proportion_to_their_weights() -> None:
    w, often, repeats = np.exp(RATIO), np.zeros(5), 4000
    expected = np.zeros(5)
    for first, second in permutations(range(5), 2):
        expected[[first, second]] += w[first] / w.sum() * w[second] / (w.sum() - w[first])
    chooser, here = method("importance-resampling"), pool(RATIO)
    for seed in range(repeats):
        often[chooser(Ask(here, 2, seed)).rows] += 1
    assert expected.sum() == pytest.approx(2)
    assert (np.abs(often / repeats - expected) < 4 * np.sqrt(expected * (1 - expected) / repeats)).all()


def test_what_is_drawn_is_like_the_target() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=20_000)  # the pool is N(0, 1), the target N(1, 1): log ratio x - 1/2
    choice = method("importance-resampling")(Ask(pool(x - 0.5), 400, 0))
    assert abs(x[choice.rows].mean() - 1) < 4 / np.sqrt(400) + 0.05  # a little less than 1, as rows are not put back
    assert abs(x[choice.rows].std() - 1) < 0.15
    assert choice.facts["effective_rows"] == pytest.approx(20_000 / np.e, rel=0.1)
    assert choice.facts["mean_log_ratio"] > 0 > choice.facts["mean_log_ratio_of_pool"]
    assert choice.estimate is None and choice.weight.tolist() == [50.0] * 400


def test_a_constant_changes_nothing_and_the_seed_decides() -> None:
    ratio = np.random.default_rng(0).normal(size=300)
    one, shifted, other = (
        method("importance-resampling")(Ask(pool(r), 40, seed)).rows.tolist()
        for r, seed in ((ratio, 0), (ratio - 1000, 0), (ratio, 1))
    )
    assert one == shifted != other and len(set(one)) == 40 and one == sorted(one)


def test_all_rows_can_be_asked_for() -> None:
    assert method("importance-resampling")(Ask(pool(RATIO), 5, 0)).rows.tolist() == [0, 1, 2, 3, 4]


def test_columns_that_are_not_there_or_do_not_serve_are_refused() -> None:
    with pytest.raises(DataError, match="must have a column 'target_log_ratio'"):
        select(pool_of(np.zeros((3, 1))), 1, "importance-resampling")
    with pytest.raises(OptionError, match="column must be a known name; got 'other'"):
        select(pool(RATIO), 1, "importance-resampling(column=other)")
    with pytest.raises(DataError, match="finite numbers; got -inf in row 1"):
        select(pool(np.array([0.0, -np.inf])), 1, "importance-resampling")


TEXTS = ["The cat sat on the mat.", "stocks fell; bonds rose", "a cat and a dog", "", "rates rose again, again"]
TARGET = ["The cat and the dog sat.", "a dog on a mat"]


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]+", text.lower())
    return [tuple(words[i : i + k]) for k in range(1, n + 1) for i in range(len(words) - k + 1)]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_log_ratios_are_those_of_plain_counts_where_no_two_ngrams_share_a_bucket(n: int) -> None:
    buckets, prior = 10_000_019, 2.5
    counts = [Counter(g for text in some for g in grams(text, n)) for some in (TARGET, TEXTS)]
    kinds = {g for c in counts for g in c}
    assert len({int(ngram_buckets(" ".join(g), buckets, len(g))[-1]) for g in kinds}) == len(kinds)
    whole, size = sum(counts[1].values()), sum(counts[0].values())
    share = {g: c / whole for g, c in counts[1].items()}
    expected = [sum(np.log((counts[0][g] + prior * share[g]) / (size + prior) / share[g]) for g in grams(t, n)) for t in TEXTS]
    np.testing.assert_allclose(hashed_ngram_log_ratio(TEXTS, TARGET, buckets, n, prior), expected, atol=1e-9)


def test_texts_of_the_target_are_found_and_a_text_of_no_words_says_nothing() -> None:
    found = hashed_ngram_log_ratio(TEXTS, TARGET, n=1)
    assert min(found[[0, 2]]) > max(found[[1, 4]]) and found[3] == 0
    assert np.abs(hashed_ngram_log_ratio(TARGET, TARGET)).max() < 1e-12


def test_buckets_are_the_same_on_every_machine() -> None:
    assert ngram_buckets("Cat", 10_000, 2).tolist() == [0x9E5E43A8 % 10_000]  # CRC-32 of "cat"


def test_topics_are_told_apart() -> None:
    random = np.random.default_rng(0)
    vocabulary = [[f"{topic}{i}" for i in range(200)] for topic in "ab"]

    def text(topic: int) -> str:
        return " ".join(random.choice(vocabulary[topic if random.random() < 0.8 else 1 - topic]) for _ in range(30))

    of = np.repeat([0, 1], 150)
    ratio = hashed_ngram_log_ratio([text(t) for t in of], [text(1) for _ in range(100)])
    chosen = select(pool(ratio), 60, "importance-resampling")
    assert of[chosen.rows].mean() > 0.9


@pytest.mark.parametrize("options", [{"buckets": 0}, {"n": 0}, {"prior": 0.0}])
def test_options_that_break_a_rule_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="must be"):
        hashed_ngram_log_ratio(TEXTS, TARGET, **options)  # type: ignore[arg-type]


def test_a_target_without_texts_is_refused() -> None:
    with pytest.raises(DataError, match="target_texts must hold at least one text; got none"):
        hashed_ngram_log_ratio(TEXTS, [])
