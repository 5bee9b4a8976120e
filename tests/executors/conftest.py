"""The executors, each kept for all tests of a module."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clframe.executors import Executor, executor


@pytest.fixture(scope="session")
def ray_home() -> Iterator[Path]:
    """A folder of Ray's own, so that no cluster that runs here already is taken; its path is short, as sockets need."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'clframe[ray]'")
    home = Path(tempfile.mkdtemp(prefix="ray-"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(home))
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(Path.cwd()), os.environ.get("PYTHONPATH")])))
        yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def ray_here(ray_home: Path) -> Iterator[Executor]:
    """A cluster on this machine."""
    with executor("ray") as pool:
        yield pool


@pytest.fixture(scope="module", params=["in-process", "processes", pytest.param("ray", marks=pytest.mark.slow)])
def pool(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """Every executor."""
    if request.param == "ray":
        yield request.getfixturevalue("ray_here")
        return
    with executor(request.param, 2) as made:
        yield made


@pytest.fixture(params=["processes", pytest.param("ray", marks=pytest.mark.slow)])
def fresh(request: pytest.FixtureRequest) -> Iterator[Executor]:
    """An executor that the test may spoil; one of Ray shares the cluster."""
    if request.param == "ray":
        request.getfixturevalue("ray_here")([])
    with executor(request.param, 2) as made:
        yield made
