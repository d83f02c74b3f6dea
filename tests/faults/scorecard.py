"""What the rows share: sizes, the seed, the record of figures, and the ledger's verdict."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["FULL", "SEED", "Ledger", "Record", "sized"]

#: `make faults` sets it; other runs are smaller and find the same, less often.
FULL = os.environ.get("HOLDFAST_FAULTS") == "full"
SEED = int(os.environ.get("HOLDFAST_SEED", "7"))


class Record(Protocol):
    """Puts a row on the scorecard: its figures, those of its control, those of the bare driver."""

    def __call__(
        self, row: int, what: str, measured: str, control: str, bare: str = ""
    ) -> None: ...


def sized(small: int, full: int) -> int:
    return full if FULL else small


@dataclass(slots=True)
class Ledger:
    """Operations by id: acknowledged, refused, or unknown (cancelled, connection lost)."""

    acked: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def verdict(self, stored: Iterable[str]) -> dict[str, int]:
        """Broken promises; all zero is a pass. The unknown may be there once or not at all."""
        counts = Counter(stored)
        return {
            "lost": sum(counts[op] == 0 for op in self.acked),
            "refused but stored": sum(counts[op] > 0 for op in self.refused),
            "stored twice": sum(count > 1 for count in counts.values()),
        }
