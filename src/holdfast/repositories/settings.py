"""Settings: small texts by namespace and key."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from sqlalchemy import delete, update
from sqlalchemy.dialects import postgresql

from holdfast import validation
from holdfast.errors import InvalidArgumentError
from holdfast.schema.settings import settings
from holdfast.storage.explaining import insist_on_texts
from holdfast.storage.listing import Listing
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Row, Session, Statement, TransactionScope
from holdfast.storage.statements import delete_by, parameter, select_by, upsert, where_equal
from holdfast.storage.tables import TENANT

__all__ = ["SettingsRepositories", "SettingsRepository"]


@runtime_checkable
class SettingsRepository(Protocol):
    """Texts by (namespace, key), each with ``updated_at``, a text that is never interpreted.

    With ``expected_updated_at`` a write is a compare-and-swap: ``""`` inserts only where nothing
    is stored, any other text updates only where the stored ``updated_at`` equals it.
    """

    async def get(self, namespace: str, key: str) -> tuple[str, str] | None:
        """Return (value, updated_at); ``None`` if nothing is stored."""

    async def get_namespace(
        self,
        namespace: str,
        *,
        limit: int | None = None,
        after: str | tuple[str, ...] | None = None,
    ) -> tuple[tuple[str, str, str], ...]:
        """Return (key, value, updated_at) of each setting of a namespace, in order of key.

        ``after`` is the last entry seen, or its key.
        """

    async def get_all(
        self, *, limit: int | None = None, after: tuple[str, ...] | None = None
    ) -> tuple[tuple[str, str, str, str], ...]:
        """Return (namespace, key, value, updated_at) of each setting, in order of both keys.

        ``after`` is the last entry seen, or its (namespace, key).
        """

    async def set(
        self,
        namespace: str,
        key: str,
        value: str,
        updated_at: str,
        *,
        expected_updated_at: str | None = None,
    ) -> bool:
        """Save a setting; False, and nothing is written, if the expectation failed.

        Without an expectation it is inserted, or replaces what is stored.
        """

    async def set_many(
        self,
        items: Sequence[tuple[str, str, str, str]],
        *,
        expected_updated_at_map: Mapping[tuple[str, str], str] | None = None,
    ) -> bool:
        """Save all settings or, on False or an error, none.

        An item is (namespace, key, value, updated_at). The map holds expectations by (namespace,
        key), each of an item; False if one of them failed.
        """

    async def delete(self, namespace: str, key: str) -> bool:
        """Delete the setting; False if there is none."""

    async def delete_namespace(self, namespace: str) -> int:
        """Delete the settings of a namespace, and return how many."""

    async def delete_namespace_returning_keys(self, namespace: str) -> tuple[str, ...]:
        """Delete the settings of a namespace, and return their keys in order; one statement."""


class SettingsRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def settings(self) -> SettingsRepository:
        """Texts by (namespace, key), with compare-and-swap."""
        return provide(self, _Settings)


_PARAMETERS = (TENANT, "namespace", "key", "value", "updated_at")
_KEY = ("namespace", "key")

_GET = select_by("settings.get", settings, (settings.c.value, settings.c.updated_at), _KEY)
_SET = upsert("settings.set", settings, _PARAMETERS)
_SET_IF_ABSENT = Statement(
    "settings.set (if absent)",
    postgresql.insert(settings).on_conflict_do_nothing(index_elements=[TENANT, *_KEY]),
    _PARAMETERS,
    settings,
)
_SET_IF_EQUAL = Statement(
    "settings.set (if equal)",
    update(settings)
    .values(
        value=parameter(settings.c.value, "new_value"),
        updated_at=parameter(settings.c.updated_at, "new_updated_at"),
    )
    .where(
        *where_equal(settings, _KEY),
        settings.c.updated_at == parameter(settings.c.updated_at, "expected"),
    ),
    (TENANT, "namespace", "key", "new_value", "new_updated_at", "expected"),
    settings,
)
_DELETE = delete_by("settings.delete", settings, _KEY)
_DELETE_NAMESPACE = delete_by("settings.delete_namespace", settings, ("namespace",))
_DELETE_RETURNING = Statement(
    "settings.delete_namespace_returning_keys",
    delete(settings).where(*where_equal(settings, ("namespace",))).returning(settings.c.key),
    (TENANT, "namespace"),
    settings,
)


_TEXTS = ("namespace", "key", "value", "updated_at")


def _read(row: Row) -> tuple[str, str, str, str]:
    insist_on_texts(settings, _TEXTS, row, tuple(row[:2]))
    return row[0], row[1], row[2], row[3]


def _read_rest(row: Row) -> tuple[str, str, str]:
    return _read(row)[1:]


_COLUMNS = tuple(settings.c[name] for name in _TEXTS)
_NAMESPACE = Listing(
    "settings.get_namespace",
    settings,
    _COLUMNS,
    _read_rest,
    order=_KEY,
    filters={"namespace": ("namespace", operator.eq)},
)
_ALL = Listing("settings.get_all", settings, _COLUMNS, _read, order=_KEY)


class _Settings(Repository, SettingsRepository):
    table = settings

    async def get(self, namespace: str, key: str) -> tuple[str, str] | None:
        _check_key(_GET.name, namespace, key)
        row = await self._session.get(_GET, (self._tenant, namespace, key))
        return None if row is None else _read((namespace, key, *row))[2:]

    async def get_namespace(
        self,
        namespace: str,
        *,
        limit: int | None = None,
        after: str | tuple[str, ...] | None = None,
    ) -> tuple[tuple[str, str, str], ...]:
        filters = {"namespace": validation.not_blank(namespace, f"{_NAMESPACE.name}: namespace")}
        key = after[0] if isinstance(after, tuple) and after else after
        place = None if key is None else (namespace, key)
        return await _NAMESPACE.fetch(self, filters, limit=limit, after=place)

    async def get_all(
        self, *, limit: int | None = None, after: tuple[str, ...] | None = None
    ) -> tuple[tuple[str, str, str, str], ...]:
        place = after[:2] if isinstance(after, tuple) else after
        return await _ALL.fetch(self, {}, limit=limit, after=place)

    async def set(
        self,
        namespace: str,
        key: str,
        value: str,
        updated_at: str,
        *,
        expected_updated_at: str | None = None,
    ) -> bool:
        item = (namespace, key, value, updated_at)
        return await _set(self._session, self._tenant, item, expected_updated_at)

    async def set_many(
        self,
        items: Sequence[tuple[str, str, str, str]],
        *,
        expected_updated_at_map: Mapping[tuple[str, str], str] | None = None,
    ) -> bool:
        items = tuple(items)
        for item in items:
            if len(item) != 4:
                raise InvalidArgumentError(
                    "settings.set_many: an item is (namespace, key, value, updated_at)"
                )
            _check_key("settings.set_many", item[0], item[1])
        place = "settings.set_many: expected_updated_at_map"
        expected = validation.mapping(expected_updated_at_map, place)
        if unknown := expected.keys() - {(item[0], item[1]) for item in items}:
            raise InvalidArgumentError(
                f"{place} names {len(unknown)} keys that are not among the items"
            )
        # In key order, so that two callers with the same keys cannot deadlock.
        items = tuple(sorted(items, key=lambda item: item[:2]))

        async def set_all(session: TransactionScope) -> bool:
            for item in items:
                if not await _set(session, self._tenant, item, expected.get((item[0], item[1]))):
                    session.abandon()
                    return False
            return True

        return await self._session.atomically(set_all)

    async def delete(self, namespace: str, key: str) -> bool:
        _check_key(_DELETE.name, namespace, key)
        return await self._session.execute(_DELETE, (self._tenant, namespace, key)) > 0

    async def delete_namespace(self, namespace: str) -> int:
        validation.not_blank(namespace, f"{_DELETE_NAMESPACE.name}: namespace")
        return await self._session.execute(_DELETE_NAMESPACE, (self._tenant, namespace))

    async def delete_namespace_returning_keys(self, namespace: str) -> tuple[str, ...]:
        validation.not_blank(namespace, f"{_DELETE_RETURNING.name}: namespace")
        rows = await self._session.returning(_DELETE_RETURNING, (self._tenant, namespace))
        return tuple(sorted(row[0] for row in rows))


async def _set(
    session: Session, tenant: str, item: tuple[str, str, str, str], expected: str | None
) -> bool:
    namespace, key, value, updated_at = item
    _check_key(_SET.name, namespace, key)
    validation.text(value, f"{_SET.name}: value")
    validation.text(updated_at, f"{_SET.name}: updated_at")
    arguments = (tenant, namespace, key, value, updated_at)
    if expected is None:
        await session.write(_SET, arguments)
        return True
    validation.text(expected, f"{_SET.name}: expected_updated_at")
    if expected == "":
        return await session.execute(_SET_IF_ABSENT, arguments) > 0
    return await session.execute(_SET_IF_EQUAL, (*arguments, expected)) > 0


def _check_key(name: str, namespace: str, key: str) -> None:
    validation.not_blank(namespace, f"{name}: namespace")
    validation.not_blank(key, f"{name}: key")
