"""Pieces of a long job: done by any executor, each kept in a folder as it is finished, and none done twice."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from clframe.checkpoint import Interrupted
from clframe.errors import ClframeError
from clframe.executors import Executor, InProcess, Processes
from clframe.executors import Tell as TellTask
from clframe.selection.engine_folder import read, store

Array: TypeAlias = npt.NDArray[Any]
Held: TypeAlias = Path | Array
"""An array, or the file that it is in."""
Check: TypeAlias = Callable[[], None]
"""Called by a piece between two blocks; raises where the job is to stop."""
Piece: TypeAlias = Callable[[Check], Array]
"""A part of a job that can be sent to another process. What it returns depends on nothing but what it is made of."""
Tell = Callable[[str, int, int], object]
"""Called with (what is done, pieces or rows done, in all)."""


@final
@dataclass(frozen=True)
class Shard:
    """A piece as an executor takes it; what it returns is written to `out`, or handed back where there is none."""

    name: str
    piece: Piece
    out: Path | None
    threads: int
    cores: int = 1

    def __call__(self, tell: TellTask | None) -> Array | None:
        """Do it; stopped on the way, it leaves nothing behind."""

        def check() -> None:
            if tell is not None and tell(0, 0):
                raise Interrupted

        with limited(self.threads):
            found = self.piece(check)
        if self.out is None:
            return found
        store(self.out, found)
        return None


@final
class Temporary:
    """A folder that is removed when this is no longer used."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="clframe-")).resolve()
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@final
class Engine:
    """Does the pieces of stages, and keeps what they return: in files where there is a folder, in memory otherwise.

    Pieces are the same whoever does them, so what comes of a job does not depend on the executor, on the number of its workers,
    or on how often the job was stopped and begun again.

    Args:
        executor: does the pieces; by default one after another in this process.
        folder: for finished pieces; None: what an earlier run did is not known, and nothing is left for a later one.
        tell: progress.
    """

    def __init__(self, executor: Executor | None = None, folder: Path | None = None, tell: Tell | None = None) -> None:
        self.executor: Executor = executor or InProcess()
        self.folder, self.tell = folder, tell
        self._made: Temporary | None = None

    @property
    def alone(self) -> bool:
        """Whether pieces are done in this process."""
        return isinstance(self.executor, InProcess)

    def settle(self) -> Temporary | None:
        """From now on pieces are kept in files. What is returned, if anything, holds them for as long as it lives."""
        if self.folder is None:
            self._made = Temporary()
            self.folder = self._made.path
        return self._made

    def map(self, stage: str, pieces: Sequence[Piece], what: str = "", sizes: Sequence[int] | None = None) -> list[Held]:
        """What each piece returns, in their order. Those that are finished already are not done again.

        Args:
            stage: names the files.
            pieces: what is to be done.
            what: for progress; "" for none.
            sizes: how much each piece counts there.

        Raises:
            ClframeError: that of a piece.
            Interrupted: Ctrl-C; what was finished is kept.
        """
        counts = [1] * len(pieces) if sizes is None else list(sizes)
        outs = [None if self.folder is None else self.folder / f"{stage}-{i:06d}.npy" for i in range(len(pieces))]
        left = [i for i, out in enumerate(outs) if out is None or not out.exists()]
        found: dict[int, Array] = {}
        done = sum(counts) - sum(counts[i] for i in left)

        def ended(place: int, outcome: Array | ClframeError | None) -> None:
            nonlocal done
            if isinstance(outcome, ClframeError):
                raise outcome
            if isinstance(outcome, np.ndarray):
                found[left[place]] = outcome
            done += counts[left[place]]
            if self.tell is not None and what:
                self.tell(what, done, sum(counts))

        threads = max(1, (os.cpu_count() or 1) // self.executor.jobs) if isinstance(self.executor, Processes) else 0
        self.executor([Shard(f"{stage} {i}", pieces[i], outs[i], threads) for i in left], ended=ended)
        return [out if out is not None else found[i] for i, out in enumerate(outs)]

    def once(self, name: str, make: Callable[[], Array]) -> Held:
        """An array that is made once in a job, in this process."""
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.npy"
        if not path.exists():
            store(path, make())
        return path

    def drop(self, stage: str) -> None:
        """Forget the pieces of a stage: what was made of them is kept."""
        if self.folder is not None:
            for file in self.folder.glob(f"{stage}-*.npy"):
                file.unlink(missing_ok=True)


def held(where: Held) -> Array:
    """The array itself.

    Example:
        >>> held(np.arange(2)).tolist()
        [0, 1]
    """
    return where if isinstance(where, np.ndarray) else read(where)


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Inside, torch and faiss use so many threads; 0 leaves them as they are."""
    if not threads:
        yield
        return
    import faiss
    import torch

    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        faiss.omp_set_num_threads(before[1])
