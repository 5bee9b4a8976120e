"""Printed Python values read back as data: nothing in them is executed."""

from __future__ import annotations

import ast
import math
from typing import Any

WRAPPERS = ("float64", "float32", "float16", "int64", "int32", "array", "tensor", "bool_", "str_")
"""Calls of one value that numpy and torch print around it, as in np.float64(0.5)."""


def value(text: str) -> Any:
    """The value that `repr` printed. What is no plain value, such as device(type='cuda'), becomes its text.

    Raises:
        ValueError: it is no Python expression.

    Example:
        >>> value("{'acc': [np.float64(81.5), nan], 'on': device(type='cuda')}")
        {'acc': [81.5, nan], 'on': "device(type='cuda')"}
        >>> value("__import__('os').remove('x')")
        "__import__('os').remove('x')"
    """
    try:
        return _plain(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"no Python value: {text.strip()[:60]}") from error


def _plain(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict):
        return {_plain(k): _plain(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return [_plain(item) for item in node.elts]
    if isinstance(node, ast.Name) and node.id in ("nan", "inf"):
        return math.nan if node.id == "nan" else math.inf
    if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).rpartition(".")[2] in WRAPPERS:
        return _plain(node.args[0])
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
