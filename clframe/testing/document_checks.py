"""What everything must say about itself."""

from __future__ import annotations

import re

from clframe.testing.outcome import require
from clframe.testing.subject import MemorySubject, Piece, ScenarioSubject, StrategySubject, Subject


def documented(subject: Subject) -> None:
    """Its docstring has a first line and mentions every option; that of a method has a reference, or says it is a baseline."""
    for piece in _pieces(subject):
        text = piece.documentation.strip()
        require(bool(text.partition("\n")[0].strip()), f"{piece.name} needs a docstring whose first line says what it is.")
        missing = [name for name in piece.option_names if not re.search(rf"\b{re.escape(name)}\b", text)]
        require(not missing, f"the docstring of {piece.name} must mention every option; {', '.join(missing)} missing.")
        if isinstance(subject, StrategySubject):
            sourced = re.search(r"\bReference|baseline|lower bound|upper bound", text, re.IGNORECASE)
            require(sourced is not None, f"the docstring of {piece.name} must have a line 'Reference: ...', or call it a baseline.")


def known_failures_are_checks(subject: Subject) -> None:
    """Every name in `known_failures` is that of a check, and has a reason."""
    from clframe.testing.runner import rules_for

    names = {rule.__name__.replace("_", " ") for rule in rules_for(subject)}
    for name, reason in subject.known_failures.items():
        require(name in names, f"known_failures names {name!r}, which is no check. Checks: {', '.join(sorted(names))}.")
        require(bool(str(reason).strip()), f"known_failures must give a reason for {name!r}.")


def _pieces(subject: Subject) -> tuple[Piece, ...]:
    if isinstance(subject, StrategySubject):
        return subject.pieces
    if isinstance(subject, ScenarioSubject):
        return (subject.piece,)
    assert isinstance(subject, MemorySubject)
    return (Piece(subject.name, subject.made, {"size": None}),)
