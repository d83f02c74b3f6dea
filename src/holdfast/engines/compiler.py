"""A statement becomes SQL, arguments and row readers, once per dialect.

SQLAlchemy compiles; nothing of it is left on the path of a call but the converters of the types
that need one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from itertools import count
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Dialect,
    Insert,
    Integer,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.types import NullType

from holdfast.errors import InvalidArgumentError
from holdfast.storage.session import Row, Statement
from holdfast.storage.tables import TENANT
from holdfast.storage.types import Timestamp, is_storable

__all__ = ["CompiledStatement", "Compiler", "tenant_of"]

Converter = Callable[[Any], Any]

#: What a statement's parameter for the tenant may be called.
_TENANTS = ("tenant", "new_tenant")


def tenant_of(statement: Statement) -> int | None:
    """The place of the tenant among the arguments; ``None`` if the statement names none."""
    places = [n for n, name in enumerate(statement.parameters) if name in _TENANTS]
    return places[0] if places else None


class CompiledStatement:
    """SQL of one dialect; ``bind`` orders and converts arguments, ``read`` converts a row."""

    __slots__ = ("bind", "number", "read", "sql")

    def __init__(self, number: int, statement: Statement, compiled: SQLCompiler) -> None:
        #: Unlike that of every other statement of the compiler.
        self.number = number
        self.sql = compiled.string
        _check_types(statement, compiled)
        self.bind = _binder(statement, compiled)
        self.read = _reader(statement, compiled)


class Compiler:
    """Compiles each statement once; engines that speak alike share one.

    ``bind`` makes of a tenant SQL that names him to the database, answers a text and lasts as long
    as the transaction. With it every statement names its tenant itself, before it looks at a row.
    """

    def __init__(
        self,
        dialect: Dialect,
        bind: Callable[[ColumnElement[Any]], ColumnElement[str]] | None = None,
    ) -> None:
        self._dialect = dialect
        self._bind = bind
        self._numbers = count()
        self._compiled: dict[Statement, CompiledStatement] = {}
        self._many: dict[Statement, str] = {}
        self._readable: dict[Statement, Statement] = {}

    def __call__(self, statement: Statement) -> CompiledStatement:
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = CompiledStatement(
                next(self._numbers),
                statement,
                self._compile(self._naming(statement), statement.parameters),
            )
        return compiled

    def many(self, statement: Statement) -> str:
        """The SQL that answers many calls of a statement at once; see `_over_arrays`."""
        sql = self._many.get(statement)
        if sql is None:
            sql = self._many[statement] = self._over_arrays(statement)
        return sql

    def as_text(self, statement: Statement) -> Statement:
        """The read with its times as text, for those that Python's years cannot tell.

        Its rows come in the same order.
        """
        readable = self._readable.get(statement)
        if readable is None:
            rows = self._naming(statement).subquery("r")
            columns = (
                _as_text(each) if isinstance(each.type, Timestamp) else each for each in rows.c
            )
            readable = self._readable[statement] = Statement(
                statement.name, select(*columns), statement.parameters, statement.table
            )
        return readable

    def _naming(self, statement: Statement) -> Any:
        """The statement's expression, naming its tenant where that is asked for."""
        place = tenant_of(statement)
        if self._bind is None or place is None:
            return statement.expression
        expression, column = statement.expression, statement.table.c[TENANT]
        tenant = self._bind(BindParameter(statement.parameters[place], type_=column.type))
        if isinstance(expression, Insert):
            # The row is put together before its policy looks at it. (Not inline, SQLAlchemy would
            # have the key answered, which it does not know beforehand.)
            return expression.values({TENANT: tenant}).inline()
        return _gated(expression, tenant)

    def _compile(self, expression: Any, parameters: tuple[str, ...]) -> SQLCompiler:
        keys = list(parameters) if isinstance(expression, Insert) else None
        compiled = expression.compile(dialect=self._dialect, column_keys=keys)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101
        return compiled

    def _over_arrays(self, statement: Statement) -> str:
        """The statement with an array per parameter, one element per call.

        A read answers rows that end in ``n``, the position (from 1) of the call they belong to. The
        ``OFFSET 0`` keeps the planner from turning one index look-up per call into a join over
        the whole table when it does not know the table's size yet. Where statements name their
        tenant, all the calls are one tenant's.
        """
        expression = statement.expression
        types = _parameter_types(statement)
        arrays = func.unnest(*(BindParameter(n, type_=ARRAY(t)) for n, t in types.items()))
        calls = arrays.table_valued(
            *(column(n, t) for n, t in types.items()), with_ordinality="n"
        ).render_derived()
        many: Any
        if isinstance(expression, Insert):
            many = select(*(calls.c[n] for n in types))
        else:

            def from_calls(element: Any, **_: Any) -> Any:
                return calls.c[element.key] if isinstance(element, BindParameter) else None

            one = visitors.replacement_traverse(expression, {}, from_calls)
            rows = one.offset(literal_column("0")).lateral("r")
            many = select(*rows.c, calls.c.n).select_from(calls.join(rows, true()))
        place = tenant_of(statement)
        if self._bind is not None and place is not None:
            name = statement.parameters[place]
            array = Grouping(BindParameter(name, type_=ARRAY(types[name])))
            many = _gated(many, self._bind(array[literal_column("1")]))
        if isinstance(expression, Insert):
            many = expression.from_select(list(types), many)
        compiled = self._compile(many, ())
        if compiled.positiontup != list(types):  # pragma: no cover - a guard for new statements
            raise AssertionError(f"{statement.name}: arrays out of order: {compiled.positiontup}")
        return compiled.string


def _check_types(statement: Statement, compiled: SQLCompiler) -> None:
    """Refuse a parameter that would be converted for a call on its own, and not in a batch."""
    for name in compiled.binds.keys() & set(statement.parameters):
        type_ = compiled.binds[name].type
        if not (is_storable(type_) or type(type_) in _WITHOUT_CONVERTER):
            raise InvalidArgumentError(
                f"{statement.name}: the parameter {name} has the type {type(type_).__name__}, "
                "whose values would not always be converted; give it the column's type, and "
                "convert the argument"
            )


_WITHOUT_CONVERTER = frozenset({Text, String, Integer, SmallInteger, NullType})


class _TimeText(TypeDecorator[Any]):
    """A time as ISO 8601; what no year of Python's tells stays text."""

    impl = Text
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:
        return datetime.fromisoformat


def _as_text(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    # Through JSON, whose form of a time depends on no setting.
    text = func.to_json(moment).op("#>>", return_type=_TimeText())(literal_column("'{}'"))
    return text.label(moment.key)


def _gated(expression: Any, tenant: ColumnElement[str]) -> Any:
    """The expression behind a condition that holds of no row in particular.

    PostgreSQL looks at such a condition once, above everything that reads rows.
    """
    return expression.where(select(tenant).scalar_subquery().is_not(None))


def _parameter_types(statement: Statement) -> dict[str, Any]:
    if isinstance(statement.expression, Insert):
        return {name: statement.table.c[name].type for name in statement.parameters}
    found: dict[str, Any] = {}
    for element in visitors.iterate(statement.expression):
        if isinstance(element, BindParameter):
            found[element.key] = element.type
    return {name: found[name] for name in statement.parameters}


def _binder(
    statement: Statement, compiled: SQLCompiler
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    names = compiled.positiontup or []
    # Values a dialect puts in itself, such as SQLite's OFFSET 0, stand behind the arguments.
    constants = [n for n in names if n not in statement.parameters]
    places = (*statement.parameters, *constants)
    values = tuple(compiled.binds[name].value for name in constants)
    order = [places.index(name) for name in names]
    converters: list[tuple[int, Converter]] = []
    for position, name in enumerate(names):
        type_ = compiled.binds[name].type
        convert = type_.dialect_impl(compiled.dialect).bind_processor(compiled.dialect)
        if convert is not None:
            converters.append((position, convert))
    arrange: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    if order == list(range(len(statement.parameters))):
        arrange = _unchanged
    elif constants:
        pick = itemgetter(*order) if len(order) > 1 else _single(order[0])
        arrange = lambda arguments: pick(arguments + values)  # noqa: E731
    elif len(order) > 1:
        arrange = itemgetter(*order)
    else:
        arrange = _single(order[0]) if order else _nothing
    if not converters:
        return arrange

    def bind(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(arrange(arguments))
        for position, convert in converters:
            value = values[position]
            if value is not None:
                values[position] = convert(value)
        return tuple(values)

    return bind


def _reader(statement: Statement, compiled: SQLCompiler) -> Callable[[Row], Row] | None:
    columns = getattr(statement.expression, "exported_columns", None)
    if columns is None:
        columns = getattr(statement.expression, "_returning", ())
    converters: list[tuple[int, Converter]] = []
    for position, element in enumerate(columns or ()):
        # Of the plain types only booleans need one; numbers come as what the driver makes of them.
        if not isinstance(element.type, TypeDecorator | Boolean):
            continue
        type_ = element.type.dialect_impl(compiled.dialect)
        convert = type_.result_processor(compiled.dialect, None)
        if convert is not None:
            converters.append((position, convert))
    if not converters:
        return None

    def read(row: Row) -> Row:
        values = list(row)
        for position, convert in converters:
            value = values[position]
            if value is not None:
                # A damaged value stays as it is: the entity refuses it, and names the row.
                with contextlib.suppress(ValueError, TypeError):
                    values[position] = convert(value)
        return values

    return read


def _unchanged(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return arguments


def _nothing(_: tuple[Any, ...]) -> tuple[Any, ...]:
    return ()


def _single(index: int) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    return lambda arguments: (arguments[index],)
