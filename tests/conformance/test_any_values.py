"""Whatever a model accepts comes back equal, whole and in UTC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from holdfast import PersistenceBackend, create_backend

from .samples import full
from .strategies import ENTITIES, texts
from .test_whole_objects import READ

EXAMPLES = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Driver:
    """A backend on a loop of its own, so that Hypothesis can drive it; each example its tenant."""

    def __init__(self, runner: asyncio.Runner, backend: PersistenceBackend) -> None:
        self.run = runner.run
        self._backend = backend
        self._tenants = count()

    def fresh(self) -> PersistenceBackend:
        return self._backend.for_tenant(f"tenant {next(self._tenants)}")


@pytest.fixture
def driver(url: str) -> Iterator[Driver]:
    with asyncio.Runner() as runner:
        backend = create_backend(url)
        runner.run(backend.connect())
        runner.run(backend.migrate())
        yield Driver(runner, backend)
        runner.run(backend.disconnect())


def in_utc(entity: BaseModel) -> bool:
    moments = (getattr(entity, name) for name in type(entity).model_fields)
    return all(m.utcoffset() == timedelta(0) for m in moments if isinstance(m, datetime))


async def through(backend: PersistenceBackend, name: str, entity: Any) -> Any:
    if name == "api_keys":
        owner = full()["users"].model_copy(update={"id": entity.user_id})
        await backend.users.save(owner)  # type: ignore[arg-type]
    await getattr(backend, name).save(entity)
    return await READ[name](backend, entity)


@pytest.mark.parametrize("name", ENTITIES)
def test_every_entity_comes_back(driver: Driver, name: str) -> None:
    @EXAMPLES
    @given(ENTITIES[name])
    def check(entity: BaseModel) -> None:
        stored = driver.run(through(driver.fresh(), name, entity))
        assert stored == entity
        assert stored.model_dump_json() == _as_utc(entity).model_dump_json()
        assert in_utc(stored)

    check()


def _as_utc(entity: BaseModel) -> BaseModel:
    moments = {
        name: value.astimezone(UTC)
        for name in type(entity).model_fields
        if isinstance(value := getattr(entity, name), datetime)
    }
    return entity.model_copy(update=moments)


def test_every_setting_comes_back(driver: Driver) -> None:
    keys = texts.filter(lambda text: text.strip() != "")

    async def check_one(item: tuple[str, str, str, str]) -> None:
        namespace, key, value, updated_at = item
        settings_ = driver.fresh().settings
        assert await settings_.set(namespace, key, value, updated_at)
        assert await settings_.get(namespace, key) == (value, updated_at)
        assert await settings_.get_namespace(namespace) == ((key, value, updated_at),)
        assert await settings_.get_all() == (item,)
        if updated_at:
            assert await settings_.set(
                namespace, key, "new", "then", expected_updated_at=updated_at
            )
            assert await settings_.get(namespace, key) == ("new", "then")
        assert await settings_.delete_namespace_returning_keys(namespace) == (key,)

    @EXAMPLES
    @given(st.tuples(keys, keys, texts, texts))
    def check(item: tuple[str, str, str, str]) -> None:
        driver.run(check_one(item))

    check()


def test_every_tenant_name_is_a_tenant(driver: Driver) -> None:
    names = texts.filter(lambda text: text.strip() != "")

    async def check_two(one: str, other: str) -> None:
        first = driver.fresh().for_tenant(f"{one}|")
        second = driver.fresh().for_tenant(f"{one}|{other}")
        await first.set_setting("k", one)
        await second.set_setting("k", other)
        assert await first.get_setting("k") == one
        assert await second.get_setting("k") == other

    @EXAMPLES
    @given(names, names)
    def check(one: str, other: str) -> None:
        driver.run(check_two(one, other))

    check()


EDGES = [
    datetime.min.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=UTC, microsecond=1),
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC, microsecond=999998),
    datetime(1, 1, 2, tzinfo=timezone(timedelta(hours=23))),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(seconds=-4521))),
]
