"""Who saw what: samples that the tuning phase and the evaluation phase have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from clframe import pieces
from clframe.errors import DataError
from clframe.eval.protocol.protocols import Place
from clframe.scenarios import Stream
from clframe.types import Source

Hashes = npt.NDArray[np.uint64]
CHUNK = 2048


class Samples:
    """Hashes of samples by their inputs, as they are delivered: the same for copies under another name.

    Args:
        data_dir: the folder of data sets.

    Example: the two halves of a stream of disjoint classes share nothing; the stream and its first half do.
        >>> known, whole, half = Samples(), Place("split-digits"), Place("split-digits[:2]")
        >>> known.shared(half, 0, Place("split-digits[2:]"), 0), known.shared(half, 0, whole, 0) > 0
        (0, True)
    """

    def __init__(self, data_dir: str | None = None) -> None:
        self.data_dir = data_dir
        self._sources: dict[str, Hashes] = {}
        self._streams: dict[tuple[Place, int], Hashes] = {}

    def shared(self, first: Place, first_seed: int, second: Place, second_seed: int) -> int:
        """How many samples two streams have in common, those held out for validation included."""
        return len(np.intersect1d(self.of(first, first_seed), self.of(second, second_seed), assume_unique=True))

    def of(self, place: Place, seed: int) -> Hashes:
        """A hash of every sample that the stream trains, validates or tests on, each once."""
        if (place, seed) not in self._streams:
            self._streams[place, seed] = self._stream(pieces.stream(place.scenario, "finetune", seed, self.data_dir))
        return self._streams[place, seed]

    def _stream(self, stream: Stream) -> Hashes:
        return np.union1d(self.trained(stream), self.tested(stream))

    def trained(self, stream: Stream) -> Hashes:
        """A hash of every sample that the stream trains or validates on, each once."""
        train = self._source(stream.data.train)
        return np.unique(np.concatenate([train[ids] for ids in (*stream.segments, *stream.validation)]))

    def tested(self, stream: Stream) -> Hashes:
        """A hash of every sample that the stream is tested on, each once."""
        test = self._source(stream.data.test)
        return np.unique(np.concatenate([test[ids] for ids in stream.tests]))

    def _source(self, source: Source) -> Hashes:
        fingerprint = source.fingerprint()
        if fingerprint not in self._sources:
            found = np.empty(len(source), dtype=np.uint64)
            for start in range(0, len(found), CHUNK):
                rows = source.fetch(torch.arange(start, min(start + CHUNK, len(found)))).cpu().contiguous().numpy()
                for i, row in enumerate(rows, start):
                    found[i] = int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "little")
            self._sources[fingerprint] = found
        return self._sources[fingerprint]


def refuse_overlap(name: str, tuning: Place, scored: Place, seeds: Iterable[tuple[int, int]], known: Samples) -> None:
    """Refuse samples that both phases have.

    Args:
        name: of the scenario, for the message.
        tuning, scored: the streams.
        seeds: (of tuning, of evaluation) pairs that must have nothing in common.
        known: the samples.

    Raises:
        DataError: with the number of samples in both.
    """
    for first, second in seeds:
        both = known.shared(tuning, first, scored, second)
        if both:
            raise DataError(
                f"scenarios.{name}: what is tuned on and what is scored must have no sample in common; {both} of the "
                f"{len(known.of(scored, second))} of {scored.scenario!r} (seed {second}) are also in {tuning.scenario!r} (seed "
                f"{first}). Give other classes, such as classes=0-4 and classes=5-9, or another data set; experiences that share "
                "test samples cannot be kept apart, and are tuned on other data by 'gtep'."
            )
