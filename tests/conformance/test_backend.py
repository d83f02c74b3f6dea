"""What of a backend depends on the engine; the rest of its life is in the suite."""

from __future__ import annotations

import typing

import pytest

from holdfast import (
    PersistenceBackend,
    PostgresPersistenceBackend,
    Repositories,
    SQLitePersistenceBackend,
)
from holdfast.schema import metadata

PROTOCOLS = {
    name: typing.get_type_hints(member.fget)["return"]
    for base in Repositories.__mro__
    for name, member in vars(base).items()
    if isinstance(member, property)
}


async def test_each_repository_keeps_its_protocol(backend: PersistenceBackend) -> None:
    assert len(PROTOCOLS) >= 35
    async with backend.transaction() as tx:
        for name, promised in PROTOCOLS.items():
            protocol = typing.get_origin(promised) or promised
            assert isinstance(getattr(backend, name), protocol)
            assert isinstance(getattr(tx, name), protocol)


@pytest.mark.alone
async def test_names(backend: PersistenceBackend, engine_name: str) -> None:
    assert backend.backend_name == engine_name.split("-")[0]
    kind = SQLitePersistenceBackend if "sqlite" in engine_name else PostgresPersistenceBackend
    assert isinstance(backend, kind)
    status = await backend.status()
    assert status.engine == backend.backend_name
    assert status.tables.keys() == set(metadata.tables)
