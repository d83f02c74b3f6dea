"""Facts that the organisation knows, and the log of every change to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Protocol, runtime_checkable

from holdfast import validation
from holdfast.entities import (
    OperationLogEntry,
    OperationLogSnapshot,
    OrgFact,
    OrgFactAuthor,
    OrgFactCategory,
)
from holdfast.entities.base import new_id, utc_now
from holdfast.errors import InvalidArgumentError
from holdfast.repositories.org_facts import (
    AT,
    BY_CATEGORY,
    FACTS,
    GET,
    LIST_LOG,
    LOG,
    NOTE,
    PUBLISH,
    RETRACT,
    SEARCHES,
)
from holdfast.schema.knowledge import org_facts_snapshot
from holdfast.storage.mapping import checked
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Session
from holdfast.validation import jsontext

__all__ = ["KnowledgeRepositories", "OrgFactRepository"]


@runtime_checkable
class OrgFactRepository(Protocol):
    """Facts by ``id``, and every version of them.

    Each change is one transaction: it is in the log if and only if it is in force. Its time is
    that of the process that makes it, but for one fact never before that of the change before.
    """

    async def save(self, fact: OrgFact) -> None:
        """Publish a fact, or publish it again; a retracted one is in force again.

        The change and its entry in the log are one transaction. ``created_at`` keeps its first
        value.
        """

    async def get(self, fact_id: str) -> OrgFact | None:
        """Return the fact in force with this id; ``None`` if there is none or it was retracted."""

    async def query(
        self,
        *,
        categories: Iterable[OrgFactCategory] | None = None,
        text: str | None = None,
        limit: int = 5,
    ) -> tuple[OrgFact, ...]:
        """Return the facts in force that contain ``text``, whatever the case of its ASCII letters.

        First where the text begins first, then the shortest, then the newest, then by id; without a
        text the newest first. At most ``limit``, which is taken to be within 1 and 100. No
        categories mean all of them.
        """

    async def list_by_category(
        self,
        category: OrgFactCategory,
        *,
        limit: int | None = None,
        after: OrgFact | str | None = None,
    ) -> tuple[OrgFact, ...]:
        """Return the facts in force of a category, newest first.

        Equal times by id, the greatest first. ``after`` is the last fact seen, or its id.
        """

    async def delete(self, fact_id: str, *, author: OrgFactAuthor) -> bool:
        """Retract a fact; False if there is none in force.

        The log keeps the ``author`` of the retraction, who may also be of the class that a bound
        fact has for it.
        """

    async def snapshot_at(
        self,
        timestamp: datetime,
        *,
        limit: int | None = None,
        after: OperationLogSnapshot | str | None = None,
    ) -> tuple[OperationLogSnapshot, ...]:
        """Return every fact as it stood at that instant, in order of ``fact_id``.

        Retracted facts are included. A naive ``timestamp`` is read as UTC; ``created_at`` is when
        the fact was first published. ``after`` is the last snapshot seen, or its ``fact_id``.
        """

    async def get_operation_log(
        self,
        fact_id: str,
        *,
        limit: int | None = None,
        after: OperationLogEntry | tuple[str, int] | None = None,
    ) -> tuple[OperationLogEntry, ...]:
        """Return the changes of a fact, the first version first.

        ``after`` is the last entry seen, or its (fact_id, version).
        """


class KnowledgeRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def org_facts(self) -> OrgFactRepository:
        """Facts of the organisation by ``id``, with the log of their changes."""
        return provide(self, _OrgFacts)


_LARGEST_QUERY = 100
#: Where the arguments of a save hold what the log keeps, and what that is of an author.
_LOGGED = tuple(map(FACTS.mapper.place, ("id", "content", "category", "tags", "author")))
_AUTHOR = tuple(OrgFactAuthor.model_fields)
#: What `lower` does to text that compares by code point, on both engines: ASCII letters only.
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


class _OrgFacts(Repository, OrgFactRepository):
    table = org_facts_snapshot

    def _make(self, **fields: Any) -> OrgFact:
        """A fact of the application's class, where it has one."""
        return self._bound(FACTS.mapper).make(fields)

    def _author(self, author: OrgFactAuthor, place: str) -> OrgFactAuthor:
        """An author, also of the class that the application's facts have for it."""
        own = self._bound(FACTS.mapper).classes("author")
        return checked(author, OrgFactAuthor, place, also=own)

    async def save(self, fact: OrgFact) -> None:
        arguments = await FACTS.encode(self, fact)
        fact_id, content, category, tags, author = (arguments[place] for place in _LOGGED)

        async def publish(session: Session) -> None:
            # The row stays locked until the end, so that writers of one fact take turns.
            ((version, when),) = await session.returning(PUBLISH, arguments)
            await self._note(
                session, fact_id, jsontext.parsed(author), "PUBLISH", version, when,
                content=content, category=category, tags=jsontext.parsed(tags),
            )  # fmt: skip

        await self._session.atomically(publish)

    async def get(self, fact_id: str) -> OrgFact | None:
        return await FACTS.one(self, GET, fact_id)

    async def query(
        self,
        *,
        categories: Iterable[OrgFactCategory] | None = None,
        text: str | None = None,
        limit: int = 5,
    ) -> tuple[OrgFact, ...]:
        name = "org_facts_snapshot.query"
        place = f"{name}: categories"
        if isinstance(categories, str) or not isinstance(categories, Iterable | None):
            raise InvalidArgumentError(f"{place} must be a collection of categories")
        chosen = sorted({validation.choice(c, OrgFactCategory, place) for c in categories or ()})
        arguments: list[Any] = [self._tenant, *chosen]
        if text is not None:
            # ASCII letters only, as the database does.
            wanted = validation.not_blank(text, f"{name}: text")
            arguments.append(wanted.translate(_LOWER))
        arguments.append(min(max(validation.integer(limit, f"{name}: limit"), 1), _LARGEST_QUERY))
        statement = SEARCHES[len(chosen), text is not None]
        rows = await self._session.fetch(statement, tuple(arguments), at_most=arguments[-1])
        return await self._all_of(rows, self._bound(FACTS.mapper).decode)

    async def list_by_category(
        self,
        category: OrgFactCategory,
        *,
        limit: int | None = None,
        after: OrgFact | str | None = None,
    ) -> tuple[OrgFact, ...]:
        place = f"{BY_CATEGORY.name}: category"
        filters = {"category": validation.choice(category, OrgFactCategory, place)}
        return await BY_CATEGORY.fetch(self, filters, limit=limit, after=after)

    async def delete(self, fact_id: str, *, author: OrgFactAuthor) -> bool:
        validation.not_blank(fact_id, f"{RETRACT.name}: fact_id")
        by = dict(self._author(author, f"{RETRACT.name}: author"))

        async def retract(session: Session) -> bool:
            rows = await session.returning(RETRACT, (self._tenant, fact_id, utc_now()))
            for version, when, category, tags in rows:
                await self._note(
                    session, fact_id, by, "RETRACT", version, when,
                    category=category, tags=jsontext.parsed(tags),
                )  # fmt: skip
            return len(rows) > 0

        return await self._session.atomically(retract)

    async def snapshot_at(
        self,
        timestamp: datetime,
        *,
        limit: int | None = None,
        after: OperationLogSnapshot | str | None = None,
    ) -> tuple[OperationLogSnapshot, ...]:
        given: object = timestamp
        if isinstance(given, datetime) and given.utcoffset() is None:
            timestamp = given.replace(tzinfo=UTC)
        at = validation.instant(timestamp, f"{AT.name}: timestamp")
        return await AT.fetch(self, {"timestamp": at, "at": at}, limit=limit, after=after)

    async def get_operation_log(
        self,
        fact_id: str,
        *,
        limit: int | None = None,
        after: OperationLogEntry | tuple[str, int] | None = None,
    ) -> tuple[OperationLogEntry, ...]:
        filters = {"fact_id": validation.not_blank(fact_id, f"{LIST_LOG.name}: fact_id")}
        return await LIST_LOG.fetch(self, filters, limit=limit, after=after)

    async def _note(
        self,
        session: Session,
        fact_id: str,
        author: Mapping[str, Any],
        operation_type: str,
        version: int,
        when: datetime,
        **what: Any,
    ) -> None:
        entry = OperationLogEntry.model_validate(
            {
                "operation_id": new_id(),
                "fact_id": fact_id,
                "operation_type": operation_type,
                **{f"author_{name}": author[name] for name in _AUTHOR if name in author},
                "timestamp": when,
                "version": version,
                **what,
            }
        )
        await session.write(NOTE, LOG.encode(self._tenant, entry))
