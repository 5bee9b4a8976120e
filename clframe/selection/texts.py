"""How much more probable texts are in a target than in a pool, by counts of hashed n-grams."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from zlib import crc32

import numpy as np

from clframe.errors import DataError, bad_option
from clframe.selection.draws.draw import Numbers, Rows

TOKEN = re.compile(r"\w+|[^\w\s]+")


def hashed_ngram_log_ratio(
    texts: Sequence[str], target_texts: Sequence[str], buckets: int = 10000, n: int = 2, prior: float = 10000.0
) -> Numbers:
    """log p_target - log p_pool of each text (len(texts),), for the column "target_log_ratio".

        r_i = sum_b count_ib log(gamma_b / pi_b),   gamma_b = (t_b + A pi_b) / (T + A)

    count_ib is how often n-grams of text i fall into bucket b, pi_b the share of bucket b in all texts of the pool, t_b how often
    those of the target texts, T in all, fall there. N-grams are of 1 to n words, in small letters; runs of other signs are words,
    too. A long text has more of them, and so a larger |r_i|.

    Args:
        texts: of the pool; read twice.
        target_texts: examples of what is wanted.
        buckets: how many.
        n: words in the longest n-gram.
        prior: A, how many n-grams of the pool count as seen in the target: the fewer it has, the nearer r_i is to 0. With less than
            one for each bucket, counts of 0 or 1 decide.

    Raises:
        OptionError: an option breaks its rule.
        DataError: no target texts.

    Example:
        >>> ratio = hashed_ngram_log_ratio(["the cat sat", "stocks fell", "a cat slept"], ["the cat slept", "a cat sat"])
        >>> (ratio > 0).tolist()
        [True, False, True]

    Reference: Xie, Santurkar, Ma, Liang, "Data selection for language models via importance resampling", NeurIPS 2023, section 3.

    Differences:
        1. Shares of the target are drawn towards those of the pool, so that a bucket that it lacks by chance does not decide alone;
           the published code adds 1e-8 to every share.
        2. CRC-32 as the hash: the same on every machine.
    """
    for name, value in (("buckets", buckets), ("n", n)):
        if value < 1:
            raise bad_option(name, "a positive integer", value, f"Leave {name} out.")
    if not (math.isfinite(prior) and prior > 0):
        raise bad_option("prior", "a positive number of n-grams", prior, "Give prior=10000.")
    if not len(target_texts):
        raise DataError("target_texts must hold at least one text; got none. Give examples of what is wanted.")
    pool, target = counts(texts, buckets, n), counts(target_texts, buckets, n)
    share = np.maximum(pool, 1) / max(1.0, pool.sum())  # a bucket that no text of the pool is in is not asked for
    ratio = np.log((target / share + prior) / (target.sum() + prior))
    return np.array([ratio[ngram_buckets(text, buckets, n)].sum() for text in texts], dtype=np.float64)


def counts(texts: Iterable[str], buckets: int, n: int) -> Numbers:
    """How many n-grams of all texts fall into each bucket (buckets,)."""
    found = np.zeros(buckets)
    for text in texts:
        np.add.at(found, ngram_buckets(text, buckets, n), 1)
    return found


def ngram_buckets(text: str, buckets: int, n: int) -> Rows:
    """The bucket of each n-gram of 1 to n words, in the order of their length.

    Example:
        >>> len(ngram_buckets("The cat, the cat", 10000, 2)), len(set(ngram_buckets("The cat, the cat", 10000, 2).tolist()))
        (9, 6)
    """
    words = TOKEN.findall(text.lower())
    found = [" ".join(words[i : i + length]) for length in range(1, n + 1) for i in range(len(words) - length + 1)]
    return np.array([crc32(gram.encode("utf-8", "surrogatepass")) % buckets for gram in found], dtype=np.int64)
