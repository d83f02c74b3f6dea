"""A table has no column whose values would be converted for some calls and not for others."""

from __future__ import annotations

import asyncio
import enum
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from holdfast import InvalidArgumentError, create_backend
from holdfast.backend.core import Backend
from holdfast.extending import (
    FLAG,
    INTEGER,
    REAL,
    STRING,
    TENANT,
    Entity,
    Extension,
    JsonText,
    Keyed,
    Repository,
    Timestamp,
    column,
    new_metadata,
    store_table,
    where_equal,
)
from holdfast.storage.session import Statement
from holdfast.storage.types import is_storable
from holdfast.testing.databases import connected

from .things import make, notes_table, written


class Mood(enum.StrEnum):
    CALM = "c"


class Upper(sa.TypeDecorator[str]):
    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return value and value.upper()


class Padded(sa.TypeDecorator[str]):
    """Converts on reading alone."""

    impl = sa.Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return f" {value} "


class Wrapped(sa.TypeDecorator[str]):
    """Converts in SQL."""

    impl = sa.Text
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        return sa.func.upper(bindparam)


class Loud(sa.BigInteger):
    def bind_processor(self, dialect: sa.Dialect) -> Any:
        return lambda value: value + 1


class Own(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TEXT"


REFUSED: list[TypeEngine[Any]] = [
    Upper(), Padded(), Wrapped(), Loud(), Own(), sa.Enum(Mood), sa.Enum("a", "b"), sa.Interval(),
    sa.Uuid(), sa.Uuid(as_uuid=False), sa.UUID(), sa.LargeBinary(), sa.Numeric(10, 2),
    sa.Numeric(asdecimal=False), sa.Float(), sa.Float(asdecimal=True), sa.Double(asdecimal=True),
    sa.DateTime(), sa.DateTime(timezone=True), sa.TIMESTAMP(timezone=True), sa.Date(), sa.Time(),
    sa.JSON(), sa.JSON(none_as_null=True), sa.PickleType(), sa.ARRAY(sa.Text), sa.Integer(),
    sa.SmallInteger(), sa.String(20), sa.Text(), sa.Unicode(), sa.types.NullType(),
    sa.BigInteger().with_variant(Loud(), "postgresql"),
    sa.Boolean().with_variant(Upper(), "sqlite"),
    postgresql.JSONB(), postgresql.INET(), postgresql.ENUM("a", name="e"), postgresql.BYTEA(),
    postgresql.TIMESTAMP(timezone=True), postgresql.TSVECTOR(), sqlite.JSON(),
]  # fmt: skip
TAKEN: list[TypeEngine[Any]] = [
    STRING, INTEGER, REAL, FLAG, JsonText(), Timestamp(), sa.BigInteger(), sa.Double(),
    sa.Boolean(), sa.Boolean(create_constraint=True, name="b"),
]  # fmt: skip


def _named(type_: Any) -> str:
    return type(type_).__name__


@pytest.mark.parametrize("type_", REFUSED, ids=_named)
def test_other_types_are_refused_when_the_table_is_declared(type_: Any) -> None:
    metadata = new_metadata()
    with pytest.raises(InvalidArgumentError) as refused:
        store_table("pad", column("id", STRING), column("odd", type_), key=("id",),
                    metadata=metadata)  # fmt: skip
    for said in ("pad.odd", _named(type_), "STRING, INTEGER, REAL, FLAG, JsonText() or Timestamp"):
        assert said in str(refused.value)
    assert not metadata.tables  # so that the next one can have the name


@pytest.mark.parametrize("type_", TAKEN, ids=_named)
def test_those_of_the_kit_are_taken(type_: Any) -> None:
    metadata = new_metadata()
    store_table("pad", column("id", STRING), column("even", type_), key=("id",), metadata=metadata)
    assert is_storable(type_)


@pytest.mark.parametrize("type_", [Upper(), sa.Enum(Mood), sa.DateTime()], ids=_named)
def test_a_table_made_by_hand_or_changed_since(tmp_path: Path, type_: Any) -> None:
    by_hand = sa.Table(
        "by_hand", new_metadata(), sa.Column("tenant", STRING, primary_key=True),
        sa.Column("id", STRING, primary_key=True), sa.Column("odd", type_), info={"key": ("id",)},
    )  # fmt: skip
    with pytest.raises(InvalidArgumentError, match=r"extension pad: by_hand\.odd has the type"):
        Extension("pad", by_hand.metadata, (), tmp_path)
    table = notes_table("pad_notes", new_metadata())
    extension = Extension("pad", table.metadata, (), tmp_path)
    table.append_column(sa.Column("late", type_))
    with pytest.raises(InvalidArgumentError, match=r"extension pad: pad_notes\.late has the type"):
        create_backend("sqlite:///:memory:", extensions=[extension])
    with pytest.raises(InvalidArgumentError, match=r"extension pad: pad_notes\.late has the type"):
        Extension("pad", table.metadata, (), tmp_path)


async def test_a_converted_parameter_is_refused_by_both_engines(url: str, tmp_path: Path) -> None:
    """A statement's own, where the column has none."""
    extension = make(tmp_path)
    table = extension.metadata.tables["pad_notes"]
    await written(extension)

    def read(type_: TypeEngine[Any]) -> Statement:
        wanted = table.c.text == sa.bindparam("wanted", type_=type_)
        expression = sa.select(table.c.id).where(*where_equal(table, ()), wanted)
        return Statement("pad_notes.find", expression, (TENANT, "wanted"), table)

    async with connected(create_backend(url, extensions=[extension])) as backend:
        await backend.migrate()
        assert isinstance(backend, Backend)
        engine = backend._core.engine
        wrong: list[tuple[TypeEngine[Any], Any]] = [
            (Upper(), "a"), (sa.Enum(Mood), Mood.CALM), (sa.Interval(), timedelta(1)),
            (sa.Numeric(), Decimal(1)), (sa.LargeBinary(), b"a"),
        ]  # fmt: skip
        for type_, value in wrong:
            with pytest.raises(InvalidArgumentError, match=r"pad_notes\.find: the parameter wa"):
                await engine.fetch(read(type_), ("t", value), at_most=1)
        for plain in (STRING, sa.Text(), sa.String()):
            assert list(await engine.fetch(read(plain), ("t", "a"), at_most=1)) == []


async def test_a_value_is_stored_alike_alone_and_in_company(url: str, tmp_path: Path) -> None:
    """What an entity converts is converted always."""

    class Word(Entity):
        id: str
        text: str
        mood: Mood = Mood.CALM

    metadata = new_metadata()

    class Words(Repository):
        table = store_table("words", column("id", STRING), column("text", STRING),
                            column("mood", STRING), key=("id",), metadata=metadata)  # fmt: skip
        _words = Keyed(table, Word)

        async def save(self, word: Word) -> None:
            await self._words.save(self, word)

        async def get(self, key: str) -> Word | None:
            return await self._words.get(self, key)

    (tmp_path / "words").mkdir()
    extension = Extension("words", metadata, (Words,), tmp_path / "words")
    await written(extension)
    async with connected(create_backend(url, extensions=[extension])) as backend:
        await backend.migrate()
        words = backend.repository(Words)
        many = [Word(id=f"w{number}", text="Word") for number in range(20)]
        await words.save(many[0])
        await asyncio.gather(*(words.save(word) for word in many[1:]))
        assert [await words.get(word.id) for word in many] == many
        assert list(await asyncio.gather(*(words.get(word.id) for word in many))) == many
