"""Fingerprints: one hash over arrays and plain values."""

from __future__ import annotations

import hashlib

import numpy as np


def fingerprint(*pieces: object) -> str:
    """blake2b over the pieces: arrays by dtype, shape and bytes, anything else by its repr.

    Example:
        >>> fingerprint(np.arange(3), "a") == fingerprint(np.arange(3), "a")
        True
        >>> fingerprint(np.arange(3)) == fingerprint(np.arange(3.0))
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        if isinstance(piece, np.ndarray):
            if piece.dtype.kind in "OU":
                piece = np.char.encode(piece.astype(np.str_), "utf-8")
            digest.update(f"array {piece.dtype.str} {piece.shape};".encode())
            digest.update(np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data)
        else:
            digest.update(f"value {piece!r};".encode())
    return digest.hexdigest()


def spaced(size: int, most: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """At most `most` evenly spaced ids out of 0..size-1, the first and the last among them.

    Example:
        >>> spaced(10, 4)
        array([0, 3, 6, 9])
    """
    return np.linspace(0, size - 1, min(size, most)).round().astype(np.int64)
