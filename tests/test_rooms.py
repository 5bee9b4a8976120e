"""The rooms import one way, and `import clframe` is light."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "clframe"

ALLOWED = {
    "errors": set(),
    "types": set(),
    "seeding": set(),
    "locate": {"errors"},
    "registry": {"errors", "locate"},
    "checkpoint": {"errors", "types", "seeding"},
    "loop": {"errors", "types", "seeding"},
    "environment": {"errors"},
    "data": {"errors", "types", "seeding"},
    "scenarios": {"errors", "types", "seeding", "registry", "data"},
    "models": {"errors", "types", "seeding", "locate"},
    "selection": {"errors", "types", "seeding", "registry", "data", "checkpoint", "executors"},
    "curation": {"errors", "types", "seeding", "data", "scenarios", "selection"},
    "strategies": {"errors", "types", "seeding", "registry", "data", "models", "selection", "generations"},
    "eval": {"errors", "types", "seeding", "registry", "selection"},
    "executors": {"errors", "checkpoint"},
    "generations": {"errors", "types", "seeding", "registry", "data", "selection", "models", "executors", "checkpoint"},
    "self_consuming": {"errors", "types", "seeding", "checkpoint", "data", "scenarios", "generations"},
}
ABOVE = PACKAGE / "eval" / "protocol"
"""Protocols run whole studies, so they lie above everything but the leaves."""


def imported_rooms(path: Path) -> set[str]:
    """Rooms of clframe that a file imports at run time (imports for type checking alone do not count)."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(n)
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and ast.unparse(guard.test) == "TYPE_CHECKING"
        for body in guard.body
        for n in ast.walk(body)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("clframe.")}
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "clframe":
                found |= {a.name for a in node.names}
            elif node.module.startswith("clframe."):
                found.add(node.module.split(".")[1])
    return found


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    files = list((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]
    for file in (f for f in files if ABOVE not in f.parents):
        upward = imported_rooms(file) - ALLOWED[room] - {room}
        assert not upward, f"{file.relative_to(PACKAGE)} imports {sorted(upward)}"


def test_strategies_know_of_generations_the_policies_alone() -> None:
    for file in (PACKAGE / "strategies").rglob("*.py"):
        names = [n.module or "" for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom)]
        assert {n for n in names if n.startswith("clframe.generations")} <= {"clframe.generations.policies"}, file


def test_the_leaves_are_imported_by_nobody() -> None:
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in ("cli", "testing", "bridges", "exporting"):
            assert not imported_rooms(file) & {"cli", "testing", "bridges", "exporting"}, file


def test_protocols_are_imported_by_the_command_line_alone() -> None:
    for file in PACKAGE.rglob("*.py"):
        if ABOVE not in file.parents and "eval.protocol" in file.read_text():
            assert file.relative_to(PACKAGE).parts[0] == "cli", file


def test_importing_clframe_brings_nothing_heavy() -> None:
    code = "import clframe, sys, json; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(found.stdout))
    assert not loaded & {"faiss", "datasets", "matplotlib", "avalanche", "pandas", "sklearn", "scipy"}
    assert not loaded & {"tensorboard", "mlflow", "wandb", "transformers", "timm", "torchvision", "polars", "torch"}


def test_files_and_functions_stay_small() -> None:
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text()
        assert len(text.splitlines()) <= 300, f"{file} has more than 300 lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                lines = node.end_lineno - body[0].lineno + 1
                assert lines <= 60, f"{file}:{node.lineno} {node.name} has {lines} lines below its docstring"
