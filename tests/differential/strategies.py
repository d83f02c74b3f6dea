"""Arguments that both engines are asked with: few, so that they meet, and rarely a bad one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from pydantic import BaseModel

from holdfast.testing.samples import required

from .steps import Call, chosen

__all__ = [
    "AGENTS", "KEYS", "NOW", "a", "afters", "agents", "bad", "bounds", "counts", "each",
    "key_arguments", "keys", "later", "limits", "moments", "numbers", "offsets", "page", "texts",
]  # fmt: skip

KEYS = ("a", "B", "b", "é", "🦑", "\uffee")
AGENTS = ("ada", "bob", "🦑")
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
MOMENTS = [NOW + timedelta(seconds=n) for n in (0, 0.5, 1, 1)]
MOMENTS[3] = MOMENTS[3].astimezone(timezone(timedelta(hours=-7)))


def bad(
    good: st.SearchStrategy[Any], values: Sequence[Any], *, once_in: int = 8
) -> st.SearchStrategy[Any]:
    """Rarely something that is refused, to compare how."""
    return chosen(*[good] * (once_in - 1), st.sampled_from(values))


keys = st.sampled_from(KEYS)
agents = st.sampled_from(AGENTS)
moments = st.sampled_from(MOMENTS)
#: Behind all ``moments``, and soon over.
later = st.sampled_from([NOW + timedelta(seconds=n) for n in (2, 5, 5.000001, 12, 3000)])

key_arguments = bad(keys, ("", " ", "a\0", "\ud800", 7))
texts = bad(st.sampled_from(("", "x", "🦑 'q' %s")), ("n\0", None, 3))
limits = bad(st.integers(1, 4), (0, -1, True, "5", 1.5, 2**63))
offsets = bad(st.integers(0, 3), (-1, False, "1", None))
afters = bad(keys, ("nobody", "a\0", 3, ("a", "B", "c")))
bounds = bad(moments | later, (NOW.replace(tzinfo=None), "2026", 5, LAST))
counts = bad(st.integers(0, 4), (-1, True, 2**63, 2**63 - 1, 1.0))
numbers = bad(st.sampled_from((0.0, 0.1, 0.25, 7)), (-0.1, float("nan"), True, 10**400, "1"))


def a(kind: type[BaseModel], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Entities that differ in these fields."""
    return st.fixed_dictionaries(fields).map(lambda values: required(kind, **values))


def page(entities: st.SearchStrategy[Any]) -> dict[str, Any]:
    return {"limit": limits, "after": chosen(afters, entities)}


def each(repository: str, method: str, values: Sequence[Any]) -> tuple[Call, ...]:
    """The same method for each value."""
    return tuple(Call(repository, method, (value,)) for value in values)
