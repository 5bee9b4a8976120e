"""A run is a directory: what was asked, on what machine, what was measured, and where to go on from.

spec.json         every option with its value, what it resolved to, and the identity that both give
environment.json  versions and machine
checkpoint.pt     the state to go on from; at the end, the trained strategy
subset.parquet    which test samples the curve was measured on
records.parquet   the record table; terms.parquet: loss terms of every update; classes.parquet: per-class counts
heads.parquet     the record table of the heads measured beside the answer; head_classes.parquet: their per-class counts
representation.parquet  measures of the features, where they were asked for
certificates.parquet  what is promised of the weights and whether it is kept, of methods that promise something
capacity.parquet  what each task owns, shares and leaves free in each layer, of methods that give every task a subnet;
                  overlap.parquet: how the subnets of two tasks overlap
budget.json       what the run used
dashboards.json   how far each dashboard is that the run was sent to
metrics.json      every headline metric; written last, so its presence says that the run is finished
report.html       the report of this run alone
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clframe.checkpoint import disk_error
from clframe.checkpoint import load as load_checkpoint
from clframe.errors import RunError
from clframe.eval.budget import Budget
from clframe.eval.evaluator import tables
from clframe.eval.records import Records
from clframe.eval.result import Result, Results

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("records", "terms", "classes")
FURTHER = {
    "heads": "head_rows",
    "head_classes": "head_classes",
    "representation": "representation",
    "certificates": "certificates",
    "capacity": "capacity",
    "overlap": "overlap",
}
"""Tables that a run may lack, and what a `Result` calls them."""


def identity(spec: Mapping[str, Any]) -> str:
    """The hash that says whether two specs are the same run.

    >>> identity({"seed": 0, "lr": 0.1}) == identity({"lr": 0.1, "seed": 0})
    True
    """
    return hashlib.blake2b(json.dumps(spec, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


class RunDirectory:
    """The directory of one run.

    Args:
        path: the directory; made by `claim` if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoint(self) -> Path:
        """Where the state lies."""
        return self.path / "checkpoint.pt"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / "metrics.json").exists()

    def claim(self, spec: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Make the directory the home of this spec, or check that it is.

        Raises:
            RunError: it holds another spec, or files that are no run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(self.path, error) from error
        if not (self.path / "spec.json").exists():
            if any(p for p in self.path.iterdir() if not p.name.startswith(".") and p.name != "environment.json"):
                raise RunError(
                    f"{str(self.path)!r} must be empty or hold this run; it holds other files and no spec.json. "
                    "Choose another directory with --out."
                )
            self.write_json("environment.json", environment)
            self.write_json("spec.json", spec)
            return
        held = self.spec()
        if held["identity"] != spec["identity"]:
            raise RunError(
                f"{str(self.path)!r} must be empty or hold this run; it holds another one ({_difference(held, spec)}). "
                "Choose another directory with --out, or give the options of the run that is in it."
            )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process may run here.

        Raises:
            RunError: another process is at work in this directory.
        """
        try:
            import fcntl
        except ImportError:  # not a Unix system: no locks, as before
            yield
            return
        with open(self.path / ".lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise RunError(
                    f"{str(self.path)!r} must be run by one process at a time; another process is at work in it. "
                    "Wait until it is done, or stop it."
                ) from error
            yield

    def spec(self) -> dict[str, Any]:
        """What was asked."""
        return self.read_json("spec.json")

    def read_json(self, name: str) -> dict[str, Any]:
        """One of the JSON files.

        Raises:
            RunError: no such file, or a damaged one.
        """
        try:
            found: dict[str, Any] = json.loads((self.path / name).read_text())
        except FileNotFoundError as error:
            raise RunError(f"{str(self.path)!r} must be a run directory; it has no {name}. Give the --out of a run.") from error
        except (OSError, ValueError) as error:
            raise RunError(
                f"{str(self.path / name)!r} must be a complete JSON file; it cannot be read. Put a copy back, or delete the run."
            ) from error
        return found

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the JSON files, atomically."""
        self._write(name, lambda p: p.write_text(json.dumps(content, indent=1, default=str) + "\n"))

    def write_table(self, name: str, frame: pd.DataFrame) -> None:
        """Write one of the Parquet files, atomically."""
        self._write(f"{name}.parquet", lambda p: frame.to_parquet(p, index=False))

    def _write(self, name: str, write: Any) -> None:
        temporary = self.path / f".{name}.{os.getpid()}.tmp"
        try:
            write(temporary)
            os.replace(temporary, self.path / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise disk_error(self.path / name, error) from error

    def save(self, result: Result, subset: pd.DataFrame, report: bool = True) -> None:
        """Write everything that a finished run shows; metrics.json last."""
        self.write_table("subset", subset)
        for name, frame in zip(TABLES, (result.rows, result.terms, result.classes), strict=True):
            self.write_table(name, frame)
        for name, attribute in FURTHER.items():
            further = getattr(result, attribute)
            if further is not None and len(further):
                self.write_table(name, further)
        self.write_json("budget.json", result.budget.as_dict())
        if report:
            result.report(self.path / "report.html")
        heads = {name: _plain(head.metrics) for name, head in result.heads.items()}
        self.write_json("metrics.json", {"finished": True, **_plain(result.metrics), **({"heads": heads} if heads else {})})

    def load(self) -> Result:
        """The run as an object; an unfinished one as far as its checkpoint goes.

        Raises:
            RunError: no run here, or a damaged file.
        """
        spec = self.spec()
        options = spec["options"]
        if self.finished:
            rows, terms, classes = (self._table(name) for name in TABLES)
            further: dict[str, Any] = {
                a: self._table(name) for name, a in FURTHER.items() if (self.path / f"{name}.parquet").exists()
            }
            budget = Budget(**self.read_json("budget.json"))
        else:
            records, further = Records(options["strategy"], options["seed"]), {}
            if self.checkpoint.exists():
                state = load_checkpoint(self.checkpoint, spec["identity"])
                records.load_state_dict(state["records"])
                heads = {"head_rows": records.head_rows(), "head_classes": records.head_classes()}
                further = {**heads, **tables(state["evaluator"])}
            rows, terms, classes = records.rows(), records.terms(), records.classes()
            budget = Budget()
            if not len(rows):
                raise RunError(
                    f"{str(self.path)!r} must hold measurements to report; this run was stopped before its first checkpoint. "
                    f"Continue it with: clframe resume {self.path}"
                )
        return Result(
            strategy=options["strategy"],
            scenario=scenario_name(spec),
            seed=options["seed"],
            spec=spec,
            rows=rows,
            terms=terms,
            classes=classes,
            budget=budget,
            environment=self.read_json("environment.json"),
            finished=self.finished,
            path=self.path,
            **further,
        )

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        path = self.path / f"{name}.parquet"
        try:
            return pd.read_parquet(path)
        except Exception as error:
            raise RunError(
                f"{str(path)!r} must be a complete Parquet file; it cannot be read ({type(error).__name__}). "
                f"Delete {self.path / 'metrics.json'} and write the tables anew with: clframe resume {self.path}"
            ) from error


def scenario_name(spec: Mapping[str, Any]) -> str:
    """What tables call the scenario: as it was written, or for a YAML file the name that it gives itself."""
    words = str(spec["options"]["scenario"])
    return str(spec["resolved"]["name"]) if words.endswith((".yaml", ".yml")) else words


def find(paths: Iterable[Path]) -> list[RunDirectory]:
    """Every run directory at or below the paths, in the order of their names.

    Raises:
        RunError: a path without any run.
    """
    found: list[RunDirectory] = []
    for path in paths:
        here = sorted((p.parent for p in path.rglob("spec.json")), key=_order(path)) if path.is_dir() else []
        if not here:
            raise RunError(
                f"{str(path)!r} must be a run directory or hold some; it has no spec.json in it. Give the --out of a run."
            )
        found.extend(RunDirectory(p) for p in here)
    return found


def _order(path: Path) -> Callable[[Path], tuple[int, str]]:
    """Runs in the order in which they were asked for, where that is written down (planned.json), then by name."""
    asked = list(RunDirectory(path).read_json("planned.json")) if (path / "planned.json").exists() else []
    place = {path / name: i for i, name in enumerate(asked)}
    return lambda run: (place.get(run, len(place)), str(run))


def load(*paths: str | Path) -> Results:
    """Runs from their directories, or from directories that hold some: `clframe.load("runs")`.

    A run that lies there twice counts once. Runs stopped before their first measurement was saved are left out, unless there is
    nothing else.
    """
    directories = {directory.spec()["identity"]: directory for directory in reversed(find([Path(p) for p in paths]))}
    begun = [d for d in directories.values() if d.finished or d.checkpoint.exists()]
    return Results([directory.load() for directory in reversed(begun or list(directories.values()))])


def _plain(metrics: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(metrics)


def _difference(held: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    old, new = held["options"], asked["options"]
    differing = [k for k in {**new, **old} if old.get(k) != new.get(k)]
    if not differing:
        return "the same options, but other data or another version of a method"
    return ", ".join(f"{k}={old.get(k)!r}, not {new.get(k)!r}" for k in differing[:3])
