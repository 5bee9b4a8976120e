"""The folder of an unfinished job: whose it is, and arrays in files, each of them whole or not there."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from clframe.checkpoint import disk_error
from clframe.errors import RunError

JOB = "job.json"
FORMAT = 1


def opened(folder: str | Path, key: str) -> Path:
    """A folder for the job with this key: a new or an empty one, or what an earlier run of the same job left.

    Raises:
        RunError: it belongs to another job, holds other files, or cannot be written.

    Example:
        >>> from tempfile import mkdtemp
        >>> place = Path(mkdtemp()) / "work"
        >>> opened(place, "a") == opened(place, "a") == place.resolve()
        True
        >>> discard(place), place.exists()
        (None, False)
    """
    place = Path(folder).resolve()
    if not looked_at(place, key):
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unfit(place, error) from error
        words = json.dumps({"format": FORMAT, "key": key}) + "\n"
        whole(place / JOB, lambda file: file.write(words.encode()))
    return place


def looked_at(folder: str | Path, key: str) -> bool:
    """Whether the folder is of this job; false where nothing is finished yet.

    Raises:
        RunError: it belongs to another job, or holds other files.
    """
    place = Path(folder).resolve()
    job = place / JOB
    try:
        if not job.exists() or not any(file.name != JOB and file.suffix != ".tmp" for file in place.iterdir()):
            if not job.exists() and place.exists() and any(file.suffix != ".tmp" for file in place.iterdir()):
                raise RunError(f"{place} must be a new or an empty folder; got one with other files. Give another work folder.")
            return False
        found = json.loads(job.read_text())
    except (OSError, ValueError) as error:
        raise _unfit(place, error) from error
    if found.get("format") != FORMAT or found.get("key") != key:
        raise RunError(
            f"{place} must be of this job, {key}; it holds unfinished work of another one, {found.get('key')}: another pool, other "
            "options of the cells, or another seed. Give another work folder, or delete it."
        )
    return True


def _unfit(place: Path, error: Exception) -> RunError:
    return RunError(f"{place} must be a folder that can be read and written; got {error}. Give another work folder.")


def discard(folder: Path) -> None:
    """Remove the files of a job, and the folder if nothing else is in it."""
    if not (folder / JOB).exists():
        return
    with suppress(OSError):
        for file in sorted(folder.iterdir(), key=lambda file: file.name == JOB):  # the last one says whose folder it is
            if file.suffix in (".npy", ".tmp") or file.name == JOB:
                file.unlink(missing_ok=True)
        folder.rmdir()


def store(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array, whole or not at all.

    Raises:
        RunError: no space, or no permission.
    """
    whole(path, lambda file: np.save(file, array))


def whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place, flush it to the disk, and rename it."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from error


def read(path: Path) -> npt.NDArray[Any]:
    """An array that was stored.

    Raises:
        RunError: it cannot be read.
    """
    try:
        found: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} must be a whole file; got {error}. Delete its folder to begin this job anew.") from error
    return found
