"""Keys and indexed texts: the longest that fits is stored everywhere, one byte more nowhere."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pydantic import ValidationError

from holdfast.backend import PersistenceBackend
from holdfast.engines.widths import limits
from holdfast.errors import InvalidArgumentError
from holdfast.testing.forms import SampleError
from holdfast.testing.subjects import Subject
from holdfast.testing.suite.base import Suite, fresh, needs, same

__all__ = ["WidthSuite", "wide"]


def wide(size: int, seed: str) -> str:
    """A text of so many bytes in UTF-8, most of its characters of four, that does not compress."""
    chosen = random.Random(seed)  # noqa: S311
    letters = [chr(0x20000 + chosen.randrange(0xA000)) for _ in range(size // 4)]
    return "".join(letters) + "x" * (size % 4)


def _widest(subject: Subject[Any], owner: Any) -> dict[str, int]:
    """The fields that may hold any text and lie in an index, with their limits."""
    found = {}
    for name, most in limits(subject.of(owner).table).items():
        if name in subject.entity.model_fields and name not in subject.fixed:
            try:
                subject.full(**{name: wide(most, name)})
            except (SampleError, ValidationError):
                continue  # one of a few words, or a digest
            found[name] = most
    return found


class WidthSuite(Suite):
    """Whether a text is too long to be indexed depends on its bytes alone."""

    @needs(lambda subject: subject.save is not None)
    async def test_the_longest_fit_together(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = holdfast_shared.for_tenant(wide(512, f"{subject} {fresh(holdfast_shared).tenant}"))
        fields = {name: wide(most, name) for name, most in _widest(subject, tenant).items()}
        assert fields or not subject.key
        record = subject.full(**fields)
        await subject.put(tenant, record)
        assert same(await subject.read(tenant, record), record)

    @needs(lambda subject: subject.save is not None)
    async def test_one_byte_more_is_refused(
        self, holdfast_shared: PersistenceBackend, subject: Subject[Any]
    ) -> None:
        tenant = fresh(holdfast_shared)
        await subject.ready(tenant, subject.full())
        for name, most in _widest(subject, tenant).items():
            for text in (wide(most + 1, name), "a" * (most + 1)):
                record = subject.full(**{name: text})
                with pytest.raises(InvalidArgumentError, match=f"{most + 1}") as refused:
                    await subject.put_alone(tenant, record)
                assert name in str(refused.value).split()
                assert refused.value.__notes__[0].endswith(f".{name}")
                if subject.key:
                    assert await subject.read(tenant, record) is None
