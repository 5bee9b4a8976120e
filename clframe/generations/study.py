"""A study of generations: generators x policies x seeds over one set of real data, as one YAML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, final

import numpy as np
import yaml

from clframe import registry
from clframe.errors import ClframeError, OptionError, bad_option, unknown_name
from clframe.executors import Progress, executor
from clframe.generations.generators import generator
from clframe.generations.generators.interface import rows_of
from clframe.generations.loop import Generation, Run
from clframe.generations.policies import policy
from clframe.generations.policies.interface import first_size
from clframe.generations.sources import source

KEYS = {
    "data": "real data: a data set, a text file, normal(d=1), linear-model(d=10), moons",
    "rows": "real rows to train on, drawn by the seed; all, or the usual number, by default",
    "heldout": "real rows to measure on; at most 1,000 by default",
    "samples": "rows that each model makes; as many as there are real ones by default",
    "generators": "models in words, such as vae(epochs=10)",
    "policies": "what the next model trains on, in words",
    "generations": "models, one after another; 5 by default",
    "seeds": "a number of seeds, or a list of them; 3 by default",
}


@final
@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        data: the real data, in words.
        generators, policies: in words.
        generations: models in a row.
        seeds: of the runs.
        rows, heldout, samples: see `Run`.
        data_dir: folder of data sets.
    """

    data: str
    generators: tuple[str, ...]
    policies: tuple[str, ...]
    generations: int = 5
    seeds: tuple[int, ...] = (0, 1, 2)
    rows: int = 0
    heldout: int = 0
    samples: int = 0
    data_dir: str | None = None

    def runs(self, out: str | Path) -> list[Run]:
        """Every run, in a directory named by a hash of what it is."""
        made = []
        for words in self.generators:
            for chosen in self.policies:
                for seed in self.seeds:
                    size = {"rows": self.rows, "heldout": self.heldout, "samples": self.samples, "data_dir": self.data_dir}
                    key = Run(self.data, words, chosen, self.generations, seed, **size).key  # type: ignore[arg-type]
                    place = str(Path(out) / "runs" / key)
                    made.append(Run(self.data, words, chosen, self.generations, seed, **size, out=place))  # type: ignore[arg-type]
        return made


@final
@dataclass(frozen=True)
class Estimate:
    """What a study will do, before it is begun.

    Attributes:
        trainings: models to be fitted.
        rows: rows that they train on, all together.
        largest: rows of the largest training set.
        megabytes: what that takes in memory.
    """

    trainings: int
    rows: int
    largest: int
    megabytes: float

    def words(self) -> str:
        """One sentence.

        Example:
            >>> Estimate(30, 45000, 5000, 12.5).words()
            '30 trainings on 45,000 rows in all; the largest training set has 5,000 rows, 12.5 MB'
        """
        return (
            f"{self.trainings:,} trainings on {self.rows:,} rows in all; "
            f"the largest training set has {self.largest:,} rows, {self.megabytes:,.1f} MB"
        )


def read(path: str | Path, data_dir: str | None = None) -> Study:
    """A study from its YAML file.

    Raises:
        OptionError: a key, a name or a value that is wrong: with the file, the key and the remedy.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        _refuse_twice(yaml.compose(text, yaml.SafeLoader))
        written = yaml.safe_load(text)
    except FileNotFoundError as error:
        raise OptionError(f"a study must be a YAML file that exists; got {str(path)!r}. Correct the path.") from error
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise OptionError(f"a study must be a readable YAML file; got {str(path)!r}: {why}. Correct the file.") from error
    try:
        return parse_study(written, data_dir)
    except ClframeError as error:
        raise type(error)(f"{path}: {error}") from error


def parse_study(written: object, data_dir: str | None = None) -> Study:
    """A study from what its YAML file says; every generator and policy is tried out.

    Example:
        >>> parse_study({"data": "normal(d=1)", "generators": "gaussian", "policies": ["accumulate"], "seeds": 2}).seeds
        (0, 1)
    """
    if not isinstance(written, Mapping):
        raise bad_option("a study", f"a mapping with the keys {', '.join(KEYS)}", written, "Begin with 'data:'.")
    for key in written:
        if key not in KEYS:
            raise unknown_name("a key of a study", str(key), KEYS)
    found = Study(
        data=_word("data", written.get("data")),
        generators=_words("generators", written.get("generators"), generator),
        policies=_words("policies", written.get("policies"), policy),
        generations=_count("generations", written.get("generations", 5), 1),
        seeds=_seeds(written.get("seeds", 3)),
        **{key: _count(key, written.get(key, 0), 0) for key in ("rows", "heldout", "samples")},
        data_dir=data_dir,
    )
    source(found.data)
    return found


def estimate(study: Study) -> Estimate:
    """How many rows will be trained on: the policies are asked, with shards of the sizes that there will be.

    Raises:
        ClframeError: the data is not there, or a policy refuses.

    Example:
        >>> asked = {"data": "normal(d=1)", "rows": 50, "generators": "gaussian", "policies": ["accumulate"], "seeds": 1}
        >>> estimate(parse_study(asked))
        Estimate(trainings=5, rows=750, largest=250, megabytes=0.002)
    """
    real = source(study.data)(study.rows, study.heldout, study.seeds[0], study.data_dir)
    rows = rows_of(real.train)
    each = sum(np.asarray(v).nbytes for v in real.train.values()) / rows
    sizes = [size for words in study.policies for size in _sizes(words, rows, study.samples or rows, study.generations)]
    runs = len(study.generators) * len(study.seeds)
    return Estimate(runs * len(sizes), runs * sum(sizes), max(sizes), max(sizes) * each / 1e6)


def _sizes(words: str, rows: int, samples: int, generations: int) -> list[int]:
    """Rows that each generation trains on."""
    choose, found = policy(words), []
    shards: list[Any] = [SimpleNamespace(id="0", kind="real", generation=0, rows=rows)]
    for number in range(1, generations + 1):
        if choose.needs_scores:
            found.append(min(first_size(shards, getattr(choose, "size", 0)), sum(s.rows for s in shards)))
        else:
            found.append(len(choose(shards, 0)))
        shards.append(SimpleNamespace(id=str(number), kind="synthetic", generation=number, rows=samples))
    return found


def conduct(
    study: Study,
    out: str | Path,
    *,
    jobs: int = 1,
    where: str = "auto",
    progress: Progress | None = None,
) -> list[tuple[Run, list[Generation]]]:
    """Do every run that is not done yet, below OUT/runs; what was measured of each.

    Args:
        study: what to do.
        out: the directory.
        jobs: runs at the same time.
        where: what does them, see `clframe.executors.executor`.
        progress: called with (run, generations done, generations in all).

    Raises:
        ClframeError: of the first run that failed; the others are done all the same.
        Interrupted: Ctrl-C; whole generations are kept.
    """
    runs = study.runs(out)
    with executor(where, jobs) as carry_out:
        ends = carry_out(runs, progress)
    for run, end in zip(runs, ends, strict=True):
        if isinstance(end, ClframeError):
            raise type(end)(f"{run.name}: {end}") from end
    return [(run, end) for run, end in zip(runs, ends, strict=True) if not isinstance(end, ClframeError)]


def _refuse_twice(node: yaml.Node | None) -> None:
    """Refuse a key that is there twice, which YAML takes for the last one."""
    keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    twice = next((key for i, key in enumerate(keys) if key in keys[:i]), None)
    if twice is not None:
        raise yaml.YAMLError(f"the key {twice!r} is there twice")


def _word(key: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise bad_option(key, KEYS[key], value, f"Write {key}: digits.")
    return value


def _words(key: str, written: object, make: Callable[[str], object]) -> tuple[str, ...]:
    given: Sequence[object] = [written] if isinstance(written, str) else written if isinstance(written, list) else []
    words = registry.split(",".join(map(str, given)), ",")  # YAML cuts [vae(epochs=1, hidden=8)] at its commas
    if not words or not all(isinstance(word, str) for word in given):
        raise bad_option(key, f"a list: {KEYS[key]}", written, "Write [accumulate]." if key == "policies" else "Write [gaussian].")
    if len(set(words)) < len(words):
        raise bad_option(key, "different from each other", written, "Leave out what is there twice.")
    for word in words:
        make(word)
    return tuple(words)


def _count(key: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise bad_option(key, f"a whole number from {least}: {KEYS[key]}", value, f"Write {key}: {max(least, 5)}.")
    return value


def _seeds(written: object) -> tuple[int, ...]:
    seeds = list(range(written)) if isinstance(written, int) and not isinstance(written, bool) else written
    good = isinstance(seeds, list) and seeds and all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in seeds)
    if not good or not isinstance(seeds, list) or len(set(seeds)) < len(seeds):
        raise bad_option("seeds", KEYS["seeds"], written, "Write seeds: 3.")
    return tuple(seeds)
