"""One set of racing processes for all tests, and a database that they share for each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from holdfast import PersistenceBackend, create_backend
from holdfast.testing.databases import connected

from .racers import Race, Racers


@pytest.fixture(scope="session")
def racers() -> Iterator[Racers]:
    with Racers() as racers:
        yield racers


@pytest.fixture
def shared_url(shared_url: str, request: pytest.FixtureRequest) -> str:
    if not shared_url.startswith("postgres"):
        return shared_url
    pooled = request.getfixturevalue("holdfast_pooled")
    return str(pooled(shared_url))


@pytest.fixture
def race(racers: Racers, shared_url: str) -> Race:
    return Race(racers, shared_url)


@pytest.fixture
async def backend(shared_url: str) -> AsyncIterator[PersistenceBackend]:
    """On the database of the race."""
    async with connected(create_backend(shared_url)) as backend:
        yield backend
