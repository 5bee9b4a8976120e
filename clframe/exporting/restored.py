"""From the directory of a finished run to its trained strategy and its stream."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clframe import checkpoint, pieces
from clframe.errors import ClframeError, RunError
from clframe.experiment import built, with_defaults
from clframe.rundir import RunDirectory, find
from clframe.scenarios import Stream
from clframe.types import Strategy


@dataclass(frozen=True)
class Restored:
    """A finished run, as it was when it ended, on the CPU.

    Attributes:
        strategy: as it was trained.
        stream: what it was trained and tested on.
        spec: what was asked.
        path: the run's directory.
    """

    strategy: Strategy
    stream: Stream
    spec: dict[str, Any]
    path: Path

    @property
    def name(self) -> str:
        """The strategy as it was written."""
        return str(self.spec["options"]["strategy"])


def restored(path: str | Path, data_dir: str | None = None) -> Restored:
    """The trained strategy of a finished run, and its stream: both are built again from the spec, then the checkpoint is read.

    Args:
        path: the directory of the run, or one with exactly one run below it.
        data_dir: folder of data sets; by default the one of the run.

    Raises:
        RunError: no run, several, one that is not finished or that was not written in words, or other data than it was trained on.

    Example:
        >>> import tempfile, clframe
        >>> out = tempfile.mkdtemp() + "/run"
        >>> _ = clframe.run("split-digits(experiences=2)", "finetune", evaluate="boundaries", report=False, out=out)
        >>> len(restored(out).stream)
        2
    """
    directory = _one(Path(path))
    spec = directory.spec()
    if not directory.finished:
        raise RunError(
            f"{str(directory.path)!r} must be a finished run; it was stopped before its end. "
            f"Finish it with: clframe resume {directory.path}"
        )
    if not spec["from_words"]:
        raise RunError(
            f"{str(directory.path)!r} must have been written in words to be built again; it was started from Python with objects. "
            "Give scenario, strategy and model as words, as in model='mine.py:Net'."
        )
    options = with_defaults({**spec["options"], "data_dir": data_dir or spec["data_dir"]})
    with pieces.isolated_run(options["seed"], options["threads"]):
        try:
            stream, _, strategy, _, _ = built(options, torch.device("cpu"))
        except ClframeError as error:
            raise type(error)(f"{directory.path}: the run cannot be built again: {error}") from error
    if stream.fingerprint() != spec["resolved"]["stream"]:
        raise RunError(
            f"{str(directory.path)!r} must be given the data that it was trained on; the samples that are found now are others. "
            "Give their folder with --data-dir."
        )
    state = checkpoint.load(directory.checkpoint, spec["identity"])["strategy"]
    with pieces.isolated_run(options["seed"], options["threads"]):
        strategy.begin(stream.experiences[-1].train)  # binds it to the data that it may fetch; then its state is put back over that
        strategy.load_state_dict(state)
    return Restored(strategy, stream, spec, directory.path)


def _one(path: Path) -> RunDirectory:
    """The run at the path, or the only one below it."""
    found = find([path])
    if len(found) > 1:
        shown = ", ".join(str(run.path) for run in found[:3]) + (", ..." if len(found) > 3 else "")
        raise RunError(f"{str(path)!r} must be one run; it holds {len(found)}: {shown}. Give the directory of one of them.")
    return found[0]
