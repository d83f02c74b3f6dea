"""The organisation's memory: who may write, what is found, and what its errors say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from holdfast import (
    CategoryWriteRule,
    ExtendedStoreConfig,
    InvalidArgumentError,
    OrgFact,
    OrgFactAuthor,
    OrgFactCategory,
    OrgFactWriteRequest,
    OrgMemoryConfig,
    OrgMemoryQuery,
    PersistenceBackend,
    PersistenceConnectionError,
    QueryError,
    SeniorityLevel,
    WriteAccessConfig,
    create_backend,
)
from holdfast.memory import (
    OrgMemoryAccessDeniedError,
    OrgMemoryBackend,
    OrgMemoryConfigError,
    OrgMemoryConnectionError,
    OrgMemoryError,
    OrgMemoryQueryError,
    OrgMemoryWriteError,
    create_org_memory,
)

NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)
HUMAN = OrgFactAuthor(is_human=True)
POLICY, ADR = OrgFactCategory.CORE_POLICY, OrgFactCategory.ADR


def agent(seniority: SeniorityLevel) -> OrgFactAuthor:
    return OrgFactAuthor(agent_id="ada", seniority=seniority, autonomy_level="semi")


def request(category: OrgFactCategory = ADR, content: str = "c") -> OrgFactWriteRequest:
    return OrgFactWriteRequest(content=content, category=category, tags=("b", "a"))


def fact(key: str, **fields: Any) -> OrgFact:
    defaults = {"content": "c", "category": ADR, "author": HUMAN, "created_at": NOW}
    return OrgFact.model_validate({"id": key, **defaults, **fields})


async def test_what_is_written_is_a_fact(backend: PersistenceBackend) -> None:
    memory = create_org_memory(backend)
    author = agent(SeniorityLevel.SENIOR)
    before = datetime.now(UTC)
    key = await memory.write(request(), author=author)
    assert str(UUID(key)) == key
    assert UUID(key).version == 4
    (stored,) = await memory.query(OrgMemoryQuery())
    assert stored == await backend.org_facts.get(key)
    assert stored == fact(key, tags=("b", "a"), author=author, created_at=stored.created_at)
    assert before <= stored.created_at <= datetime.now(UTC)
    assert stored.created_at.utcoffset() == timedelta(0)
    assert await memory.write(request(), author=author) != key
    theirs = create_org_memory(backend.for_tenant("other"))
    assert await theirs.query(OrgMemoryQuery()) == ()


async def allowed(memory: OrgMemoryBackend, author: OrgFactAuthor) -> set[str]:
    """The categories that the author can write."""
    found = set()
    for category in OrgFactCategory:
        try:
            await memory.write(request(category), author=author)
        except OrgMemoryAccessDeniedError:
            continue
        found.add(category.value)
    return found


async def test_who_may_write_what(backend: PersistenceBackend) -> None:
    memory = create_org_memory(backend)
    assert await allowed(memory, HUMAN) == {"core_policy", "adr", "procedure", "convention"}
    ranks = list(SeniorityLevel)
    senior = ranks.index(SeniorityLevel.SENIOR)
    written = 4
    for number, seniority in enumerate(ranks):
        expected = {"adr", "procedure", "convention"} if number >= senior else set()
        assert await allowed(memory, agent(seniority)) == expected
        written += len(expected)
    found = [await backend.org_facts.list_by_category(category) for category in OrgFactCategory]
    assert sum(map(len, found)) == written


async def test_rules_of_ones_own(backend: PersistenceBackend) -> None:
    lead = SeniorityLevel.LEAD
    rules = {
        POLICY: CategoryWriteRule(allowed_seniority=lead, human_allowed=False),
        OrgFactCategory.ENTITY_DEFINITION: CategoryWriteRule(allowed_seniority=lead),
        ADR: CategoryWriteRule(human_allowed=False),
    }
    config = OrgMemoryConfig(write_access=WriteAccessConfig(rules=rules))
    memory = create_org_memory(backend, config)
    assert await allowed(memory, HUMAN) == {"entity_definition"}
    assert await allowed(memory, agent(SeniorityLevel.SENIOR)) == set()
    assert await allowed(memory, agent(lead)) == {"core_policy", "entity_definition"}
    closed = OrgMemoryConfig(write_access=WriteAccessConfig(rules={}))
    assert await allowed(create_org_memory(backend, closed), HUMAN) == set()


async def test_policies_of_the_configuration_come_first(backend: PersistenceBackend) -> None:
    for one in (
        fact("old", category=POLICY),
        fact("new", category=POLICY, created_at=NOW + timedelta(microseconds=1)),
        fact("gone", category=POLICY),
        fact("other"),
    ):
        await backend.org_facts.save(one)
    await backend.org_facts.delete("gone", author=HUMAN)
    memory = create_org_memory(backend, OrgMemoryConfig(core_policies=("first", "second")))
    before = datetime.now(UTC)
    policies = await memory.list_policies()
    assert [one.id for one in policies] == ["core-policy-0", "core-policy-1", "new", "old"]
    assert [one.content for one in policies[:2]] == ["first", "second"]
    for one in policies[:2]:
        assert one == fact(one.id, content=one.content, category=POLICY, created_at=one.created_at)
        assert before <= one.created_at <= datetime.now(UTC)
    assert await create_org_memory(backend).list_policies() == policies[2:]
    assert await memory.query(OrgMemoryQuery(context="first")) == ()  # they are in no store


async def test_what_is_found(backend: PersistenceBackend) -> None:
    for n in range(60):
        await backend.org_facts.save(fact(f"{n:02}", content=f"{'x' * n}needle"))
    await backend.org_facts.save(fact("policy", content="a Needle", category=POLICY))
    memory = create_org_memory(backend)

    async def ids(memory: OrgMemoryBackend, **query: Any) -> list[str]:
        return [one.id for one in await memory.query(OrgMemoryQuery.model_validate(query))]

    assert await ids(memory, context="NEEDLE") == ["00", "01", "policy", "02", "03"]
    assert await ids(memory, context="needle", categories=frozenset({POLICY})) == ["policy"]
    assert await ids(memory, context="needle", categories=frozenset(), limit=2) == ["00", "01"]
    assert await ids(memory, limit=3) == ["policy", "59", "58"]
    assert await ids(memory, context="straw") == []
    # The configuration's limit and the query's, whichever is less.
    assert len(await ids(memory, limit=100)) == 5
    for most, asked, expected in ((50, 100, 50), (50, 7, 7), (1, 100, 1)):
        config = OrgMemoryConfig(extended_store=ExtendedStoreConfig(max_retrieved_per_query=most))
        assert len(await ids(create_org_memory(backend, config), limit=asked)) == expected


async def test_errors_and_their_causes(backend: PersistenceBackend) -> None:
    memory = create_org_memory(backend)
    with pytest.raises(OrgMemoryWriteError, match="NUL") as write:
        await memory.write(request(content="a\0b"), author=HUMAN)
    with pytest.raises(OrgMemoryQueryError, match="NUL") as query:
        await memory.query(OrgMemoryQuery(context="a\0b"))
    for caught in (write, query):
        assert isinstance(caught.value.__cause__, InvalidArgumentError)
    for kind in (
        OrgMemoryAccessDeniedError, OrgMemoryConfigError, OrgMemoryConnectionError,
        OrgMemoryQueryError, OrgMemoryWriteError,
    ):  # fmt: skip
        assert kind.__bases__ == (OrgMemoryError,)
    assert OrgMemoryError.__bases__ == (Exception,)
    assert await memory.query(OrgMemoryQuery()) == ()


async def test_a_database_without_a_schema(tmp_path: Any) -> None:
    memory = create_org_memory(create_backend(f"sqlite:///{tmp_path / 'empty.db'}"))
    await memory.connect()
    try:
        for kind, call in (
            (OrgMemoryQueryError, memory.query(OrgMemoryQuery())),
            (OrgMemoryQueryError, memory.list_policies()),
            (OrgMemoryWriteError, memory.write(request(), author=HUMAN)),
        ):
            with pytest.raises(kind) as caught:
                await call
            assert isinstance(caught.value.__cause__, QueryError)
    finally:
        await memory.disconnect()


async def not_connected(memory: OrgMemoryBackend) -> None:
    assert not memory.is_connected
    assert await memory.health_check() is False
    for call in (
        memory.query(OrgMemoryQuery()),
        memory.list_policies(),
        memory.write(request(), author=HUMAN),
    ):
        with pytest.raises(OrgMemoryConnectionError, match="not connected") as caught:
            await call
        assert isinstance(caught.value.__cause__, PersistenceConnectionError)
    # What is not allowed is refused before the database is looked for.
    with pytest.raises(OrgMemoryAccessDeniedError, match="core_policy"):
        await memory.write(request(POLICY), author=agent(SeniorityLevel.C_SUITE))


async def test_a_backend_of_its_own_lives_with_it(url: str) -> None:
    backend = create_backend(url)
    memory = create_org_memory(backend)
    assert isinstance(memory, OrgMemoryBackend)
    assert memory.backend_name == "hybrid_prompt_retrieval"
    await memory.disconnect()
    await not_connected(memory)
    await memory.connect()
    await memory.connect()
    assert memory.is_connected
    assert backend.is_connected
    assert await memory.health_check() is True
    await backend.migrate()
    assert await memory.write(request(), author=HUMAN)
    await memory.disconnect()
    await memory.disconnect()
    assert not backend.is_connected
    await not_connected(memory)
    await memory.connect()
    await memory.disconnect()


async def test_a_shared_backend_is_left_alone(backend: PersistenceBackend) -> None:
    memory, other = create_org_memory(backend), create_org_memory(backend)
    assert memory.is_connected
    await memory.connect()
    await memory.disconnect()
    assert backend.is_connected
    assert other.is_connected
    assert await other.query(OrgMemoryQuery()) == ()


async def test_a_database_that_cannot_be_reached(tmp_path: Any) -> None:
    backend = create_backend(f"sqlite:///{tmp_path / 'nowhere' / 'x' / 'org.db'}")
    memory = create_org_memory(backend)
    (tmp_path / "nowhere").write_text("a file where a directory must be")
    with pytest.raises(OrgMemoryConnectionError) as caught:
        await memory.connect()
    assert isinstance(caught.value.__cause__, PersistenceConnectionError)
    assert not memory.is_connected
    await memory.disconnect()
