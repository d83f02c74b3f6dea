"""A tenant of a shared database for each test, but for those that need a database of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.backend import PersistenceBackend
from holdfast.testing.suite.base import fresh


def _alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.fixture
def backend(request: pytest.FixtureRequest, holdfast_engine: str) -> PersistenceBackend:
    """With ``alone``, on a database of its own: for a test that names a tenant, looks at those of
    others, sends SQL past the repositories, connects, or counts what the backend sends."""
    if _alone(request.node):
        own: PersistenceBackend = request.getfixturevalue("holdfast_backend")
        return own
    shared: PersistenceBackend = request.getfixturevalue("holdfast_shared")
    return fresh(shared)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A shared backend is used on the loop that it is connected on."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent != here or _alone(item):
            continue
        if "backend" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
