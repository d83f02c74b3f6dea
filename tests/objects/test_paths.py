"""The search path of whoever writes: nothing that our triggers call is looked up there."""

from __future__ import annotations

import re

import asyncpg
import pytest

from ..conformance.test_records import user
from ..conformance.test_work import task
from ..operations.test_roles import _as, _make, _migrate, prefix
from .opened import ask, opened, run

__all__ = ["prefix"]

RAISE = "LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''captured''; END'"
_FUNCTIONS = """
SELECT proname, oidvectortypes(proargtypes),
  CASE WHEN proretset THEN 'SETOF ' ELSE '' END || prorettype::regtype
FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
AND NOT EXISTS (SELECT FROM pg_type WHERE typtype = 'p' AND oid = ANY (proargtypes || prorettype))
"""
_OPERATORS = """
SELECT oprname, oprleft::regtype, oprright::regtype, oprresult::regtype FROM pg_operator
WHERE oprname = ANY ('{=,<>,<,>,<=,>=,||,+,-}') AND oprkind = 'b'
AND ARRAY[oprleft, oprright] <@ '{text,name,bool,int4,int8}'::regtype[]::oid[]
"""
_BODIES = """
SELECT string_agg(prosrc, ' ') FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype
"""
#: It fits calls better than the one of the server, wherever it stands in the path.
CLOSER = {"hashtextextended(text, int)": "bigint"}
TYPES = ("text", "int8", "bool")
TABLES = ("tasks", "users", "changes")


async def _captures(url: str) -> list[str]:
    """What makes a schema in which whatever our functions use stands once more, and raises."""
    words = set(re.findall(r"\w+", (await ask(url, _BODIES))[0][0]))
    functions = await ask(url, _FUNCTIONS)
    made = {f"{name}({of})": result for name, of, result in functions if name in words} | CLOSER
    statements = ["CREATE SCHEMA mine"]
    statements += [
        f"CREATE FUNCTION mine.{name} RETURNS {result} {RAISE}" for name, result in made.items()
    ]
    for number, (name, left, right, result) in enumerate(await ask(url, _OPERATORS)):
        function = f"mine.operator_{number}"
        statements += [
            f"CREATE FUNCTION {function}({left}, {right}) RETURNS {result} {RAISE}",
            f"CREATE OPERATOR mine.{name} (LEFTARG={left}, RIGHTARG={right}, FUNCTION={function})",
        ]
    check = "CONSTRAINT captured CHECK (false)"
    statements += [f"CREATE DOMAIN mine.{name} AS pg_catalog.{name} {check}" for name in TYPES]
    assert len(statements) > 100
    return [*statements, "GRANT USAGE ON SCHEMA mine TO PUBLIC"]


#: As the application's role, that was given more than `holdfast roles` gives.
SESSION = [
    "SELECT set_config('holdfast.tenant', 'default', false)",
    *(f"CREATE TEMP TABLE {name} AS TABLE public.{name}" for name in TABLES),
    # By the temporary table nothing waits.
    "UPDATE pg_temp.tasks SET status = 'completed'",
    "CREATE TEMP TABLE json (a int)",
    "SET search_path = mine, pg_catalog, public, pg_temp",
]
IS = "id OPERATOR(pg_catalog.=)"
WRITES = {
    "complete": f"UPDATE public.tasks SET status = 'completed' WHERE {IS} 'needed'",
    "mark": f"UPDATE public.tasks SET status = 'created' WHERE {IS} 'waiting'",
    "mark many": f"UPDATE public.tasks SET status = 'created' WHERE {IS} 'many'",
}
WAITS = "SELECT id, waits_for FROM tasks WHERE waits_for IS NOT NULL ORDER BY id"


async def _prepared(url: str, prefix: str) -> str:
    await _make(url, prefix)
    await _migrate(_as(url, f"{prefix}_migrator"))
    async with opened(_as(url, f"{prefix}_migrator")) as backend:
        await backend.record_changes(backend.tasks, backend.users)
        await backend.tasks.save(task("needed", dependencies=()))
        await backend.tasks.save(task("waiting", dependencies=("needed",)))
        await backend.tasks.save(task("many", dependencies=[f"a{n:02}" for n in range(3)]))
        await backend.users.save(user("last", org_roles=("owner",)))
    await run(
        url,
        f"GRANT TEMP ON DATABASE {url.rpartition('/')[2]} TO {prefix}_app",
        *await _captures(url),
    )
    return _as(url, f"{prefix}_app")


async def test_no_trigger_calls_what_stands_in_the_path(
    prefix: str, empty_postgres_url: str
) -> None:
    url = await _prepared(empty_postgres_url, prefix)
    connection = await asyncpg.connect(url)
    try:
        for statement in SESSION:
            await connection.execute(statement)
        for isolation in ("read committed", "repeatable read"):
            for statement in WRITES.values():
                await connection.execute(f"BEGIN ISOLATION LEVEL {isolation}")
                await connection.execute(statement)
                await connection.execute("ROLLBACK")
        with pytest.raises(asyncpg.CheckViolationError, match="ck_users_owner_minimum"):
            await connection.execute("DELETE FROM public.users")
        await connection.execute(WRITES["mark"])
        assert await ask(empty_postgres_url, WAITS) == [("many", "a00"), ("waiting", "needed")]
        await connection.execute(WRITES["complete"])
        assert await ask(empty_postgres_url, WAITS) == [("many", "a00")]
    finally:
        await connection.close()


@pytest.mark.parametrize("write", WRITES)
async def test_without_a_path_of_their_own_they_did(
    prefix: str, empty_postgres_url: str, write: str
) -> None:
    url = await _prepared(empty_postgres_url, prefix)
    functions = ("tasks_mark", "tasks_wake", "tasks_unrecorded")
    await run(
        empty_postgres_url, *(f"ALTER FUNCTION {name}() RESET search_path" for name in functions)
    )
    connection = await asyncpg.connect(url)
    try:
        for statement in SESSION:
            await connection.execute(statement)
        with pytest.raises(asyncpg.PostgresError, match="captured"):
            await connection.execute(WRITES[write])
    finally:
        await connection.close()
