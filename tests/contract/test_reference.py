"""Every name, parameter, default and answer of the contract is there, on every engine."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest
from pydantic.fields import FieldInfo

import holdfast
from holdfast import (
    PersistenceBackend,
    PostgresConfig,
    PostgresPersistenceBackend,
    SQLiteConfig,
    SQLitePersistenceBackend,
    Transaction,
)

from . import reference
from .signatures import canonical, differences, fields, members, public, resolve

ALL = reference.REPOSITORIES | reference.LATER


def protocol_named(kind: str) -> Any:
    """The exported protocol; ``kind`` may say of what."""
    name = kind.partition("[")[0]
    protocol = getattr(holdfast, name, None)
    assert protocol is not None, f"holdfast does not export {name}"
    return protocol


def agree(found: list[str]) -> None:
    assert not found, "\n".join(found)


def test_the_tables_are_whole() -> None:
    kinds = {kind.partition("[")[0] for kind, _ in reference.REPOSITORIES.values()}
    assert (len(reference.REPOSITORIES), len(kinds)) == (31, 26)
    for _, text in ALL.values():
        names = [member.name for member in members(text)]
        assert names
        assert len(names) == len(set(names))


def test_the_backend_has_every_member() -> None:
    agree(differences(reference.BACKEND, PersistenceBackend))


async def test_the_backend_keeps_its_protocol(backend: PersistenceBackend) -> None:
    assert isinstance(backend, PersistenceBackend)
    agree(differences(reference.BACKEND, type(backend), typed=False))


@pytest.mark.parametrize(
    "backend",
    [
        SQLitePersistenceBackend(SQLiteConfig(path=":memory:")),
        PostgresPersistenceBackend(
            PostgresConfig.model_validate({"database": "org", "username": "a", "password": "b"})
        ),
    ],
    ids=["sqlite", "postgres"],
)
def test_a_backend_is_made_from_its_configuration(backend: PersistenceBackend) -> None:
    assert isinstance(backend, PersistenceBackend)
    assert not backend.is_connected


def test_constructors() -> None:
    classes = (SQLitePersistenceBackend, PostgresPersistenceBackend)
    offered = {cls.__name__: inspect.getattr_static(cls, "__init__") for cls in classes}
    agree(differences(reference.CONSTRUCTORS, offered))


def test_functions() -> None:
    agree(differences(reference.FUNCTIONS, public()))


@pytest.mark.parametrize("owner", [PersistenceBackend, Transaction])
@pytest.mark.parametrize("name", ALL)
def test_a_repository_is_offered(name: str, owner: type[Any]) -> None:
    kind = ALL[name][0]
    assert protocol_named(kind)._is_runtime_protocol
    offered = inspect.getattr_static(owner, name)
    assert isinstance(offered, property)
    assert offered.fget is not None
    answer = typing.get_type_hints(offered.fget)["return"]
    assert canonical(answer) == canonical(resolve(kind))


@pytest.mark.parametrize("name", reference.REPOSITORIES)
def test_a_protocol_has_every_method(name: str) -> None:
    kind, text = reference.REPOSITORIES[name]
    agree(differences(text, protocol_named(kind)))


@pytest.mark.parametrize("name", reference.REPOSITORIES)
def test_every_list_has_pages(name: str) -> None:
    kind, text = reference.REPOSITORIES[name]
    protocol = protocol_named(kind)
    for member in members(text):
        several = (member.returns or "").endswith(", ...]")
        if several and f"{name}.{member.name}" not in reference.UNPAGED:
            offered = inspect.signature(getattr(protocol, member.name)).parameters
            stated = {p.name: p.default for p in member.parameters}
            for keyword in ("limit", "after"):
                assert keyword in offered, f"{member.name} has no {keyword}"
                assert offered[keyword].kind is inspect.Parameter.KEYWORD_ONLY
                assert offered[keyword].default == stated.get(keyword)


@pytest.mark.parametrize("name", reference.LATER)
def test_a_later_protocol_has_the_names(name: str) -> None:
    kind, text = reference.LATER[name]
    agree(differences(text, protocol_named(kind), loose=True))


@pytest.mark.parametrize("name", reference.LATER_ON_BACKEND)
def test_what_the_backend_builds_later(name: str) -> None:
    kind, text = reference.LATER_ON_BACKEND[name]
    agree(differences(text, protocol_named(kind), loose=True))
    agree(differences(f"{name}(config) -> {kind}", PersistenceBackend, loose=True))


async def test_every_repository_is_implemented(backend: PersistenceBackend) -> None:
    found = []
    for name, (kind, text) in ALL.items():
        if not hasattr(backend, name):
            found.append(f"{name} is missing")
            continue
        made = getattr(backend, name)
        if not isinstance(made, protocol_named(kind)):
            found.append(f"{name} is no {kind}")
        reasons = differences(text, type(made), typed=False, loose=name in reference.LATER)
        found += [f"{name}.{reason}" for reason in reasons]
        assert getattr(backend, name) is made
    agree(found)


@pytest.mark.parametrize("name", reference.LATER_ON_BACKEND)
async def test_what_the_backend_builds_is_implemented(
    name: str, backend: PersistenceBackend
) -> None:
    kind, text = reference.LATER_ON_BACKEND[name]
    made = getattr(backend, name)(holdfast.LockoutConfig())
    assert isinstance(made, protocol_named(kind))
    agree(differences(text, type(made), typed=False, loose=True))


def test_the_versioning_service() -> None:
    agree(differences(reference.VERSIONING_SERVICE, protocol_named("VersioningService")))


def test_the_memory_of_the_organisation() -> None:
    protocol = protocol_named("OrgMemoryBackend")
    assert protocol._is_runtime_protocol
    agree(differences(reference.ORG_MEMORY_BACKEND, protocol))


@pytest.mark.parametrize("name", reference.ERRORS)
def test_an_error(name: str) -> None:
    parents, is_retryable = reference.ERRORS[name]
    error = getattr(holdfast, name)
    assert tuple(parent.__name__ for parent in error.__bases__) == parents
    assert error.is_retryable is is_retryable


@pytest.mark.parametrize("name", reference.CONFIGS)
def test_a_configuration(name: str) -> None:
    config = getattr(holdfast, name)
    assert config.model_config["frozen"] is True
    assert config.model_config["allow_inf_nan"] is False
    for field in fields(reference.CONFIGS[name]):
        offered: FieldInfo = config.model_fields[field.name]
        assert canonical(offered.annotation) == canonical(resolve(field.annotation)), field.name
        assert offered.is_required() is (field.default is inspect.Parameter.empty), field.name
        if not offered.is_required():
            assert (type(offered.default), offered.default) == (type(field.default), field.default)
    stated = {field.name for field in fields(reference.CONFIGS[name])}
    for added in config.model_fields.keys() - stated:
        assert not config.model_fields[added].is_required(), added
