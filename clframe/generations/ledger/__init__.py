"""The pool of generations: an append-only ledger of shards, each named by the hash of its bytes."""

from __future__ import annotations

from clframe.generations.ledger.checking import Fault
from clframe.generations.ledger.pool import Ledger
from clframe.generations.ledger.record import KINDS, Record

__all__ = ["KINDS", "Fault", "Ledger", "Record"]
