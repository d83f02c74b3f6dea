"""Backup and restore through the programs that come with PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.namespace import OURS
from holdfast.errors import BackupError

__all__ = ["count", "dump", "load"]

#: Those for OpenSSL say where the authorities are.
_PASSED_ON = ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR")

_EMPTY = """
SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^(pg_|information_schema$)'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""


async def dump(
    config: PostgresConfig,
    connection: asyncpg.Connection[Any],
    target: Path,
    tables: Sequence[str],
) -> Mapping[str, int]:
    """Write pg_dump's custom format; rows are counted in the snapshot that is dumped."""
    program = await _program("pg_dump", connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
        rows = await count(config, connection, tables)
        await _run(
            config, connection, program, "--format=custom", f"--file={_place(target)}",
            f"--snapshot={snapshot}", "--no-owner", "--no-privileges", _named(config.database),
        )  # fmt: skip
    return rows


async def load(config: PostgresConfig, connection: asyncpg.Connection[Any], source: Path) -> None:
    """Run pg_restore in one transaction, into a database without tables."""
    program = await _program("pg_restore", connection)
    if await connection.fetchval(_EMPTY):
        raise BackupError(
            "the database is not empty: restore into a new one (createdb), then let the "
            "application use that"
        )
    with TemporaryDirectory() as folder:
        contents = Path(folder) / "contents"
        await _run(config, connection, program, "--list", f"--file={contents}", _place(source))
        contents.write_bytes(_without_schema(contents.read_bytes(), str(config.schema_name)))
        await _run(
            config, connection, program, "--exit-on-error", "--single-transaction", "--no-owner",
            "--no-privileges", f"--use-list={contents}", _named(config.database), _place(source),
        )  # fmt: skip


def _without_schema(contents: bytes, schema: str) -> bytes:
    """A list of `pg_restore` without the line that makes a schema, which is there already.

    Such as ``6; 2615 16385 SCHEMA - holdfast postgres``, with blanks for line ends in the name.
    """
    name = re.escape(re.sub("[\r\n]", " ", schema).encode())
    return re.sub(rb"(?m)^\d+; \d+ \d+ SCHEMA - " + name + rb" .*\n", b"", contents)


async def count(
    config: PostgresConfig, connection: asyncpg.Connection[Any], tables: Sequence[str]
) -> Mapping[str, int]:
    stored = await connection.fetch(
        "SELECT relname::text AS name, format('%I.%I', $1::text, relname) AS qualified"  # noqa: S608
        f" FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = {OURS}"
        " AND relname = ANY($2::text[])",
        config.schema_name,
        list(tables),
    )
    return {
        row["name"]: await connection.fetchval(f"SELECT count(*) FROM {row['qualified']}")  # noqa: S608
        for row in stored
    }


def _named(database: str) -> str:
    """The option that names a database to libpq's programs.

    libpq takes a bare name with "=" in it, or one that begins as a URL does, for a whole connection
    string, and the programs take one with a leading "-" for an option.
    """
    quoted = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"--dbname=dbname='{quoted}'"


def _place(file: Path) -> str:
    """A file's path, which no program takes for an option."""
    return str(file.absolute())


async def _program(name: str, connection: asyncpg.Connection[Any]) -> str:
    """The program's path; it must not be older than the server."""
    path = shutil.which(name)
    wanted = connection.get_server_version().major
    if path is None:
        raise BackupError(
            f"{name} is not installed: install PostgreSQL's client programs, version {wanted} or "
            "newer, or use `holdfast tenant export`"
        )
    process = await asyncio.create_subprocess_exec(
        path, "--version", stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    found = re.search(rb"(\d+)", said.partition(b")")[2])
    if found is None or int(found[1]) < wanted:
        raise BackupError(
            f"{name} is of version {found[1].decode() if found else '?'} and the server of version "
            f"{wanted}: put a newer one first in PATH, or use `holdfast tenant export`"
        )
    return path


async def _run(
    config: PostgresConfig, connection: asyncpg.Connection[Any], program: str, *arguments: str
) -> None:
    """Run a program against the server of the connection; never with the password in its
    arguments, which every user of the machine can read."""
    host, port = _address(config, connection)
    environment = {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "PGHOST": host,
        "PGPORT": str(port),
        "PGUSER": config.username,
        "PGPASSWORD": config.password.get_secret_value(),
        "PGSSLMODE": config.effective_ssl_mode,
        "PGAPPNAME": config.application_name,
        "PGCONNECT_TIMEOUT": str(max(2, round(config.connect_timeout_seconds))),
    }
    if (authorities := _authorities(config)) is not None:
        environment["PGSSLROOTCERT"] = authorities
    process = await asyncio.create_subprocess_exec(
        program, "--no-password", *arguments, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, complaint = await process.communicate()
    except BaseException:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        reason = complaint.decode(errors="replace").strip().splitlines()
        raise BackupError(f"{Path(program).name} failed: {reason[0] if reason else 'no reason'}")


def _authorities(config: PostgresConfig) -> str | None:
    """Whom libpq is to trust, so that it is those whom the connection trusts."""
    if config.ssl_root_cert is not None:
        return str(config.ssl_root_cert)
    if config.effective_ssl_mode == "verify-full":
        return "system"
    if config.effective_ssl_mode == "verify-ca":  # for which libpq refuses "system"
        authorities = ssl.get_default_verify_paths().cafile
        if authorities is None:
            raise BackupError(
                "the authorities of this system are in no one file, which ssl_mode=verify-ca needs "
                "here: name one with ssl_root_cert, or use ssl_mode=verify-full"
            )
        return authorities
    return None


def _address(config: PostgresConfig, connection: asyncpg.Connection[Any]) -> tuple[str, int]:
    """Where the connection went: of several hosts, the one that answered."""
    address = connection._addr  # type: ignore[attr-defined]
    if isinstance(address, str):  # a socket: DIRECTORY/.s.PGSQL.PORT
        directory, _, name = address.rpartition("/")
        if "," in directory:
            raise BackupError(
                f"the socket's directory {directory} has a comma in its name, which libpq reads as "
                "a list of hosts: connect by 127.0.0.1, or rename the directory"
            )
        return directory, int(name.rpartition(".")[2])
    host, port = address[:2]
    return str(host), int(port)
