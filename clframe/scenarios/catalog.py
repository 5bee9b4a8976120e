"""Scenarios by name: a kind with its options, or PREFIX-DATA for a kind over a named data set."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clframe import data as datasets
from clframe.data import Dataset, of_classes
from clframe.errors import OptionError, bad_option, unknown_name
from clframe.registry import Registry, call, parse
from clframe.scenarios.explicit import check_tasks
from clframe.scenarios.from_yaml import is_yaml, load_data, read
from clframe.scenarios.stream import Stream
from clframe.types import Reveals

KINDS = Registry(
    "scenario",
    {
        "blurry": "clframe.scenarios.blurry:blurry",
        "class-incremental": "clframe.scenarios.class_incremental:class_incremental",
        "colour": "clframe.scenarios.domain_incremental:colour",
        "curated": "clframe.curation:curated",
        "data-incremental": "clframe.scenarios.data_incremental:data_incremental",
        "domains": "clframe.scenarios.domain_incremental:domains",
        "explicit": "clframe.scenarios.explicit:explicit",
        "gaussian": "clframe.scenarios.gaussian:gaussian",
        "long-tailed": "clframe.scenarios.long_tailed:long_tailed",
        "permuted": "clframe.scenarios.domain_incremental:permuted",
        "recurring": "clframe.scenarios.recurring:recurring",
        "rotated": "clframe.scenarios.domain_incremental:rotated",
        "self-consuming": "clframe.self_consuming:self_consuming",
        "table": "clframe.scenarios.from_table:from_table",
        "task-incremental": "clframe.scenarios.class_incremental:task_incremental",
    },
    group="clframe.scenarios",
)

PREFIXES = {
    "split": "class-incremental",
    "task-split": "task-incremental",
    "permuted": "permuted",
    "rotated": "rotated",
    "colour": "colour",
    "iid": "data-incremental",
    "recurring": "recurring",
    "blurry": "blurry",
    "gaussian": "gaussian",
    "longtail": "long-tailed",
}
BY_CLASS = ("class-incremental", "task-incremental", "blurry", "gaussian", "long-tailed")


def names(data_dir: str | Path | None = None) -> list[str]:
    """Every name that `build` knows: the kinds, and each prefix with each named data set. "online-" may go before any of them.

    Example:
        >>> "split-digits" in names(), "class-incremental" in names()
        (True, True)
    """
    return sorted({*KINDS.names(), *(f"{prefix}-{name}" for prefix in PREFIXES for name in datasets.names(data_dir))})


def build(
    spec: str | Mapping[str, Any],
    *,
    options: Mapping[str, object] | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Stream:
    """A stream by name.

    Args:
        spec: one of `names()`, PREFIX-PATH, or your own "path/to/file.py:function", also with "online-" before it or options in
            brackets after it; the path of a YAML file; or what such a file says (see `clframe.scenarios.from_yaml`). A slice
            after any of these, as in "split-digits[:3]", takes some of the experiences.
        options: options of the kind by name; they win over those of `spec`. Every kind also takes `classes` (some of the data
            set's, numbered anew: [0, 2, 4], or "0-4"), `online` (each sample once),
            `reveals` (a mapping of task_train, task_test, boundaries, classes), `name` and `seed`.
        seed: root seed of the stream, unless an option `seed` fixes it.
        data_dir: the data folder, passed on to `clframe.data.load`.

    Raises:
        OptionError: an unknown name or option, with the nearest ones, or a value out of its range.
        DataError: data that is not there or breaks a rule.

    Example:
        >>> build("split-digits(experiences=2)").name
        'split-digits'
        >>> len(build("online-permuted-digits", options={"experiences": 3}))
        3
    """
    if isinstance(spec, Mapping):
        merged = {**spec, **(options or {})}
        name = merged.pop("scenario", "explicit" if isinstance(merged.get("experiences"), list | tuple) else None)
    elif (cut := re.fullmatch(r"(.*)\[(\d*):(\d*)\]", spec.strip(), re.DOTALL)) is not None:
        whole = build(cut[1], options=options, seed=seed, data_dir=data_dir)
        return whole[int(cut[2] or 0) : int(cut[3]) if cut[3] else None]
    elif is_yaml(spec):
        return build({"name": Path(spec).stem, **read(spec)}, options=options, seed=seed, data_dir=data_dir)
    else:
        name, written = parse(spec)
        merged = {**written, **(options or {})}
    if not isinstance(name, str):
        remedy = "Write `scenario: class-incremental`, or `experiences` as a list."
        raise bad_option("scenario", "the name of a scenario", name, remedy)
    common = {key: merged.pop(key) for key in ("online", "reveals") if key in merged}
    named = merged.pop("name", name)
    stream = _stream(name, merged, named, seed, data_dir)
    if "reveals" in common:
        stream = _revealing(stream, common["reveals"])
    if not isinstance(common.get("online", False), bool):
        raise bad_option("online", "true or false", common["online"], "Give online=True for one pass over each sample.")
    return stream.once() if common.get("online", name.startswith("online-")) else stream


def _stream(name: str, options: dict[str, Any], named: str, seed: int, data_dir: str | Path | None) -> Stream:
    """Build by kind, or by prefix and data set."""
    given = {"seed": options.pop("seed", seed)}
    plain = name.removeprefix("online-")
    prefix = next((p for p in PREFIXES if plain.startswith(f"{p}-")), None)
    if plain in KINDS.names() and "stream" in inspect.signature(KINDS.load(plain)).parameters:
        return _over(plain, options, named, given["seed"], data_dir)
    if plain in KINDS.names() or (prefix is None and ":" in plain):
        if plain in ("table", "domains") and "data" not in options:
            raise bad_option("data", f"given for scenario {plain!r}", None, f"Write {plain}(data=rows.csv, column=week).")
        data, kind = load_data(plain, options, data_dir), plain
    elif prefix is None:
        raise _unknown(name, data_dir)
    else:
        data, kind = datasets.load(plain.removeprefix(f"{prefix}-"), data_dir), PREFIXES[prefix]
        part = of_classes(data, options["classes"]) if "classes" in options else data
        options = {**_preset(kind, part, options), **options}
    function = KINDS.load(kind)
    if "classes" in options and "classes" not in inspect.signature(function).parameters:
        chosen = options.pop("classes")
        data = [of_classes(d, chosen) for d in data] if isinstance(data, list) else of_classes(data, chosen)
    if "name" in inspect.signature(function).parameters:
        options = {**options, "name": named}
    stream: Stream = call("scenario", name, function, options, data=data, **given)
    return stream if stream.name == named else dataclasses.replace(stream, name=named)


def _over(kind: str, options: dict[str, Any], named: str, seed: int, data_dir: str | Path | None) -> Stream:
    """A kind that changes another stream."""
    function = KINDS.load(kind)
    stream = options.pop("stream", inspect.signature(function).parameters["stream"].default)
    if not isinstance(stream, str | Mapping | Stream):
        raise bad_option("stream", "a scenario, as it is written elsewhere", stream, "Write stream=split-digits.")
    held = {"validation": options["validation"]} if options.get("validation") else {}
    below = stream if isinstance(stream, Stream) else build(stream, options=held, seed=seed, data_dir=data_dir)
    made: Stream = call("scenario", kind, function, options, stream=below, seed=seed, name=named)
    return made


def _preset(kind: str, data: Dataset, options: Mapping[str, object]) -> dict[str, object]:
    """What a benchmark has where its options say nothing: 5 experiences, 10 from 50 classes on; rotations by 30 degrees."""
    parts = 10 if data.num_classes >= 50 else min(5, data.num_classes)
    if kind in BY_CLASS:
        return {"experiences": parts}
    if kind == "recurring" and "schedule" not in options:
        return {"experiences": 2 * parts, "classes_per_experience": -(-data.num_classes // parts)}
    if kind == "rotated" and "angles" not in options:
        return {"step": 30}
    return {}


def _revealing(stream: Stream, reveals: object) -> Stream:
    """The stream with what it reveals changed as written."""
    known = [field.name for field in dataclasses.fields(Reveals)]
    if not isinstance(reveals, Mapping):
        raise bad_option(
            "reveals", f"a mapping of {', '.join(known)} to true or false", reveals, "Write `reveals: {boundaries: false}`."
        )
    for key, value in reveals.items():
        if key not in known:
            raise unknown_name("reveals", str(key), known)
        if not isinstance(value, bool):
            raise bad_option(f"reveals.{key}", "true or false", value, "Correct the value.")
    changed = dataclasses.replace(stream.reveals, **reveals)
    if changed.task_train or changed.task_test:
        if stream.tasks is None:
            raise bad_option("reveals", "without tasks for a scenario that has none", dict(reveals), "Leave the task keys out.")
        check_tasks(stream.segments, stream.tasks, len(stream.data.train))
    return dataclasses.replace(stream, reveals=changed)


def _unknown(name: str, data_dir: str | Path | None) -> OptionError:
    near: Sequence[str] = difflib.get_close_matches(name, names(data_dir), n=3, cutoff=0.5)
    guess = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    return OptionError(
        f"scenario must be a known name; got {name!r}. {guess}Known: {', '.join(KINDS.names())}; PREFIX-DATA, such as "
        f"split-digits, with a prefix of {', '.join(PREFIXES)} and a name or path of data; and the path of a YAML file."
    )
