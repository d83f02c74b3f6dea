"""Stored personality presets."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from sqlalchemy import func

from holdfast import validation
from holdfast.entities import PresetListRow, PresetRow
from holdfast.errors import InvalidArgumentError
from holdfast.schema.presets import custom_presets
from holdfast.storage.explaining import insist_on_texts
from holdfast.storage.listing import Listing
from holdfast.storage.repository import Repository, provide
from holdfast.storage.session import Row
from holdfast.storage.statements import delete_by, select_by, upsert
from holdfast.storage.tables import TENANT

__all__ = ["PersonalityPresetRepository", "PresetRepositories"]


@runtime_checkable
class PersonalityPresetRepository(Protocol):
    """Presets by name; every value is a text that comes back as it was given."""

    async def save(
        self, name: str, config_json: str, description: str, created_at: str, updated_at: str
    ) -> None:
        """Save a preset: insert it, or replace the one of this name.

        ``created_at`` keeps its first value. ``config_json`` must not be empty; it is not
        interpreted.
        """

    async def get(self, name: str) -> PresetRow | None:
        """Return the preset of this name; ``None`` if there is none."""

    async def list_all(
        self, *, limit: int | None = None, after: PresetListRow | str | None = None
    ) -> tuple[PresetListRow, ...]:
        """Return the presets in order of name.

        ``after`` is the last row seen, or its name.
        """

    async def delete(self, name: str) -> bool:
        """Delete the preset; False if there is none."""

    async def count(self) -> int:
        """Count the presets."""


class PresetRepositories(Protocol):
    """The repositories of this module, as a backend or a transaction offers them."""

    @property
    def custom_presets(self) -> PersonalityPresetRepository:
        """Personality presets by name."""
        return provide(self, _CustomPresets)


_PARAMETERS = (TENANT, "name", "config_json", "description", "created_at", "updated_at")
_COLUMNS = tuple(custom_presets.c[name] for name in PresetRow._fields)

_SAVE = upsert("custom_presets.save", custom_presets, _PARAMETERS, keep=("created_at",))
_GET = select_by("custom_presets.get", custom_presets, _COLUMNS, ("name",))
_DELETE = delete_by("custom_presets.delete", custom_presets, ("name",))


def _list_row(row: Row) -> PresetListRow:
    insist_on_texts(custom_presets, PresetListRow._fields, row, tuple(row[:1]))
    return PresetListRow(*row[: len(PresetListRow._fields)])


_LIST = Listing(
    "custom_presets.list_all",
    custom_presets,
    (custom_presets.c.name, *_COLUMNS),
    _list_row,
    order=("name",),
)
_COUNT = Listing(
    "custom_presets.count",
    custom_presets,
    (func.count().label("presets"),),
    lambda row: int(row[0]),
    order=(),
)


class _CustomPresets(Repository, PersonalityPresetRepository):
    table = custom_presets

    async def save(
        self, name: str, config_json: str, description: str, created_at: str, updated_at: str
    ) -> None:
        given = (name, config_json, description, created_at, updated_at)
        for parameter, value in zip(_PARAMETERS[1:], given, strict=True):
            validation.text(value, f"{_SAVE.name}: {parameter}")
        validation.not_blank(name, f"{_SAVE.name}: name")
        if not config_json:
            raise InvalidArgumentError(f"{_SAVE.name}: config_json must not be empty")
        await self._session.write(_SAVE, (self._tenant, *given))

    async def get(self, name: str) -> PresetRow | None:
        validation.not_blank(name, f"{_GET.name}: name")
        row = await self._session.get(_GET, (self._tenant, name))
        if row is None:
            return None
        insist_on_texts(custom_presets, PresetRow._fields, row, (name,))
        return PresetRow(*row[: len(PresetRow._fields)])

    async def list_all(
        self, *, limit: int | None = None, after: PresetListRow | str | None = None
    ) -> tuple[PresetListRow, ...]:
        place = after.name if isinstance(after, PresetListRow) else after
        return await _LIST.fetch(self, {}, limit=limit, after=place)

    async def delete(self, name: str) -> bool:
        validation.not_blank(name, f"{_DELETE.name}: name")
        return await self._session.execute(_DELETE, (self._tenant, name)) > 0

    async def count(self) -> int:
        return (await _COUNT.fetch(self, {}, limit=1))[0]
