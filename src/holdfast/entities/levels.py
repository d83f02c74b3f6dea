"""Ranks of agents, and degrees of their autonomy."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AutonomyLevel", "SeniorityLevel"]


class SeniorityLevel(StrEnum):
    """Rank of an agent, from the lowest to the highest."""

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
        """Position of the rank, from 0 for the lowest; the members themselves compare as text."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(SeniorityLevel)}


class AutonomyLevel(StrEnum):
    """How freely an agent acts, from the most freedom to the least."""

    FULL = "full"
    SEMI = "semi"
    SUPERVISED = "supervised"
    LOCKED = "locked"
