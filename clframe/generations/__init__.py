"""Synthetic data that accumulates: the pool of generations, what to train on, generators, alarms."""

from __future__ import annotations

from clframe.generations.ledger import Ledger, Record

__all__ = ["Ledger", "Record"]
