"""Version histories, and the service that adds to them only what changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from holdfast import (
    AgentIdentity,
    BudgetConfig,
    Company,
    EvaluationConfig,
    InvalidArgumentError,
    PersistenceBackend,
    Role,
    VersioningService,
    VersionSnapshot,
    WorkflowDefinition,
    compute_content_hash,
)
from holdfast.testing import samples

NOW = datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC)
HISTORIES: dict[str, type[BaseModel]] = {
    "workflow_versions": WorkflowDefinition,
    "identity_versions": AgentIdentity,
    "evaluation_config_versions": EvaluationConfig,
    "budget_config_versions": BudgetConfig,
    "company_versions": Company,
    "role_versions": Role,
}


def version(number: int, snapshot: BaseModel, **fields: Any) -> VersionSnapshot[Any]:
    defaults = {
        "entity_id": "e", "content_hash": compute_content_hash(snapshot), "saved_by": "ada",
        "saved_at": NOW,
    }  # fmt: skip
    kind: Any = VersionSnapshot[type(snapshot)]  # type: ignore[misc]
    made: VersionSnapshot[Any] = kind(
        **{"version": number, "snapshot": snapshot, **defaults, **fields}
    )
    return made


def role(name: str) -> Role:
    return Role.model_validate({"name": name, "department": "design"})


@pytest.mark.parametrize("history", HISTORIES)
async def test_each_history_keeps_what_it_was_given(
    backend: PersistenceBackend, history: str
) -> None:
    versions = getattr(backend, history)
    one, other = samples.full(HISTORIES[history]), samples.required(HISTORIES[history])
    first, second, third = version(1, one), version(2, other), version(7, one, saved_by="eve")
    for made in (second, third, first):
        assert await versions.save_version(made) is True
    for made in (first, version(2, one, saved_by="eve")):
        assert await versions.save_version(made) is False
    assert await versions.get_version("e", 2) == second
    assert type((await versions.get_version("e", 2)).snapshot) is HISTORIES[history]
    assert await versions.get_version("e", 3) is None
    assert await versions.get_latest_version("e") == third
    assert await versions.get_by_content_hash("e", first.content_hash) == third
    assert await versions.get_by_content_hash("e", second.content_hash) == second
    assert await versions.list_versions("e") == (third, second, first)
    assert await versions.count_versions("e") == 3
    stranger = version(1, one, entity_id="f")
    assert await versions.save_version(stranger) is True
    assert await versions.delete_versions_for_entity("e") == 3
    assert await versions.delete_versions_for_entity("e") == 0
    assert await versions.list_versions("f") == (stranger,)
    assert await versions.get_latest_version("e") is None
    for name in HISTORIES:
        assert await getattr(backend, name).count_versions("f") == (name == history)


async def test_limits_and_offsets(backend: PersistenceBackend) -> None:
    versions = backend.role_versions
    made = [version(n, role(f"{n}")) for n in range(1, 61)]
    async with backend.transaction() as tx:
        for one in made:
            await tx.role_versions.save_version(one)
    newest = tuple(reversed(made))
    assert await versions.list_versions("e") == newest[:50]
    assert await versions.list_versions("e", limit=None) == newest
    assert await versions.list_versions("e", limit=2, offset=3) == newest[3:5]
    assert await versions.list_versions("e", offset=59) == newest[59:]
    assert await versions.list_versions("e", offset=60) == ()
    assert await versions.list_versions("e", limit=2, after=("e", 4)) == newest[57:59]
    assert await versions.list_versions("e", limit=2, after=newest[0]) == newest[1:3]
    assert await versions.list_versions("e", limit=0) == ()
    assert await versions.list_versions("e", limit=0, offset=2) == ()
    for bad in ({"limit": -1}, {"offset": -1}, {"limit": True}, {"limit": 0, "offset": -1}):
        with pytest.raises(InvalidArgumentError) as caught:
            await versions.list_versions("e", **bad)
        assert isinstance(caught.value, ValueError)
    assert await versions.get_version("e", 0) is None
    for wrong in (True, "1", 2**63):
        with pytest.raises(InvalidArgumentError, match="get_version: version"):
            await versions.get_version("e", wrong)  # type: ignore[arg-type]


async def test_a_version_is_saved_in_utc(backend: PersistenceBackend) -> None:
    there = timezone(timedelta(hours=5, minutes=45))
    for moment in (NOW.astimezone(there), NOW.replace(tzinfo=None)):
        with pytest.raises(ValidationError):
            version(1, role("r"), saved_at=moment)
        unchecked = version(1, role("r")).model_copy(update={"saved_at": moment})
        with pytest.raises(InvalidArgumentError, match="saved_at"):
            await backend.role_versions.save_version(unchecked)
    zero = timezone(timedelta(0), "Reykjavik")
    moved = version(1, role("r"), saved_at=NOW.astimezone(zero))
    assert await backend.role_versions.save_version(moved) is True
    stored = await backend.role_versions.get_latest_version("e")
    assert stored is not None
    assert stored.saved_at == NOW
    assert stored.saved_at.utcoffset() == timedelta(0)


async def test_a_history_takes_its_own_kind(backend: PersistenceBackend) -> None:
    for wrong in (version(1, BudgetConfig()), role("r"), None):
        with pytest.raises(InvalidArgumentError):
            await backend.role_versions.save_version(wrong)  # type: ignore[arg-type]
    assert await backend.role_versions.count_versions("e") == 0


async def test_only_changes_are_versions(backend: PersistenceBackend) -> None:
    service = VersioningService(backend.role_versions)
    assert await service.get_latest("e") is None
    first = await service.snapshot_if_changed("e", role("a"), "ada")
    assert first is not None
    assert (first.version, first.saved_by, first.snapshot) == (1, "ada", role("a"))
    assert first.content_hash == compute_content_hash(role("a"))
    assert first.saved_at.utcoffset() == timedelta(0)
    assert await service.get_latest("e") == first
    assert await service.snapshot_if_changed("e", role("a"), "eve") is None
    second = await service.snapshot_if_changed("e", role("b"), "ada")
    third = await service.snapshot_if_changed("e", role("a"), "ada")
    assert second is not None
    assert third is not None
    assert (second.version, third.version) == (2, 3)
    assert await backend.role_versions.list_versions("e") == (third, second, first)
    other = await service.snapshot_if_changed("f", role("a"), "ada")
    assert other is not None
    assert other.version == 1


class _Raced:
    """A repository at which somebody else always saves right before."""

    def __init__(self, repository: Any, *winners: VersionSnapshot[Any]) -> None:
        self._repository = repository
        self._winners = list(winners)

    async def save_version(self, made: VersionSnapshot[Any]) -> bool:
        if self._winners:
            assert await self._repository.save_version(self._winners.pop(0)) is True
        answer: bool = await self._repository.save_version(made)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)


async def test_races_that_were_lost(backend: PersistenceBackend) -> None:
    versions = backend.role_versions

    async def race(entity: str, mine: str, *theirs: tuple[int, str]) -> VersionSnapshot[Any] | None:
        winners = [version(n, role(name), entity_id=entity) for n, name in theirs]
        service = VersioningService[Role](_Raced(versions, *winners))
        return await service.snapshot_if_changed(entity, role(mine), "me")

    same = await race("same", "x", (1, "x"))
    assert same == version(1, role("x"), entity_id="same")
    assert await versions.count_versions("same") == 1

    next_one = await race("other", "x", (1, "theirs"))
    assert next_one is not None
    assert (next_one.version, next_one.saved_by) == (2, "me")
    assert await versions.get_latest_version("other") == next_one

    then_same = await race("then same", "x", (1, "theirs"), (2, "x"))
    assert then_same == version(2, role("x"), entity_id="then same")

    twice = await race("twice", "x", (1, "theirs"), (2, "theirs too"))
    assert twice == version(2, role("theirs too"), entity_id="twice")
    assert await versions.count_versions("twice") == 2

    ahead = await race("twice", "x", (3, "theirs"))
    assert ahead is not None
    assert ahead.version == 4


async def test_pages_of_another_entity_are_refused(backend: PersistenceBackend) -> None:
    for entity in ("a", "b"):
        for number in range(1, 4):
            await backend.role_versions.save_version(
                samples.required(VersionSnapshot[Role], entity_id=entity, version=number)
            )
    listing = backend.role_versions.list_versions
    assert [one.version for one in await listing("a", after=("a", 3))] == [2, 1]
    with pytest.raises(InvalidArgumentError, match="after is of another entity_id"):
        await listing("a", after=("b", 3))
    with pytest.raises(InvalidArgumentError, match="after is of another entity_id"):
        await listing("a", after=(await listing("b"))[0])
