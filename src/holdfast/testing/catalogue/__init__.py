"""Holdfast's own repositories, as the suite knows them."""

from typing import Any as _Any

from holdfast.testing.catalogue import access, agents, control, work
from holdfast.testing.subjects import Subject as _Subject

__all__ = ["SUBJECTS"]

SUBJECTS: tuple[_Subject[_Any], ...] = (
    *work.SUBJECTS,
    *agents.SUBJECTS,
    *control.SUBJECTS,
    *access.SUBJECTS,
)
