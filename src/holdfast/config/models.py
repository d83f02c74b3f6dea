"""The settings of each engine, and the rules they share."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

SSLMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

_MIB = 1024 * 1024
BACKENDS = ("postgres", "sqlite")


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def _one_word(text: str) -> str:
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("must not contain whitespace or control characters")
    return text


def _meant(text: str) -> str:
    """Refuse what would be taken for the name of a file, and is not meant as one."""
    if text == ":memory:":
        return text
    if text != text.strip():
        raise ValueError("must not begin or end with a blank")
    if text.startswith("~"):
        # Not meant by all who read the configuration: a service may have no home, or another one.
        home = os.path.expanduser("~")  # noqa: PTH111 - which raises where there is none
        place = f" ({home})" if text.startswith(("~/", "~\\")) and home != "~" else ""
        raise ValueError(
            f"'~' is not expanded: write the directory in full{place}, or ./~ where it is a name"
        )
    if text.startswith("file:"):
        raise ValueError("must be a path, not a URI: leave out 'file:' and what follows '?'")
    name = PureWindowsPath(text).name
    if name.strip(":").lower() == "memory" and (":" in text[2:] or text.startswith(":")):
        raise ValueError("must be exactly ':memory:' for a database in memory")
    if text.endswith(("/", "\\")):
        raise ValueError("must name a file, not a directory")
    return text


#: What SQLite and Holdfast add to a database's name for files of theirs.
BESIDE = ("-wal", "-shm", "-journal", "-mark", "-checkpoint")


def _file_path(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    # Under both rules: a configuration is written on one system and read on another.
    if ".." in PureWindowsPath(text).parts or ".." in PurePosixPath(text).parts:
        raise ValueError("must not contain a '..' component")
    if text.lower().endswith(BESIDE):
        raise ValueError(
            f"must not end in {', '.join(BESIDE)}: such a file belongs to the database beside it"
        )
    return text


def is_servers_own(schema: str) -> bool:
    return schema.startswith("pg_") or schema == "information_schema"


def _schema(text: str) -> str:
    if len(text.encode()) > 63 or not text.isprintable():
        raise ValueError("must be at most 63 bytes, without control characters")
    if is_servers_own(text):
        raise ValueError("must not be a schema of the server's own")
    return text


def _server(text: str) -> str:
    if re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^\s:\[\],@]+)(:[0-9]{1,5})?", text) is None:
        raise ValueError("must be host or host:port ([::1]:5432 for an IPv6 address)")
    return text


def _listed(value: object) -> object:
    """One text with commas, as a URL and the environment write a list."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def backend_name(text: str) -> str:
    if text not in BACKENDS:
        raise ValueError(f"must be one of {', '.join(map(repr, BACKENDS))}")
    return text


NotBlankStr = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
_Word = Annotated[NotBlankStr, AfterValidator(_one_word)]
Server = Annotated[str, AfterValidator(_server)]
_Servers = Annotated[tuple[Server, ...], BeforeValidator(_listed)]


class Config(BaseModel):
    model_config = ConfigDict(
        frozen=True, allow_inf_nan=False, extra="forbid", hide_input_in_errors=True
    )


class EngineConfig(Config):
    """What every engine is told."""

    pool_timeout_seconds: float = Field(default=30.0, gt=0)
    """Bounds how long a call waits for its turn: for a connection, the writer or a reader.
    `PoolTimeoutError` after that."""

    drain_timeout_seconds: float = Field(default=30.0, ge=0)
    """How long `disconnect` waits for calls and transactions that are under way."""

    slow_statement_seconds: float = Field(default=1.0, ge=0)
    """Statements that take longer are logged and kept in `stats`; 0: none are."""

    schema_check: Literal["warn", "required"] = "warn"
    """What `connect` does about a schema that is absent, older or newer than this code's: a warning
    in the log, or ``required``: `PersistenceConnectionError`. Whatever migrates must not require
    it."""


class SQLiteConfig(EngineConfig):
    """A database in one file, or in memory with ``path=":memory:"``."""

    path: Annotated[NotBlankStr, AfterValidator(_meant), AfterValidator(_file_path)] = "holdfast.db"

    mode: Literal["rwc", "rw", "ro"] = "rwc"
    """``rw`` makes no database where there is none; ``ro`` reads one and changes nothing, also
    where neither the file nor its directory may be written to."""

    wal_mode: bool = True
    """Readers and the writer do not block each other. Off: a rollback journal."""

    journal_size_limit: int = Field(default=64 * _MIB, ge=0)
    """The log is cut back to this many bytes after a checkpoint."""

    synchronous: Literal["full", "normal"] = "full"
    """``normal`` is faster and risks what callers were told is stored: a power cut or a crash of
    the system can take back the latest acknowledged writes (the file stays consistent)."""

    busy_timeout_seconds: float = Field(default=5.0, ge=0)
    """How long to wait while another process writes."""

    readers: int = Field(default=2, ge=1, le=64)
    """Threads that read, each with its own connection."""

    checkpoint_bytes: int = Field(default=16 * _MIB, gt=0)
    """The writer moves the log into the database once it has grown past this."""

    allow_network_filesystem: bool = False
    """Refused otherwise: their locks are unreliable enough to corrupt a database."""

    @model_validator(mode="after")
    def _mode_fits(self) -> Self:
        if self.path == ":memory:" and self.mode != "rwc":
            raise ValueError("a database in memory is always a new one: leave mode out")
        return self


class PostgresConfig(EngineConfig):
    """A PostgreSQL database. A ``host`` that begins with ``/`` is a Unix socket's directory.

    A pickle holds everything but the password, which is empty in the copy.
    """

    host: _Word = "localhost"
    port: int = Field(default=5432, ge=1, le=65535)
    database: _Word
    username: _Word
    password: SecretStr

    fallback_hosts: _Servers = ()
    """Further servers, ``host:port`` each, of which one may be the primary: asked in this order
    when the last one that was used does not answer or has become a standby."""

    target_session_attrs: Literal["any", "read-write"] | None = None
    """``read-write`` passes over servers that refuse writes. Unset: that, where there are
    ``fallback_hosts``, else ``any``."""

    replicas: _Servers = ()
    """Streaming standbys, ``host:port`` each, that answer lists and queries outside of
    transactions. What this process has written, it reads there as well."""

    replica_wait_seconds: float = Field(default=0.5, ge=0)
    """How long a read waits for a replica to catch up before the primary answers it."""

    pooler: Literal["auto", "none", "transaction"] = "auto"
    """Whether ``host`` is a pooler in transaction mode, such as PgBouncer. ``auto`` finds out."""

    direct_host: Server | None = None
    """The server behind a pooler, ``host:port``, for migrations and for `watch`, which need a
    session of their own. Unset: ``host``."""

    schema_name: Annotated[NotBlankStr, AfterValidator(_schema)] | None = None
    """The schema the tables are in. Unset: the one that the role's ``search_path`` begins with."""

    row_security: Literal["auto", "required"] = "auto"
    """Statements name their tenant to row-level security where the role is subject to it.
    ``required`` refuses a role or a database that would let one tenant see another's rows."""

    ssl_mode: SSLMode | None = None
    """Obeyed when set, as libpq defines it. Unset, see `effective_ssl_mode`."""

    ssl_root_cert: Path | None = None
    """The authorities ``verify-ca`` and ``verify-full`` trust; unset, those of the system."""

    pool_min_size: int = Field(default=1, ge=1)
    pool_max_size: int = Field(default=10, ge=1)

    max_connection_age_seconds: float = Field(default=1800.0, gt=0)
    """Connections are replaced at about this age (spread at random, so that they do not all go at
    once), which is how changed addresses and rebalanced servers are noticed."""

    statement_cache_size: int = Field(default=256, ge=0)
    """Prepared statements kept per connection. 0 behind a pooler in transaction mode, unless it is
    known to keep prepared statements: others answer with the result of another statement."""

    application_name: NotBlankStr = "holdfast"

    statement_timeout_ms: int = Field(default=30_000, ge=0)
    """The server cancels statements that run longer; 0 lets them run."""

    connect_timeout_seconds: float = Field(default=10.0, gt=0)

    outage_patience_seconds: float = Field(default=10.0, ge=0)
    """How long calls wait for a server that is away, from the moment it went. Later ones fail at
    once with `CircuitOpenError`, until it answers again."""

    synchronous_commit: Literal["on", "off"] = "on"
    """``off`` is faster and risks what callers were told is stored: a crash of the server can take
    back the acknowledged writes of its last moments (the database stays consistent)."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.pool_max_size < self.pool_min_size:
            raise ValueError("pool_max_size must not be below pool_min_size")
        return self

    def __getstate__(self) -> dict[str, Any]:
        # A pickle lies in queues, caches and files: the password is not in it, and its reader takes
        # it from where this process did.
        state = super().__getstate__()
        return state | {"__dict__": state["__dict__"] | {"password": SecretStr("")}}

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """Host and port of every server that may be the primary, in order."""
        return ((self.host, self.port), *map(self.place, self.fallback_hosts))

    def place(self, server: str) -> tuple[str, int]:
        """Host and port of a ``host:port``; without a port it is this configuration's."""
        host, colon, port = server.rpartition(":")
        if not colon or port.endswith("]"):
            return server.strip("[]"), self.port
        return host.strip("[]"), int(port)

    @property
    def needs_primary(self) -> bool:
        """Whether a server that refuses writes is passed over."""
        if self.target_session_attrs is None:
            return bool(self.fallback_hosts)
        return self.target_session_attrs == "read-write"

    @property
    def effective_ssl_mode(self) -> SSLMode:
        """``ssl_mode``; unset, ``verify-full`` beyond this machine and where ``ssl_root_cert``
        says whom to trust, else ``prefer``."""
        if self.ssl_mode is not None:
            return self.ssl_mode
        return "prefer" if self._is_local() and self.ssl_root_cert is None else "verify-full"

    def _is_local(self) -> bool:
        others = [*self.replicas, *([self.direct_host] if self.direct_host else [])]
        hosts = [host for host, _ in (*self.servers, *map(self.place, others))]
        return all(map(_is_loopback, hosts))


def _is_loopback(host: str) -> bool:
    if host.startswith("/") or host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name; what it resolves to can change, so it counts as remote
        return False
