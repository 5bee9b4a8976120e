"""The trials of a sequential search in Optuna's own storage, for its dashboard and its plots."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from clframe.checkpoint import disk_error
from clframe.eval.protocol.cases import Entry
from clframe.eval.protocol.study import Study
from clframe.eval.protocol.tpe import remembered


def write(path: str | Path, study: Study, entries: Sequence[Entry]) -> None:
    """Write an SQLite file with one Optuna study for every method under every protocol on every scenario, atomically.

    It is written for other tools: clframe itself reads the runs, which know more. `optuna-dashboard sqlite:///PATH` shows it.

    Raises:
        RunError: the file cannot be written.
    """
    import optuna

    place = Path(path)
    made = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            storage = optuna.storages.RDBStorage(f"sqlite:///{made}")
            for entry in entries:
                space = study.methods[entry.case.method]
                if entry.case.tuning is None or not space or not entry.trials:
                    continue
                told = remembered(dict(space), [(dict(t.values), t.score) for t in entry.trials], study.maximise)
                name = f"{entry.case.method} | {entry.case.protocol.name} | {entry.case.streams.name}"
                optuna.create_study(storage=storage, study_name=name, direction=told.direction).add_trials(told.trials)
            storage.remove_session()
            storage.engine.dispose()
        os.replace(made, place)
    except OSError as error:
        raise disk_error(place, error) from error
    finally:
        made.unlink(missing_ok=True)
