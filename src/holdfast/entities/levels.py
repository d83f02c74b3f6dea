"""The ranks of agents, and the degrees of their autonomy."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AutonomyLevel", "SeniorityLevel"]


class SeniorityLevel(StrEnum):
    """From the lowest to the highest."""

    JUNIOR = "junior"
    MID = "mid"
    SENIOR = "senior"
    LEAD = "lead"
    PRINCIPAL = "principal"
    DIRECTOR = "director"
    VP = "vp"
    C_SUITE = "c_suite"

    @property
    def rank(self) -> int:
        """0 for the lowest. The members themselves compare as the texts they are."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(SeniorityLevel)}


class AutonomyLevel(StrEnum):
    """From the most freedom to the least."""

    FULL = "full"
    SEMI = "semi"
    SUPERVISED = "supervised"
    LOCKED = "locked"
