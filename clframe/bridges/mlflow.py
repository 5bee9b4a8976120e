"""MLflow: a run in a tracking store."""

from __future__ import annotations

import logging
import os
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from clframe.bridges.extra import bring
from clframe.errors import RunError
from clframe.eval.boards import About

STORE = "sqlite:///mlflow.db"
BATCH = 1000
"""The most metrics that MLflow takes at a time; 100 options and 6,000 characters are further limits of it."""
IDENTITY, POSITION = "clframe.identity", "clframe.position"


@final
class MLflow:
    """A run in an MLflow store: metrics over updates, options as parameters, one experiment a scenario.

    A run is found again by its identity: what is resumed, or sent twice, is one run there.

    Args:
        run: the run.
        uri: the tracking store; by default MLFLOW_TRACKING_URI, or `sqlite:///mlflow.db`, as MLflow has it. A folder of files
            (`file:mlruns`) works, too, though MLflow no longer develops it.
        experiment: its name; by default the scenario.

    Raises:
        MissingExtraError: MLflow is not installed, or is older than 3.0.
        RunError: the store cannot be opened or written.

    Example:
        >>> import tempfile, clframe
        >>> store = f"sqlite:///{tempfile.mkdtemp()}/mlflow.db"
        >>> result = clframe.run("split-digits", "er", evaluate="boundaries")
        >>> result.log(f"mlflow(uri={store})")  # doctest: +SKIP
    """

    def __init__(self, run: About, uri: str | None = None, experiment: str | None = None) -> None:
        what = "dashboard 'mlflow'"
        tracking = bring("mlflow.tracking", what, "log", package="mlflow-skinny", at_least="3.0")
        self._entities = bring("mlflow.entities", what, "log", package="mlflow-skinny")
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or STORE
        if self.uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # asked for by name: what MLflow wants to hear
        self._metrics: list[Any] = []
        self._of = run
        with _reported(self.uri), _first_alone(self.uri):
            self._client = tracking.MlflowClient(tracking_uri=self.uri)
            found = self._client.get_experiment_by_name(experiment or run.scenario)
            number = found.experiment_id if found is not None else self._client.create_experiment(experiment or run.scenario)
            known = self._client.search_runs([number], f"tags.`{IDENTITY}` = '{run.identity}'", max_results=1)
            self.run_id: str = known[0].info.run_id if known else self._made(number)
            self.position = int(known[0].data.tags.get(POSITION, -1)) if known else -1
        self._status = ""

    def _made(self, experiment: str) -> str:
        run, params = self._of, self._entities.Param
        tags = {IDENTITY: run.identity, "strategy": run.strategy, "scenario": run.scenario, "seed": str(run.seed)}
        made: str = self._client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
        self._client.log_batch(made, params=[params(k, v[:6000]) for k, v in list(run.options.items())[:100]])
        return made

    def log(self, n: int, values: Mapping[str, float]) -> None:
        """Metrics at step `n`; characters that MLflow forbids become `_`."""
        now = time.time_ns() // 1_000_000
        self._metrics += [self._entities.Metric(_allowed(name), value, now, n) for name, value in values.items()]

    def flush(self) -> None:
        """Write to the store what was logged, and after it up to which update that is."""
        metrics, self._metrics = self._metrics, []
        if not metrics:
            return
        with _reported(self.uri):
            if self._status != "RUNNING":
                self._client.update_run(self.run_id, status="RUNNING")
                self._status = "RUNNING"
            for start in range(0, len(metrics), BATCH):
                self._client.log_batch(self.run_id, metrics=metrics[start : start + BATCH])
            self._client.set_tag(self.run_id, POSITION, str(self.position))

    def close(self, summary: Mapping[str, float] | None) -> None:
        """Write the rest; a finished run is FINISHED, one that stopped KILLED until it goes on."""
        if summary is not None:
            self.log(max(self.position, 0), summary)
        self.flush()
        if self._status == "RUNNING":
            with _reported(self.uri):
                self._client.set_terminated(self.run_id, "KILLED" if summary is None else "FINISHED")


def _allowed(name: str) -> str:
    return re.sub(r"[^\w.\-/ ]", "_", name, flags=re.ASCII)


@contextmanager
def _reported(uri: str) -> Iterator[None]:
    """Errors of the store as one sentence; warnings and messages of MLflow about itself are not shown."""
    log, old = logging.getLogger("mlflow"), logging.getLogger("mlflow").level
    log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # whatever the store raises: SQLAlchemy's, the network's, its own
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"MLflow store {uri!r} must be one that can be written; {line.rstrip('.')}. Give mlflow(uri=...)."
        ) from error
    finally:
        log.setLevel(old)


@contextmanager
def _first_alone(uri: str) -> Iterator[None]:
    """Of several processes, one after the other creates the tables of an SQLite file."""
    path = uri.removeprefix("sqlite:///")
    if path == uri or not path:
        yield
        return
    try:
        import fcntl
    except ImportError:  # not a Unix system: no locks
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
