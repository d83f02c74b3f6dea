"""The few SQL functions that the engines spell differently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Integer, TableValuedAlias, Text, column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

__all__ = ["HERE", "json_texts", "position", "whole"]

#: PostgreSQL's number for the schema that a connection of `Engine.run_sync` works in, and no other.
HERE = "(SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = current_schema())"


class holdfast_json_texts(GenericFunction[Any]):  # noqa: N801 - SQL functions are lower case
    """The elements of a JSON array of texts, as rows of one column, ``value``.

    None of what is no array, in a damaged row: whoever reads that row says so.
    """

    inherit_cache = True


@compiles(holdfast_json_texts, "sqlite")
def _sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    array = compiler.function_argspec(element, **options)
    return f"json_each(CASE WHEN json_valid{array} THEN {array} ELSE '[]' END)"


@compiles(holdfast_json_texts, "postgresql")
def _postgresql(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    array = compiler.function_argspec(element, **options)
    return (
        f"json_array_elements_text(CASE json_typeof{array} WHEN 'array' THEN {array} ELSE '[]' END)"
    )


def json_texts(array: ColumnElement[Any], name: str) -> TableValuedAlias:
    """The elements of a JSON array of texts as a table of one column, ``value``."""
    return holdfast_json_texts(array).table_valued(column("value", Text)).alias(name)


class holdfast_position(GenericFunction[int]):  # noqa: N801
    """Where a text begins in another one, in characters from 1; 0 if it does not."""

    type = Integer()
    inherit_cache = True


@compiles(holdfast_position, "sqlite")
def _instr(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr{compiler.function_argspec(element, **options)}"


@compiles(holdfast_position, "postgresql")
def _strpos(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"strpos{compiler.function_argspec(element, **options)}"


def position(text: ColumnElement[Any], part: ColumnElement[Any]) -> ColumnElement[int]:
    """Where ``part`` begins in ``text``, in characters from 1; 0 if it does not."""
    return holdfast_position(text, part)


class holdfast_whole(GenericFunction[int]):  # noqa: N801
    """A number from 0 without what lies behind the point."""

    type = BigInteger()
    inherit_cache = True


@compiles(holdfast_whole, "sqlite")
def _cut(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS INTEGER)"


@compiles(holdfast_whole, "postgresql")
def _trunc(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    # A cast alone rounds.
    return f"CAST(trunc({compiler.process(element.clauses, **options)}) AS BIGINT)"


def whole(number: ColumnElement[Any]) -> ColumnElement[int]:
    """``number``, from 0 to below 2**63, without what lies behind the point."""
    return holdfast_whole(number)
