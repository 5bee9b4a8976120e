"""What `auto` compared and why it chose what it chose, in words."""

from __future__ import annotations

from collections.abc import Mapping

KINDS = {
    "uniform": "uniform draws",
    "stratified": "draws stratified by the cells of k-means",
    "calibrated": "uniform draws, calibrated to the proxy",
    "cells": "draws in proportion to losses guessed from the cells of k-means",
    "proxy": "draws in proportion to the proxy",
}


def described(name: str) -> str:
    """A candidate in words.

    Example:
        >>> described("stratified"), described("proxy, a=0.5")
        ('draws stratified by the cells of k-means', 'draws in proportion to the proxy, mixed with 50 % uniform ones')
    """
    kind, _, mixture = name.partition(", a=")
    return KINDS.get(kind, kind) + (f", mixed with {100 * float(mixture):.0f} % uniform ones" if mixture else "")


def reason(table: Mapping[str, Mapping[str, float]], best: str, clear: bool, pilot: int) -> str:
    """Why the best of the candidates was taken, or why uniform was.

    Args:
        table: of each candidate the variance, how much less than that of uniform it is, and the standard error of that.
        best: the one with the least variance.
        clear: whether it is below that of uniform by more than two standard errors.
        pilot: how many losses were looked at.

    Example:
        >>> one, other = {"variance": 2.0, "less": 0.0, "error": 0.0}, {"variance": 1.0, "less": 1.0, "error": 0.8}
        >>> for best in ("uniform", "stratified"):
        ...     print(reason({"uniform": one, "stratified": other}, best, False, 60))
        by a pilot of 60 losses, every other way has a larger variance
        by a pilot of 60 losses, no other way is clearly better: with draws stratified by the cells of k-means the variance of the
        mean is 50 % of that with uniform draws, lower by 1.2 standard errors, and more than 2 are asked for
    """
    by = f"by a pilot of {pilot:,} losses,"
    if best == "uniform":
        return f"{by} every other way has a larger variance"
    found = table[best]
    share = f"{100 * found['variance'] / max(table['uniform']['variance'], 1e-300):.0f} % of that with uniform draws"
    away = f", lower by {found['less'] / found['error']:.1f} standard errors" if found["error"] else ""
    if clear:
        return f"{by} the variance of the mean is {share}{away}"
    beside = f"with {described(best)} the variance of the mean is {share}{away}, and more than 2 are asked for"
    return f"{by} no other way is clearly better: {beside}"
