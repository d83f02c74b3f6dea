"""Single values: nasty ones to choose from, and strategies for the rest.

What a field accepts is not computed but tried: a type has pools of values, and a field takes from
those whose values pass its validators. So a validator nobody has heard of needs no code here.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample, Unsatisfiable
from pydantic.fields import FieldInfo

__all__ = ["MISSING", "TEXT", "choice", "fixed", "json_values", "limits", "simplest", "sizes"]

#: No value: what a field makes of one it refuses.
MISSING: Any = type("Missing", (), {"__repr__": lambda _: "MISSING"})()

#: In each text of `full`.
TEXT = "Grüße, 世界 🦑 'quoted' \"double\" back\\slash %s {x} $1 :name\nline\ttab \u0301"

NASTY = (
    "🦑", "e\u0301", "\u0301", "'; DROP TABLE tasks; --", '"', "\\", "\\u0000", "\\ud800", "%s",
    "$1", ":name", "{}", "\U0010ffff", "\ufeff", "\u2028", "\x7f", "\x1b[0m", "Ǆ", "ß", "null",
    "1", "1e400", "0x10", "true", "\t\r\n x", "\x01", "日本語", "a" * 300, "\ufffe", "", TEXT,
)  # fmt: skip
#: Integers without bounds stay within what databases hold.
_MOST = 2**63 - 1
_ADDRESSES = ("ada@example.com", "https://example.com/x?y=1", "192.0.2.7", "2001:db8::7", "/a/b")
_DEADLINES = (
    "2026-01-31", "20260131T10", "2026-W05-6", "2026-01-31 10:00:00.5", "2026-01-31T10:00:00Z",
    "2026-01-31T10:00:00.123456+05:45", "0001-01-01", "9999-12-31T23:59:59.999999",
)  # fmt: skip
_OBJECTS = (
    '{"a":1,"a":2}', "{ }", '{"n": 1E+2, "m": -0, "k": 1.0}', '{"\\u0061": "\\/"}', '{"b":1,"a":0}',
)  # fmt: skip

_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_texts = st.sampled_from(NASTY) | st.text(_CHARACTERS, max_size=20)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**200), 0.1, 1e16, -0.0, 1e-300])
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts
)
json_values: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(_texts, json_values, max_size=5)


def _spaced(value: Any, indent: int | None, escape: bool, space: str) -> str:
    return space + json.dumps(value, indent=indent, ensure_ascii=escape) + space


def _json_texts(values: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    space = st.text(" \t\r\n", max_size=3)
    return st.builds(_spaced, values, st.sampled_from([None, 0, 2]), st.booleans(), space)


#: Every moment whose UTC lies in the years that Python knows.
_naive = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29))  # noqa: DTZ001
_utc = _naive.map(lambda when: when.replace(tzinfo=UTC))
_moments = st.builds(
    lambda when, minutes: when.astimezone(timezone(timedelta(minutes=minutes))),
    _utc,
    st.integers(-23 * 60, 23 * 60),
)
_WHEN = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=45)))


@dataclass(frozen=True)
class Pool:
    """Values of one sort: some fixed ones, and a strategy of more."""

    samples: tuple[Any, ...]
    more: st.SearchStrategy[Any]


def limits(metadata: Iterable[Any], *names: str) -> Iterator[Any]:
    """What the annotations of a field say under any of some names (``ge``, ``pattern``...)."""
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from limits(item.metadata, *names)
        else:
            for name in names:
                if (value := getattr(item, name, None)) is not None:
                    yield value


def sizes(metadata: tuple[Any, ...]) -> tuple[int, int | None]:
    """The least and the greatest length that are allowed."""
    least = max(limits(metadata, "min_length"), default=0)
    return least, min(limits(metadata, "max_length"), default=None)


def _text_pools(metadata: tuple[Any, ...]) -> Iterator[Pool]:
    least, most = sizes(metadata)
    ends = tuple("é" * size for size in {least, most} if size is not None and size <= 10_000)
    bound = least + 20 if most is None else min(most, least + 20)
    # Without the empty text: most fields refuse it, and for the others it is among the samples.
    size = {"min_size": min(max(least, 1), bound), "max_size": bound}
    nasty = tuple(text for text in (*NASTY, *ends) if least <= len(text) <= (most or 10_000))
    yield Pool(nasty, st.text(_CHARACTERS, **size))
    yield Pool(_OBJECTS, _json_texts(json_objects))
    yield Pool(("[1, 2.0]", "null", '"x"', " -0"), _json_texts(json_values))
    yield Pool(_DEADLINES, _moments.map(datetime.isoformat))
    yield Pool((*_ADDRESSES, str(uuid.UUID(int=7))), st.uuids().map(str))
    for pattern in limits(metadata, "pattern"):
        yield Pool((), st.from_regex(pattern, alphabet=_CHARACTERS))


def _bounds(metadata: tuple[Any, ...]) -> tuple[Any, Any]:
    low = max(limits(metadata, "ge", "gt"), default=None)
    return low, min(limits(metadata, "le", "lt"), default=None)


def _int_pools(metadata: tuple[Any, ...]) -> Iterator[Pool]:
    low, high = _bounds(metadata)
    low, high = -_MOST - 1 if low is None else low, _MOST if high is None else high
    step = next(limits(metadata, "multiple_of"), 1)
    edges = {0, 1, -1, 2**31, 2**53 + 1, low, low + 1, high, high - 1}
    more = st.integers(low, high)
    if step != 1:
        more = st.integers(-(-low // step), high // step).map(lambda n: n * step)
    yield Pool(tuple(sorted(n for n in edges if low <= n <= high and n % step == 0)), more)


def _float_pools(metadata: tuple[Any, ...]) -> Iterator[Pool]:
    low, high = _bounds(metadata)
    edges = [0.0, 0.1 + 0.2, 5e-324, 1e16, 1.7e308, -1.7e308, -0.1]
    edges += [float(edge) for edge in (low, high) if edge is not None]
    fits = (n for n in edges if (low is None or n >= low) and (high is None or n <= high))
    more = st.floats(low, high, allow_nan=False, allow_infinity=False)
    yield Pool(tuple(dict.fromkeys(fits)), more)


def _decimal_pools(metadata: tuple[Any, ...]) -> Iterator[Pool]:
    low, high = _bounds(metadata)
    places = min(limits(metadata, "decimal_places"), default=None)
    more = st.decimals(low, high, allow_nan=False, allow_infinity=False, places=places)
    yield Pool((), more)


def _datetime_pools(_: tuple[Any, ...]) -> Iterator[Pool]:
    yield Pool((_WHEN,), _moments)
    yield Pool((_WHEN.astimezone(UTC),), _utc)
    yield Pool((_WHEN.replace(tzinfo=None),), _naive)
    today = datetime.now(UTC)  # for fields that want the past or the future
    yield Pool((), _utc.filter(lambda when: abs(when - today) > timedelta(days=1)))


def _bytes_pools(metadata: tuple[Any, ...]) -> Iterator[Pool]:
    least, most = sizes(metadata)
    yield Pool((), st.binary(min_size=least, max_size=most))


_POOLS: dict[Any, Callable[[tuple[Any, ...]], Iterator[Pool]]] = {
    str: _text_pools,
    int: _int_pools,
    float: _float_pools,
    bytes: _bytes_pools,
    datetime: _datetime_pools,
    date: lambda _: iter([Pool((), st.dates())]),
    time: lambda _: iter([Pool((), st.times())]),
    timedelta: lambda _: iter([Pool((), st.timedeltas())]),
    Decimal: _decimal_pools,
    uuid.UUID: lambda _: iter([Pool((), st.uuids()), Pool((), st.uuids(version=4))]),
}


def pools(kind: Any, metadata: tuple[Any, ...]) -> Iterator[Pool]:
    """The pools for a type, the best first. For one unknown here: whatever it may be read from."""
    if kind in _POOLS:
        yield from _POOLS[kind](metadata)
    else:
        for make in (_text_pools, _int_pools, _datetime_pools):
            for pool in make(metadata):
                if pool.samples:  # nothing else tells whether the type reads such values
                    yield pool


def choice(
    kind: Any, metadata: tuple[Any, ...], accept: Callable[[Any], Any]
) -> st.SearchStrategy[Any] | None:
    """What ``accept`` makes of the pools for a type: of the first alone if it takes most of it."""

    def accepted(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return values.map(accept).filter(lambda value: value is not MISSING)

    chosen: list[st.SearchStrategy[Any]] = []
    offered = tuple(pools(kind, metadata))
    for position, pool in enumerate(offered):
        good = [sample for sample in pool.samples if accept(sample) is not MISSING]
        if good:
            chosen.append(st.sampled_from(good))
        if 2 * len(good) >= len(pool.samples):
            chosen.append(pool.more)
            if position == 0:
                break
    if chosen:
        return accepted(st.one_of(chosen))
    # No sample passes, but perhaps some other value does; for an unknown type, hardly.
    rest = (accepted(pool.more) for pool in offered if kind in _POOLS)
    return next((values for values in rest if _possible(values)), None)


def fixed(kind: Any, metadata: tuple[Any, ...], name: str, index: int) -> Iterator[Any]:
    """Values to try for a place, the best first; different for different places, where it may be.

    Numbers and instants grow with ``index``, so that what begins comes before what ends.
    """
    if kind is int or kind is float or kind is Decimal:
        low, high = _bounds(metadata)
        yield kind(index + 3) if kind is not float else index + 0.1 + 0.2
        if low is not None and high is not None and kind is float:
            yield float(low + (high - low) * (index + 1) / (index + 3))
        for start, step in ((low, 1), (high, -1), (0, -1)):
            if start is not None:
                yield kind(start + step * (index + 1))
                yield kind(start + step)
                yield kind(start)
    elif kind is datetime:
        when = _WHEN + timedelta(days=index, microseconds=index)
        yield from (when, when.astimezone(UTC), when.replace(tzinfo=None))
    elif kind is date:
        yield date(2026, 3, 29) + timedelta(days=index)
    elif kind is time:
        yield time(index % 24, 30, 0, 123456)
    elif kind is timedelta:
        yield timedelta(days=index, microseconds=1)
    elif kind is uuid.UUID:
        yield uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4)
    elif kind is bytes:
        yield name.encode() + bytes(range(256))
    elif kind is str or kind not in _POOLS:
        yield from _fixed_texts(metadata, name, index)


def _fixed_texts(metadata: tuple[Any, ...], name: str, index: int) -> Iterator[str]:
    least, most = sizes(metadata)
    digest = hashlib.sha256(name.encode()).hexdigest()
    day = (_WHEN + timedelta(days=index)).date().isoformat()
    for text in (
        f"{name} {TEXT}",
        '{ "b":1,"a" : [1.0, -0.0, 1e16, null, "\\u00e9"], "b": ' + json.dumps(name) + " }",
        f"{day}T10:00:00.123456+05:45",
        day,
        digest,
        str(uuid.UUID(digest[:32])),
        f"https://example.com/{digest[:8]}",
        f"{digest[:8]}@example.com",
        digest[:8],
        f"n{digest[:8]}",
        *_ADDRESSES,
    ):
        yield text.ljust(least, "x")[:most]


_QUIET = settings(
    database=None,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # begins with the simplest
    suppress_health_check=list(HealthCheck),
)


def simplest(strategy: st.SearchStrategy[Any]) -> Any:
    """The simplest value of a strategy: what is left where no fixed value was accepted."""
    # In another thread, because Hypothesis refuses to search within a test of its own.
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(find, strategy, lambda _: True, settings=_QUIET).result()


def _possible(strategy: st.SearchStrategy[Any]) -> bool:
    try:
        simplest(strategy)
    except (NoSuchExample, Unsatisfiable):
        return False
    return True
