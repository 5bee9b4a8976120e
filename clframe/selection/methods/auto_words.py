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


def reason(table: Mapping[str, Mapping[str, float]], best: str, chosen: str, usual: str, pilot: int) -> str:
    """Why a candidate was chosen.

    Args:
        table: of each candidate the variance, how much less than that of the usual one it is, and the standard error of that.
        best: the one with the least variance.
        chosen: the best one, or the usual one where the best one is not clearly better.
        usual: "uniform" or "calibrated".
        pilot: how many losses were looked at.

    Example:
        >>> one, other = {"variance": 2.0, "less": 0.0, "error": 0.0}, {"variance": 1.0, "less": 1.0, "error": 0.8}
        >>> for best in ("uniform", "stratified"):
        ...     print(reason({"uniform": one, "stratified": other}, best, "uniform", "uniform", 60))
        by a pilot of 60 losses, every other way has a larger variance
        by a pilot of 60 losses, no other way is clearly better: with draws stratified by the cells of k-means the variance of the
        mean is 50 % of that with uniform draws, lower by 1.2 standard errors, and more than 2 are asked for
    """

    def share(name: str) -> str:
        return f"{100 * table[name]['variance'] / max(table['uniform']['variance'], 1e-300):.0f} %"

    by, beside, found = f"by a pilot of {pilot:,} losses,", "that with uniform draws", table[best]
    if best == "uniform":
        return f"{by} every other way has a larger variance"
    away = f"{found['less'] / found['error']:.1f} standard errors" if found["error"] else ""
    if chosen == best:
        than = "" if best == usual or not away else f", lower{_than(usual)} by {away}"
        return f"{by} the variance of the mean is {share(best)} of {beside}{than}"
    own = "" if usual == "uniform" else f" the variance of the mean is {share(usual)} of {beside};"
    rest = f"{share(best)} of {beside}, lower{_than(usual)} by {away}, and more than 2 are asked for"
    return f"{by}{own} no other way is clearly better: with {described(best)} the variance of the mean is {rest}"


def _than(usual: str) -> str:
    return "" if usual == "uniform" else f" than with {described(usual)}"
