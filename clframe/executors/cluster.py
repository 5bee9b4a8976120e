"""A Ray cluster: reach it or start one, and see whether its machines are fit for the tasks."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clframe.checkpoint import disk_error
from clframe.errors import MissingExtraError, RunError, bad_option
from clframe.executors.far_side import Home
from clframe.executors.task import Task

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # would copy the working directory to every machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # older versions of Ray hide the GPUs from tasks that reserve none
}
REACH_SECONDS = 5.0
"""For a cluster's machine to take a connection."""
CONNECTIONS = 3
"""Now and then a cluster fails to start the process that is to serve a client (ray-project/ray#63202); then it is asked again."""
ANSWER_SECONDS = 60.0
"""For every machine to start a process that says what is there."""
SEEN_SECONDS = 5.0
"""A shared filesystem may show a new file on other machines only after a moment."""


def library() -> Any:
    """The package ray, without its reports home.

    Raises:
        MissingExtraError: it is not installed.
    """
    if find_spec("ray") is None:
        raise MissingExtraError("executor 'ray' needs Ray, which is not installed. Run: pip install 'clframe[ray]'")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    return import_module("ray")


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of ray://HOST:PORT.

    Raises:
        OptionError: an address of another form.

    Example:
        >>> host_and_port("ray://10.0.0.1:10001")
        ('10.0.0.1', 10001)
    """
    parts = urlsplit(address)
    with suppress(ValueError):
        if parts.scheme == "ray" and parts.hostname and parts.port:
            return parts.hostname, parts.port
    raise bad_option("executor", "ray://HOST:PORT for a Ray cluster", address, "The port is 10001 unless the cluster says another.")


def connect(address: str | None) -> bool:
    """Connect to the cluster; without an address to the one of this machine, or to one that is started. False if connected already.

    Raises:
        RunError: it cannot be reached, or started.
    """
    ray = library()
    if ray.is_initialized():
        return False
    words: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    named = address or os.environ.get("RAY_ADDRESS") or None
    with _own_signals(), _refusing(named):
        if address is not None:
            _reach(address)
            for left in reversed(range(CONNECTIONS)):
                try:
                    ray.init(address, **words)
                    break
                except ConnectionAbortedError:
                    ray.shutdown()
                    if not left:
                        raise
            return True
        words["include_dashboard"] = False
        try:
            ray.init(**words)
        except ConnectionError:
            if named is not None:
                raise
            ray.init("local", **words)  # what Ray found were the traces of a cluster that is gone
    return True


def look_around(look: Any, home: Home, tasks: Sequence[Task[Any]], known: set[str]) -> int:
    """Refuse a machine that would compute other numbers, or write to another place; returns the processors of the largest one.

    Args:
        look: what is asked, as `sent` makes it.
        home: see there.
        tasks: what they say in an attribute `out` is where they write.
        known: machines whose versions are known to be right; the others are added.

    Raises:
        RunError: a machine has another clframe or torch, does not see where the tasks write, or does not answer.
    """
    ray = library()
    affinity = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    names = {node["NodeID"]: node["NodeManagerHostname"] for node in nodes}
    asking = ray.remote(num_cpus=0, runtime_env=surroundings())(look)
    here = look(home, [], 0.0)
    with _tokens(tasks) as tokens:
        asked = {
            node: asking.options(scheduling_strategy=affinity(node, soft=False)).remote(home, tokens, SEEN_SECONDS)
            for node in names
            if tokens or node not in known
        }
        for node, ref in asked.items():
            try:
                there = ray.get(ref, timeout=ANSWER_SECONDS)
            except ray.exceptions.RayError as error:
                raise RunError(
                    f"{names[node]!r} must start a process of the cluster within {ANSWER_SECONDS:g} s; "
                    f"it did not ({type(error).__name__}). See to that machine, or take it out of the cluster."
                ) from error
            _judge(names[node], here, there)
    known |= set(asked)
    return max((int(node["Resources"]["CPU"]) for node in nodes), default=0)


def surroundings() -> dict[str, Any]:
    """The environment of the processes on the machines, as Ray takes it."""
    data = os.environ.get("CLFRAME_DATA")
    return {"env_vars": {**QUIET, **({"CLFRAME_DATA": os.path.abspath(data)} if data else {})}}


@contextmanager
def _tokens(tasks: Sequence[Task[Any]]) -> Iterator[list[str]]:
    """Small files where the tasks will write, or where the directories for it will be made."""
    outs = {Path(out).absolute().parent for task in tasks if (out := getattr(task, "out", None)) is not None}
    places = {next(p for p in (out, *out.parents) if p.exists()) for out in outs}
    tokens = [place / f".clframe-{uuid.uuid4().hex}" for place in sorted(places)]
    try:
        for token in tokens:
            try:
                token.touch()
            except OSError as error:
                raise disk_error(token, error) from error
        yield [str(token) for token in tokens]
    finally:
        for token in tokens:
            token.unlink(missing_ok=True)


def _judge(machine: str, here: Mapping[str, str | None], there: Mapping[str, str | None]) -> None:
    for package in ("clframe", "torch"):
        version = here[package]
        if there[package] != version:
            raise RunError(
                f"{machine!r} must have {package} {version}, as here, or its numbers would be others; "
                f"it has {there[package] or 'none'}. Install {package}=={version} there."
            )
    unseen = there["unseen"]
    if unseen is not None:
        raise RunError(
            f"{str(Path(unseen).parent)!r} must be seen by every machine of the cluster; {machine!r} does not see what is written "
            "there. Give an --out on a filesystem that they share."
        )


def _reach(address: str) -> None:
    """Ray itself would try for long."""
    try:
        socket.create_connection(host_and_port(address), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> RunError:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".:")
    return RunError(
        f"{address or 'ray'!r} must be a Ray cluster that answers; {first}. "
        "Start it with ray start --head, or leave the executor out to use this machine."
    )


@contextmanager
def _refusing(address: str | None) -> Iterator[None]:
    """Whatever Ray says when it cannot connect or start, in one sentence; it is left as if nobody had asked."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    except (OSError, RuntimeError, ValueError, TimeoutError) as error:
        library().shutdown()
        raise _unreachable(address, error) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts; here it keeps its meaning."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
