"""Settings that a study found, frozen: one file, every setting with its provenance, a hash, and a sketch of what its tuning saw."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

import clframe
from clframe import pieces
from clframe.checkpoint import disk_error
from clframe.errors import OptionError
from clframe.eval.protocol.access import Samples
from clframe.eval.protocol.cases import Case, Entry, Trial, tuning_seeds
from clframe.eval.protocol.setting import RUN_OPTIONS, applied
from clframe.eval.protocol.sketch import Sketch
from clframe.eval.protocol.study import Study
from clframe.experiment import run
from clframe.scenarios import Stream
from clframe.scenarios.kind import kind_of

FORMAT = 1


@dataclass(frozen=True)
class Setting:
    """What a protocol chose for one method on one scenario of a study, and how.

    Attributes:
        method: as written in the study.
        values: what was chosen, by option.
        strategy: the whole strategy in words, the values written in.
        options: of its runs: every option that changes what is learned, the values and the study's own.
        kind: of the stream that it was chosen for (see `clframe.scenarios.kind`).
        scenario: what the study calls it.
        tuning: the stream that was tuned on, in words.
        protocol, looks_at, deployable: the protocol, what its choice looked at, and whether it could be followed in deployment.
        metric, score: what the choice went by, and its mean over the tuning seeds, on validation samples.
        search, trials: how settings were drawn, and how many.
        tuning_seeds: seeds that every trial was gone through with.
        study: the path of its file, as it was given.
        clframe: the version.
        seen: a sketch of the samples that tuning trained and validated on.
    """

    method: str
    values: Mapping[str, Any]
    strategy: str
    options: Mapping[str, Any]
    kind: str
    scenario: str
    tuning: str
    protocol: str
    looks_at: str
    deployable: bool
    metric: str
    score: float
    search: str
    trials: int
    tuning_seeds: tuple[int, ...]
    study: str
    clframe: str
    seen: Sketch = field(repr=False, compare=False)

    def plain(self) -> dict[str, Any]:
        """It as JSON, with the name of the sketch in the place of the sketch."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**found, "tuning_seeds": list(self.tuning_seeds), "seen": self.seen.name}

    @property
    def hash(self) -> str:
        """A hash of all of it."""
        return _hash(self.plain())

    @property
    def told(self) -> dict[str, Any]:
        """The options of a run that say where its setting is from."""
        words = f"{self.protocol}: {self.looks_at} ({self.tuning}); setting {self.hash[:12]}"
        return {"tuning": words, "tuning_trials": self.trials * len(self.tuning_seeds)}


def freeze(study: Study, entries: Iterable[Entry], known: Samples | None = None) -> dict[str, Any]:
    """What the file says: one setting for each method, scenario and protocol where one was chosen for all seeds.

    Left out are a protocol that chooses nothing, methods that nothing was chosen for, and, where every seed chooses for itself,
    choices that differ. Hashing the samples of a tuning stream takes one pass over its data.

    Args:
        study: what was carried out.
        entries: what came of it; some of them, to freeze only these.
        known: samples that were hashed already.
    """
    known = known or Samples(study.options.get("data_dir"))
    sketches: dict[Any, Sketch] = {}
    kinds: dict[str, str] = {}
    found = []
    for entry in entries:
        case, trial = entry.case, _chosen(entry)
        if trial is None or case.tuning is None:
            continue
        seeds = tuning_seeds(study, case)
        seen = (case.tuning, seeds)
        if seen not in sketches:
            sketches[seen] = _sketch(case.tuning.scenario, seeds, study, known)
        scored = case.streams.evaluation
        if scored not in kinds:
            kinds[scored] = kind_of(_stream(study, scored, study.evaluation_seeds[0]))
        found.append(_setting(study, entry, trial, kinds[scored], sketches[seen]))
    return {
        "format": FORMAT,
        "settings": [{**setting.plain(), "hash": setting.hash} for setting in found],
        "sketches": {setting.seen.name: setting.seen.plain() for setting in found},
    }


def write(path: str | Path, study: Study, entries: Iterable[Entry], known: Samples | None = None) -> None:
    """Freeze into a file, atomically: it is the old one or the new one, never half of one.

    Args:
        path: the file.
        study, entries, known: as in `freeze`.
    """
    place = Path(path)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    content = json.dumps(freeze(study, entries, known), indent=1)
    try:
        temporary.write_text(content + "\n")
        os.replace(temporary, place)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise disk_error(place, error) from error


def read(path: str | Path) -> list[Setting]:
    """The settings of a file, each as it was frozen.

    Raises:
        OptionError: no such file, a damaged one, one of another format, or a setting that was changed after it was frozen.
    """
    try:
        content = json.loads(Path(path).read_text())
        form = content["format"] if isinstance(content, dict) else None
    except (OSError, ValueError, KeyError) as error:
        raise OptionError(
            f"settings must be 'tuned' or a file that a study froze; {str(path)!r} cannot be read as one "
            f"({type(error).__name__}). Give 'tuned', or the settings.json of a study's directory."
        ) from error
    if form != FORMAT:
        raise OptionError(f"a settings file must have format {FORMAT}; {str(path)!r} has {form!r}. Freeze it with this version.")
    return [_thawed(path, plain, content.get("sketches", {})) for plain in content.get("settings", [])]


def _thawed(path: str | Path, plain: Mapping[str, Any], sketches: Mapping[str, Any]) -> Setting:
    """One setting of a file, held against its hash and against the name of its sketch."""
    plain = plain if isinstance(plain, Mapping) else {}
    try:
        rest = {key: value for key, value in plain.items() if key != "hash"}
        seen = Sketch.read(sketches[rest["seen"]])
        setting = Setting(**{**rest, "tuning_seeds": tuple(rest["tuning_seeds"]), "seen": seen})
        whole = plain["hash"] == setting.hash
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise OptionError(
            f"a frozen setting must be as it was when it was frozen; that of {plain.get('method')!r} under "
            f"{plain.get('protocol')!r} in {str(path)!r} does not fit its hash. Freeze it anew by giving clframe protocol its "
            "study again, or give changed values as options of the run and say so with --tuning."
        )
    return setting


def _chosen(entry: Entry) -> Trial | None:
    """The trial that was chosen for all seeds alike; None where all settings are tied, so that nothing was chosen."""
    known = {trial.score for trial in entry.trials if trial.score is not None}
    if len(entry.trials) > 1 and len(known) < 2:
        return None
    trials = [entry.trials[i] for i in entry.chosen]
    return trials[0] if trials and all(trial.values == trials[0].values for trial in trials) else None


def _sketch(scenario: str, seeds: Iterable[int], study: Study, known: Samples) -> Sketch:
    return Sketch.of(np.concatenate([known.trained(_stream(study, scenario, seed)) for seed in seeds]))


def _stream(study: Study, scenario: str, seed: int) -> Stream:
    return pieces.stream(scenario, "finetune", seed, study.options.get("data_dir"))


def _setting(study: Study, entry: Entry, trial: Trial, kind: str, seen: Sketch) -> Setting:
    case: Case = entry.case
    words, chosen = applied(case.method, trial.values)
    defaults = {name: p.default for name, p in inspect.signature(run).parameters.items()}
    options = {name: study.options.get(name, defaults[name]) for name in RUN_OPTIONS} | chosen
    assert case.tuning is not None and entry.score is not None
    return Setting(
        method=case.method,
        values=dict(trial.values),
        strategy=words,
        options=options,
        kind=kind,
        scenario=case.streams.name,
        tuning=case.tuning.scenario,
        protocol=case.protocol.name,
        looks_at=case.protocol.looks_at,
        deployable=case.protocol.deployable,
        metric=study.metric,
        score=entry.score,
        search=study.search,
        trials=len(entry.trials),
        tuning_seeds=tuning_seeds(study, case),
        study=study.name,
        clframe=clframe.__version__,
        seen=seen,
    )


def _hash(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
