"""Text: how many different n-grams generated texts have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from clframe.generations.alarms.entropy import entropy
from clframe.generations.alarms.exchange import Rows

WORD = re.compile(r"\w+|[^\w\s]")


def words(text: str) -> list[str]:
    """Words in lower case, and signs.

    Example:
        >>> words("To be, or not")
        ['to', 'be', ',', 'or', 'not']
    """
    return WORD.findall(text.lower())


def grams(texts: Sequence[str], n: int) -> tuple[list[Rows], int]:
    """The n-grams of each text as numbers, and how many different ones there are.

    Example:
        >>> [found.tolist() for found in grams(["a b a b", "b a"], 2)[0]]
        [[0, 1, 0], [1]]
    """
    number: dict[tuple[str, ...], int] = {}
    found = []
    for text in texts:
        said = words(text)
        each = zip(*(said[i:] for i in range(n)), strict=False)
        found.append(np.array([number.setdefault(gram, len(number)) for gram in each], dtype=np.int64))
    return found, len(number)


def distinct(counts: Rows) -> float:
    """Different n-grams over all n-grams: distinct-n.

        #{g: counts_g > 0} / sum_g counts_g

    Args:
        counts: of each n-gram in all texts together (k,).

    It falls with the length of the text: compare equally much text. It does not tell sense from noise: random words are distinct.

    Example:
        >>> parts, k = grams(["a b a b"], 1)
        >>> distinct(np.bincount(parts[0], minlength=k))
        0.5

    Reference: Li, Galley, Brockett, Gao, Dolan, "A diversity-promoting objective function for neural conversation models", 2016.
    """
    return float((counts > 0).sum() / max(1, counts.sum()))


def gram_entropy(counts: Rows) -> float:
    """Entropy of the n-grams in nats; see `entropy`.

    Example:
        >>> gram_entropy(np.array([3, 0]))
        0.0

    Reference: Zhang et al., "Generating informative and diverse conversational responses via adversarial information
    maximization", 2018.
    """
    return entropy(counts)


def self_bleu(texts: Sequence[str], longest: int = 4) -> float:
    """Mean BLEU of each text with all others as references: 1 where all texts are alike.

        BLEU = min(1, exp(1 - r / c)) (prod_{n <= N} precision_n)^(1/N)

    c words of the text, r of the reference nearest in length (the shorter of two), precision_n the share of its n-grams that a
    reference has, each counted at most as often as in the reference that has it most often. Cost: O(texts^2).

    Args:
        texts: at least two.
        longest: N.

    It does not tell good text from bad; with few texts it is low.

    Example:
        >>> self_bleu(["a b c d", "a b c d"]), self_bleu(["a b c d", "e f g h"])
        (1.0, 0.0)

    Reference: Zhu et al., "Texygen: a benchmarking platform for text generation models", 2018; Papineni et al., "BLEU", 2002.

    Differences: 1. No smoothing: a text with no common n-gram of some length counts 0.
    """
    counted = [[Counter(part.tolist()) for part in grams(texts, n)[0]] for n in range(1, longest + 1)]
    lengths = [sum(c.values()) for c in counted[0]]
    return float(np.mean([_bleu(i, counted, lengths) for i in range(len(texts))]))


def _bleu(i: int, counted: list[list[Counter[int]]], lengths: list[int]) -> float:
    logs = []
    for of_length in counted:
        own = of_length[i]
        hit = sum(min(times, max(c[g] for j, c in enumerate(of_length) if j != i)) for g, times in own.items())
        if not hit:
            return 0.0
        logs.append(np.log(hit / sum(own.values())))
    nearest = min((abs(n - lengths[i]), n) for j, n in enumerate(lengths) if j != i)[1]
    return float(min(1.0, np.exp(1 - nearest / lengths[i])) * np.exp(np.mean(logs)))
