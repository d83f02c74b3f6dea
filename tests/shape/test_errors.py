"""Errors: the tree, what each says, and that every error of a driver is mapped."""

from __future__ import annotations

import inspect
import multiprocessing
import pickle
import re
import sqlite3
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from asyncpg import exceptions as driver

from holdfast import errors
from holdfast.engines.postgres import errors as postgres
from holdfast.engines.sqlite import errors as sqlite
from holdfast.errors import PersistenceError, SerializationFailureError
from holdfast.storage.session import Statement

from . import source, things

ALL: list[type[PersistenceError]] = [getattr(errors, name) for name in errors.__all__]

#: What the keyword-only arguments of an error are made with here.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "ConstraintViolationError": {"constraint": "users.username"},
    "MalformedRowError": {"table": "tasks", "key": ("t",)},
}
RETRYABLE = {
    "CircuitOpenError",
    "DiskFullError",
    "DiskIOError",
    "PersistenceConnectionError",
    "PoolTimeoutError",
    "QueryError",
    "QueryTimeoutError",
    "SerializationFailureError",
}


def drawn(docstring: str) -> dict[str, str | None]:
    """The tree a docstring draws, as the parent of each name."""
    parents: dict[str, str | None] = {}
    path: list[str] = []
    for line in docstring.splitlines():
        found = re.match(r"    ([│ ├└─]*)([A-Z]\w*Error)\b", line)
        if found:
            depth = len(found[1]) // 4
            del path[depth:]
            parents[found[2]] = path[-1] if path else None
            path.append(found[2])
    return parents


def test_the_tree_is_the_one_that_is_drawn() -> None:
    assert errors.__doc__
    parents = drawn(errors.__doc__)
    assert sorted(parents) == errors.__all__
    for cls in ALL:
        bases = [base for base in cls.__bases__ if issubclass(base, PersistenceError)]
        assert [base.__name__ for base in bases] == [parents[cls.__name__]] or (
            cls is PersistenceError and parents["PersistenceError"] is None
        )


def test_a_wrong_tree_is_seen() -> None:
    assert drawn("::\n\n    AError\n    ├── BError   b\n    │   └── CError\n    └── DError") == {
        "AError": None, "BError": "AError", "CError": "BError", "DError": "AError",
    }  # fmt: skip


@pytest.mark.parametrize("cls", ALL)
def test_each_error_says_what_it_is(cls: type[PersistenceError]) -> None:
    assert cls.__doc__
    assert isinstance(cls.is_retryable, bool)
    assert cls.is_retryable == (cls.__name__ in RETRYABLE)
    assert cls.__module__ == "holdfast.errors"


def made(cls: type[PersistenceError]) -> PersistenceError:
    return cls("what went wrong", **ARGUMENTS.get(cls.__name__, {}))


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_travel_between_processes(cls: type[PersistenceError], protocol: int) -> None:
    error = made(cls)
    back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own
    assert type(back) is cls
    assert back.args == error.args
    assert str(back) == "what went wrong"
    for name, value in ARGUMENTS.get(cls.__name__, {}).items():
        assert getattr(back, name) == value


def _fail(name: str) -> None:
    raise made(getattr(errors, name))


def test_a_worker_process_raises_at_home() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for cls in ALL:
            with pytest.raises(cls, match="what went wrong") as caught:
                pool.apply(_fail, (cls.__name__,))
            assert type(caught.value) is cls


# -- PostgreSQL --------------------------------------------------------------------------------


def server_errors() -> Iterator[type[asyncpg.PostgresError]]:
    for cls in vars(driver).values():
        if inspect.isclass(cls) and issubclass(cls, asyncpg.PostgresError):
            yield cls


def test_every_error_of_the_server_is_in_the_table() -> None:
    states = {cls.sqlstate: cls.__name__ for cls in server_errors() if cls.sqlstate}
    assert len(states) > 200
    unmapped = {s for s in states if s not in postgres.ERRORS and s[:2] not in postgres.ERRORS}
    assert {state: states[state] for state in unmapped} == {}


def driver_errors() -> Iterator[BaseException]:
    """An instance of everything asyncpg can raise, and of what it lets through."""
    for cls in vars(driver).values():
        if inspect.isclass(cls) and issubclass(cls, Exception):
            yield cls("secret")
    yield from (OSError("secret"), ConnectionResetError("secret"), EOFError("secret"))
    yield from (TimeoutError("secret"), OverflowError("secret"), ValueError("secret"))
    yield UnicodeEncodeError("utf-8", "secret", 0, 1, "secret")


def anything() -> Statement:
    return next(iter(things.STATEMENTS.values()))


@pytest.mark.parametrize("statement", [None, anything()], ids=["alone", "of a statement"])
def test_no_error_of_asyncpg_comes_through(statement: Statement | None) -> None:
    where = "" if statement is None else f"{statement.name}: "
    for error in driver_errors():
        translated = postgres.translate(error, statement)
        assert type(translated) in ALL, error
        assert "secret" not in str(translated), error
        assert str(translated).startswith(where), error


def of_state(state: str) -> asyncpg.PostgresError:
    error = driver.UnknownPostgresError("secret")
    vars(error)["sqlstate"] = state  # as the driver does for a state it has no class for
    return error


def test_an_unknown_state_is_a_query_error() -> None:
    assert type(postgres.translate(of_state("ZZ999"), None)) is errors.QueryError


@pytest.mark.parametrize(
    ("state", "expected", "lost"),
    [
        ("40P01", errors.SerializationFailureError, False),
        ("40001", errors.SerializationFailureError, False),
        ("40003", errors.OutcomeUnknownError, False),
        ("57014", errors.QueryTimeoutError, False),
        ("57P01", errors.PersistenceConnectionError, True),
        ("08006", errors.PersistenceConnectionError, True),
        ("25006", errors.PersistenceConnectionError, True),
        ("53300", errors.PersistenceConnectionError, False),
        ("22P02", errors.InvalidArgumentError, False),
        ("42P01", errors.QueryError, False),
    ],
)
def test_states_that_callers_act_upon(
    state: str, expected: type[PersistenceError], lost: bool
) -> None:
    error = of_state(state)
    assert type(postgres.translate(error, None)) is expected
    assert postgres.is_lost(error) is lost


def test_a_stale_statement_asks_for_another_try() -> None:
    stale = driver.InvalidCachedStatementError("secret")
    assert type(postgres.translate(stale, None)) is SerializationFailureError
    assert not postgres.is_lost(stale)


# -- SQLite ------------------------------------------------------------------------------------

#: Constants of `sqlite3` that are no result codes: what an authorizer is asked, and its answers.
_ACTIONS = """
    ALTER_TABLE ANALYZE ATTACH CREATE_INDEX CREATE_TABLE CREATE_TEMP_INDEX CREATE_TEMP_TABLE
    CREATE_TEMP_TRIGGER CREATE_TEMP_VIEW CREATE_TRIGGER CREATE_VIEW CREATE_VTABLE DELETE DENY DETACH
    DROP_INDEX DROP_TABLE DROP_TEMP_INDEX DROP_TEMP_TABLE DROP_TEMP_TRIGGER DROP_TEMP_VIEW
    DROP_TRIGGER DROP_VIEW DROP_VTABLE FUNCTION IGNORE INSERT PRAGMA READ RECURSIVE REINDEX
    SAVEPOINT SELECT TRANSACTION UPDATE
"""
_AUTHORIZER = {f"SQLITE_{action}" for action in _ACTIONS.split()}
_NO_ERROR = {"SQLITE_OK", "SQLITE_ROW", "SQLITE_DONE"}


def result_codes() -> dict[str, int]:
    """Primary and extended codes of errors, by name."""
    return {
        name: value
        for name, value in vars(sqlite3).items()
        if name.startswith("SQLITE_")
        and name not in _AUTHORIZER | _NO_ERROR
        and not name.startswith(("SQLITE_LIMIT_", "SQLITE_DBCONFIG_", "SQLITE_OK_"))
    }


def test_every_primary_code_is_in_the_table() -> None:
    primary = {name for name, value in result_codes().items() if value < 256}
    assert len(primary) >= 27
    assert primary - sqlite.ERRORS.keys() == set()


def test_every_extended_code_belongs_to_one_of_the_table() -> None:
    by_value = {value: name for name, value in result_codes().items() if value < 256}
    for name, value in result_codes().items():
        assert name.startswith(by_value[value & 0xFF])


@pytest.mark.parametrize("statement", [None, anything()], ids=["alone", "of a statement"])
def test_no_error_of_sqlite_comes_through(statement: Statement | None) -> None:
    for name, code in result_codes().items():
        error = sqlite3.OperationalError("secret")
        error.sqlite_errorname, error.sqlite_errorcode = name, code
        translated = sqlite.translate(error, statement)
        assert type(translated) in ALL, name
        assert "secret" not in str(translated), name
        assert name in str(translated) or name.startswith("SQLITE_CONSTRAINT")


@pytest.mark.parametrize(
    "error",
    [
        sqlite3.ProgrammingError("secret"),
        sqlite3.InterfaceError("secret"),
        sqlite3.Warning("secret"),
        OverflowError("secret"),
        UnicodeEncodeError("utf-8", "secret", 0, 1, "secret"),
        RuntimeError("secret"),
    ],
)
def test_nor_does_what_has_no_code(error: BaseException) -> None:
    translated = sqlite.translate(error, None)
    assert type(translated) in ALL
    assert "secret" not in str(translated)


@pytest.mark.parametrize("translate", [postgres.translate, sqlite.translate])
@pytest.mark.parametrize("cls", ALL)
def test_an_error_of_our_own_stays_itself(translate: Any, cls: type[PersistenceError]) -> None:
    error = made(cls)
    assert translate(error, None) is error


# -- whether another try can succeed -------------------------------------------------------------

#: By SQLSTATE and result code: what a pause may mend, and what it does not.
PASSING = """
    08006 08001 25006 40001 40P01 53100 53200 53300 55006 55P03 57014 57P01 57P03 58030 XX000
    SQLITE_BUSY SQLITE_BUSY_SNAPSHOT SQLITE_LOCKED SQLITE_FULL SQLITE_IOERR_FSYNC SQLITE_NOMEM
    SQLITE_PROTOCOL SQLITE_SCHEMA
"""
LASTING = """
    22001 23505 25P02 28000 28P01 2BP01 3D000 3F000 40003 42501 42601 42703 42883 42P01 53400 54000
    55000 57P04 P0001 XX001 XX002 HF001 ZZ999
    SQLITE_ERROR SQLITE_CANTOPEN SQLITE_PERM SQLITE_AUTH SQLITE_READONLY SQLITE_READONLY_DBMOVED
    SQLITE_NOTADB SQLITE_CORRUPT SQLITE_TOOBIG SQLITE_INTERRUPT SQLITE_MISUSE SQLITE_CONSTRAINT
"""


@pytest.mark.parametrize(
    ("code", "passing"),
    [(code, codes is PASSING) for codes in (PASSING, LASTING) for code in codes.split()],
)
def test_what_a_pause_may_mend(code: str, passing: bool) -> None:
    translated: PersistenceError
    if code.startswith("SQLITE"):
        error = sqlite3.OperationalError("secret")
        error.sqlite_errorname = code
        translated = sqlite.translate(error, None)
    else:
        translated = postgres.translate(of_state(code), None)
    assert translated.is_retryable is passing
    again = pickle.loads(pickle.dumps(translated))  # noqa: S301 - our own
    assert again.is_retryable is passing


def test_an_answer_of_its_own_belongs_to_one_error() -> None:
    lasting = errors.PersistenceConnectionError("wrong password", is_retryable=False)
    assert not lasting.is_retryable
    assert lasting.args == ("wrong password",)
    assert errors.PersistenceConnectionError("lost").is_retryable
    assert errors.PersistenceConnectionError.is_retryable


def test_no_name_in_a_traceback_is_private() -> None:
    """Nor that of an error which is only the cause of another."""
    names = [
        name
        for module, path in source.MODULES.items()
        if not module.startswith("testing/")
        for name in re.findall(
            r"^ *class (\w+(?:Error|Exception))\b", path.read_text(), re.MULTILINE
        )
    ]
    assert len(names) > 30
    assert [name for name in names if name.startswith("_")] == []
