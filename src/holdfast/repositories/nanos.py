"""Exact sums of money: each amount is rounded once to whole nanos (1e-9 of the unit).

An amount is a float, and a sum of floats depends on their order and on what adds them. One of whole
numbers does not. An amount is taken apart into whole units and the rest, without an error; the rest
is rounded to the nearest nano, the half up. Here and in SQL that is the same IEEE 754 arithmetic.
"""

from __future__ import annotations

import sys
from math import isfinite
from typing import Any, Final

from sqlalchemy import ColumnElement, literal_column

from holdfast.storage.functions import whole

__all__ = [
    "LARGEST",
    "NANOS",
    "SMALL",
    "as_amount",
    "in_nanos",
    "is_amount",
    "nanos_of",
    "units_of",
]

NANOS: Final = 10**9
#: Nanos of the largest float.
LARGEST: Final = int(sys.float_info.max) * NANOS
#: Units below which `units_of` of a few thousand million amounts add up within 64 bits.
SMALL: Final = 2**32


def in_nanos(amount: float) -> int:
    """Return an amount in whole nanos, however large it is."""
    units = int(amount)
    return units * NANOS + int((amount - units) * 1e9 + 0.5)


def is_amount(value: object) -> bool:
    """Return whether `in_nanos` can be asked: a damaged row may hold an infinity or a text."""
    return isinstance(value, int | float) and isfinite(value)


def as_amount(nanos: int) -> float:
    """Return the float nearest to a number of nanos, which is `LARGEST` at the most."""
    return nanos / NANOS


def units_of(amount: ColumnElement[Any]) -> ColumnElement[int]:
    """SQL for the whole units of an amount below 2**63."""
    return whole(amount)


def nanos_of(amount: ColumnElement[Any]) -> ColumnElement[int]:
    """SQL for the nanos of an amount beyond its whole units, from 0 to 1e9."""
    rest = (amount - whole(amount)) * literal_column("1000000000.0") + literal_column("0.5")
    return whole(rest)
