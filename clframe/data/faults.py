"""Faults of files, said in one line. A damaged file makes its reader raise anything, so callers catch `Exception`."""

from __future__ import annotations


def reason(error: Exception) -> str:
    """The first line of an error's message without the final stop, or its type's name.

    Example:
        >>> reason(ValueError("bad magic number.\\nat byte 3")), reason(EOFError())
        ('bad magic number', 'EOFError')
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(" .") if lines else type(error).__name__
