"""Scenarios by name, by mapping, from a YAML file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clframe.errors import ClframeError, DataError, OptionError
from clframe.scenarios.catalog import KINDS, PREFIXES, build, names


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_builds_over_digits(prefix: str) -> None:
    stream = build(f"{prefix}-digits", seed=3)
    assert stream.name == f"{prefix}-digits"
    assert stream.seed == 3
    assert len(stream) == (10 if prefix == "recurring" else 5)
    online = build(f"online-{prefix}-digits")
    assert online.online
    assert online.name == f"online-{prefix}-digits"


@pytest.mark.parametrize(
    "kind", sorted({*KINDS.names()} - {"rotated", "explicit", "table", "domains", "curated", "self-consuming"})
)
def test_every_kind_builds_by_name(kind: str) -> None:
    assert build(kind, options={"experiences": 5, "data": "digits"}).data.name == "digits"


def test_names_are_complete() -> None:
    assert {"split-digits", "task-split-cifar100", "longtail-mnist", "class-incremental", "table"} <= set(names())


def test_defaults_follow_the_number_of_classes(tmp_path: Path) -> None:
    y = np.repeat(np.arange(60), 3)
    x = np.random.default_rng(0).random((180, 2), dtype=np.float32)
    np.savez(tmp_path / "many.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert len(build("split-many", data_dir=tmp_path)) == 10
    assert len(build(f"split-{tmp_path / 'many.npz'}")) == 10
    recurring = build("recurring-many", data_dir=tmp_path)
    assert {len(e.classes) for e in recurring.experiences} == {6}


def test_options_come_in_brackets_or_beside_and_the_latter_win() -> None:
    assert len(build("split-digits(experiences=2, class_order=sorted)")) == 2
    assert len(build("split-digits(experiences=2)", options={"experiences": 10})) == 10
    assert build("split-digits(name=mine, seed=9)", seed=1).seed == 9
    assert build("split-digits(online=True)").online
    assert not build("online-split-digits(online=False)").online


def test_reveals_can_be_changed() -> None:
    stream = build("split-digits", options={"reveals": {"boundaries": False, "classes": False}})
    assert stream.reveals.names() == frozenset()
    assert stream.segments[0].tolist() == build("split-digits").segments[0].tolist()
    assert build("permuted-digits", options={"reveals": {"task_train": True}}).reveals.task_train


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("splt-digits", {}, "scenario must be a known name; got 'splt-digits'. Did you mean 'split-digits'"),
        ("split-digitz", {}, "data set must be a known name; got 'digitz'. Did you mean 'digits'"),
        ("split-digits", {"experience": 3}, "got 'experience'. Did you mean 'experiences'"),
        ("split-digits", {"experiences": "many"}, "experiences must be int; got 'many'"),
        ("split-digits", {"experiences": 11}, "number of classes, 10; got 11"),
        ("blurry-digits", {"mixing": 2}, r"mixing must be a share in \[0, 1\]; got 2"),
        ("rotated", {}, "one of angles and step must be given"),
        ("table", {}, "data must be given for scenario 'table'"),
        ("split-digits", {"online": "yes"}, "online must be true or false"),
        ("split-digits", {"reveals": "all"}, "reveals must be a mapping"),
        (
            "split-digits",
            {"reveals": {"boundary": True}},
            "reveals must be a known name; got 'boundary'. Did you mean 'boundaries'",
        ),
        ("split-digits", {"reveals": {"classes": 1}}, "reveals.classes must be true or false; got 1"),
        ("iid-digits", {"reveals": {"task_train": True}}, "scenario that has none"),
        ("class-incremental", {"data": 3}, "data must be a name, a path, or a mapping"),
        ("class-incremental", {"data": {"name": "digits", "labels": "y"}}, "got 'labels'. Did you mean 'label'"),
        ("domains", {"data": ["digits", {"nam": "x"}]}, r"data\[1\] must be a name, a path, or a mapping"),
        ("gaussian-digits", {"validation": 1.0}, r"validation must be a share in \[0, 1\)"),
    ],
)
def test_mistakes_are_answered_with_a_sentence(spec: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ClframeError, match=message):
        build(spec, options=options)


def test_a_table_file_needs_only_its_column(tmp_path: Path) -> None:
    lines = [f"{i},{i % 2},{'mon' if i < 20 else 'tue'}" for i in range(40)]
    (tmp_path / "rows.csv").write_text("u,label,day\n" + "\n".join(lines))
    stream = build("table", options={"data": str(tmp_path / "rows.csv"), "column": "day"})
    assert [len(ids) for ids in stream.segments] == [16, 16]
    with pytest.raises(DataError, match="there must be a column 'hour'"):
        build("table", options={"data": str(tmp_path / "rows.csv"), "column": "hour"})


def test_yaml_by_kind_and_by_hand(tmp_path: Path) -> None:
    lines = [f"{i},{i % 2},{i // 20}" for i in range(40)]
    (tmp_path / "rows.csv").write_text("u,kind,experience\n" + "\n".join(lines))
    (tmp_path / "a.yaml").write_text(
        "scenario: table\ndata: {path: rows.csv, label: kind, experience: experience}\nonline: true\nreveals: {classes: false}\n"
    )
    stream = build(str(tmp_path / "a.yaml"), seed=4)
    assert (stream.name, stream.seed, len(stream), stream.online) == ("a", 4, 2, True)
    assert stream.reveals.names() == {"boundaries"}
    (tmp_path / "b.yml").write_text("data: digits\nexperiences:\n  - {classes: [0, 1]}\n  - {train: [1, 2], test: [3]}\n")
    assert [len(ids) for ids in build(str(tmp_path / "b.yml")).segments] == [288, 2]
    (tmp_path / "c.yaml").write_text("scenario: split-digits\nexperiences: 2\nseed: 8\n")
    assert build(str(tmp_path / "c.yaml"), seed=1).seed == 8
    assert len(build(str(tmp_path / "c.yaml"), options={"experiences": 5})) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scenario: [", "must be readable YAML; got .* in line"),
        ("- 3", "must be a mapping of option names; got list"),
        ("data: digits", "scenario must be the name of a scenario; got None"),
        ("scenario: class-incremental\nexperience: 3", "got 'experience'. Did you mean 'experiences'"),
        ("experiences: [{classes: [0]}, {clases: [1]}]", r"experiences\[1\] must be a known name; got 'clases'"),
        ("scenario: domains\ndata: [digits, nowhere]", "got 'nowhere'"),
    ],
)
def test_yaml_mistakes_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "wrong.yaml").write_text(text)
    with pytest.raises((OptionError, DataError), match=message):
        build(str(tmp_path / "wrong.yaml"))


def test_a_missing_yaml_file_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere.yaml: a scenario must be a YAML file; got nothing"):
        build("nowhere.yaml")


def test_a_function_of_your_own_is_a_scenario(tmp_path: Path) -> None:
    lines = ["from clframe.scenarios import Stream, class_incremental", "", "", "def two(data, *, seed=0) -> Stream:"]
    (tmp_path / "my_scenario.py").write_text("\n".join([*lines, "    return class_incremental(data, experiences=2, seed=seed)"]))
    stream = build(f"{tmp_path / 'my_scenario.py'}:two", seed=6)
    assert (len(stream), stream.seed) == (2, 6)


def test_entry_points_are_scenarios_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS._found, "mine", "clframe.scenarios.data_incremental:data_incremental")
    assert "mine" in names()
    assert build("mine", options={"experiences": 3}).name == "mine"
