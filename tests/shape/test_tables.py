"""Every table, and how entities lie in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import ColumnCollectionConstraint, CreateTable

from holdfast.entities.base import Entity
from holdfast.schema import metadata
from holdfast.storage.mapping import Mapper
from holdfast.storage.retention import retention_of
from holdfast.storage.tables import EXTRA, foreign_key, index, nullable, store_table, unique
from holdfast.storage.types import STRING, JsonText, Timestamp

from . import things

TABLES = sorted(metadata.tables.values(), key=lambda table: table.name)

#: Columns that are neither a field nor computed by a mapper, with what writes them.
OF_THE_DATABASE = {
    "artifacts": {"save_count"},
    "org_facts_snapshot": {"retracted_at"},
    "project_cost_aggregates": {"cost_remainder"},
    "tasks": {"waits_for"},
}

#: Tables that hold no entity of their own: texts, and rows that other rows are found by.
WITHOUT_ENTITY = {"changes", "custom_presets", "settings", "workflow_execution_tasks"}


def without_tenant(table: Table) -> Iterator[str]:
    """Keys, rules and indexes of a table that do not begin with the tenant."""
    for item in (*table.constraints, *table.indexes):
        if isinstance(item, CheckConstraint):  # it looks at one row
            continue
        assert isinstance(item, Index | ColumnCollectionConstraint)
        columns = [column.name for column in item.columns]
        if columns[:1] != ["tenant"]:
            yield str(item.name or type(item).__name__)
        if isinstance(item, ForeignKeyConstraint):
            target = item.elements[0].target_fullname
            if not target.endswith(".tenant"):
                yield f"{item.name} -> {target}"


def unaccounted(mapper: Mapper[BaseModel]) -> tuple[set[str], set[str]]:
    """Fields without a column, and columns nothing fills."""
    table = mapper.table
    columns = set(table.c.keys()) - {"tenant", EXTRA} - OF_THE_DATABASE.get(table.name, set())
    fields = set(mapper.entity.model_fields)
    return fields - columns, columns - fields - (set(mapper.parameters) - set(mapper.fields))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_tenant_leads_every_key_and_index(table: Table) -> None:
    assert next(iter(table.c)).name == "tenant"
    assert not table.c.tenant.nullable
    assert list(without_tenant(table)) == []
    assert tuple(table.primary_key.columns.keys()) == ("tenant", *table.info["key"])


def test_a_table_that_breaks_the_rule_is_seen() -> None:
    broken = Table(
        "broken", MetaData(), Column("id", String, primary_key=True), Column("tenant", String),
        UniqueConstraint("id", "tenant", name="uq"),
        ForeignKeyConstraint(["tenant", "id"], ["other.id", "other.tenant"], name="fk"),
    )  # fmt: skip
    assert len(list(without_tenant(broken))) == 3


def test_what_builds_tables_puts_the_tenant_first() -> None:
    table = store_table(
        "shape_of_a_table", nullable("a", STRING), unique("uq_shape", "a"),
        index("ix_shape", "a"), foreign_key("a", "users.id", ondelete="CASCADE"), key=("a",),
    )  # fmt: skip
    metadata.remove(table)
    assert list(without_tenant(table)) == []


def test_what_a_generated_migration_repeats_is_the_key_alone() -> None:
    """It writes down `Table.info` as it is, and imports nothing for that."""
    assert [table.name for table in TABLES if table.info != {"key": table.info["key"]}] == []
    assert any(retention_of(table) is not None for table in TABLES)


def test_every_table_has_a_repository() -> None:
    used = {statement.table.name for statement in things.STATEMENTS.values()}
    assert used == set(metadata.tables) - {"changes"}  # read by `holdfast.changes`
    mapped = {mapper.table.name for mapper in things.MAPPERS}
    assert set(metadata.tables) - mapped == WITHOUT_ENTITY


@pytest.mark.parametrize("mapper", things.MAPPERS, ids=lambda mapper: mapper.table.name)
def test_every_field_has_a_column_and_every_column_a_source(mapper: Mapper[BaseModel]) -> None:
    assert unaccounted(mapper) == (set(), set())
    derived = set(mapper.parameters) - set(mapper.fields) - {"tenant", EXTRA}
    assert derived == set(mapper._derived)
    assert derived <= set(mapper.table.c.keys())


def test_a_field_without_a_column_is_seen() -> None:
    class Wide(Entity):
        id: str
        novel: str

    table = Table("narrow", MetaData(), Column("tenant", String), Column("id", String),
                  Column("lonely", String))  # fmt: skip
    assert unaccounted(Mapper(table, Wide)) == ({"novel"}, {"lonely"})


@pytest.mark.parametrize("mapper", things.MAPPERS, ids=lambda mapper: mapper.table.name)
def test_a_column_is_optional_where_its_field_is(mapper: Mapper[BaseModel]) -> None:
    for name in mapper.fields:
        column = mapper.table.c[name]
        field = mapper.entity.model_fields[column.name]
        assert column.nullable == (type(None) in getattr(field.annotation, "__args__", ())), column


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_text_compares_by_code_point_and_times_are_instants(table: Table) -> None:
    on_postgres = str(CreateTable(table).compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    on_sqlite = str(CreateTable(table).compile(dialect=sqlite.dialect()))
    for column in table.columns:
        name = column.name if column.name not in ("to", "timestamp", "key") else ""
        if column.type is STRING or isinstance(column.type, type(STRING)):
            assert f'{name} TEXT COLLATE "C"' in on_postgres.replace('"to"', "")
        if isinstance(column.type, Timestamp):
            assert "TIMESTAMP WITH TIME ZONE" in on_postgres
        if isinstance(column.type, Timestamp | JsonText):
            assert "TIMESTAMP" not in on_sqlite
            assert "JSON" not in on_sqlite


def test_names_fit_both_engines() -> None:
    """PostgreSQL cuts names at 63 bytes, silently."""
    for table in TABLES:
        for item in (table, *table.constraints, *table.indexes):
            name = getattr(item, "name", None)
            assert isinstance(name, str)
            assert len(name) <= 63
