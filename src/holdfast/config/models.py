"""The settings of each engine, and the rules they share."""

from __future__ import annotations

import ipaddress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

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


def _file_path(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    # Under both rules: a configuration is written on one system and read on another.
    if ".." in PureWindowsPath(text).parts or ".." in PurePosixPath(text).parts:
        raise ValueError("must not contain a '..' component")
    return text


def backend_name(text: str) -> str:
    if text not in BACKENDS:
        raise ValueError(f"must be one of {', '.join(map(repr, BACKENDS))}")
    return text


NotBlankStr = Annotated[str, Field(min_length=1), AfterValidator(_not_blank)]
_Word = Annotated[NotBlankStr, AfterValidator(_one_word)]


class Config(BaseModel):
    model_config = ConfigDict(
        frozen=True, allow_inf_nan=False, extra="forbid", hide_input_in_errors=True
    )


class SQLiteConfig(Config):
    """A database in one file, or in memory with ``path=":memory:"``."""

    path: Annotated[NotBlankStr, AfterValidator(_file_path)] = "holdfast.db"

    wal_mode: bool = True
    """Readers and the writer do not block each other. Off: a rollback journal."""

    journal_size_limit: int = Field(default=64 * _MIB, ge=0)
    """The log is cut back to this many bytes after a checkpoint."""

    synchronous: Literal["full", "normal"] = "full"
    """``normal`` is faster and risks what callers were told is stored: a power cut or a crash of
    the system can take back the latest acknowledged writes (the file stays consistent)."""

    busy_timeout_seconds: float = Field(default=5.0, ge=0)
    """How long to wait while another process writes."""

    pool_timeout_seconds: float = Field(default=30.0, gt=0)
    """Bounds how long a call waits for its turn on the writer or on a reader."""

    readers: int = Field(default=2, ge=1)
    """Threads that read, each with its own connection."""

    checkpoint_bytes: int = Field(default=16 * _MIB, gt=0)
    """The writer moves the log into the database once it has grown past this."""

    allow_network_filesystem: bool = False
    """Refused otherwise: their locks are unreliable enough to corrupt a database."""


class PostgresConfig(Config):
    """A PostgreSQL database. A ``host`` that begins with ``/`` is a Unix socket's directory."""

    host: _Word = "localhost"
    port: int = Field(default=5432, ge=1, le=65535)
    database: _Word
    username: _Word
    password: SecretStr

    ssl_mode: SSLMode | None = None
    """Obeyed when set, as libpq defines it. Unset, see `effective_ssl_mode`."""

    ssl_root_cert: Path | None = None
    """The authorities ``verify-ca`` and ``verify-full`` trust; unset, those of the system."""

    pool_min_size: int = Field(default=1, ge=1)
    pool_max_size: int = Field(default=10, ge=1)

    pool_timeout_seconds: float = Field(default=30.0, gt=0)
    """Bounds every checkout of a connection: `PoolTimeoutError` after that."""

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

    synchronous_commit: Literal["on", "off"] = "on"
    """``off`` is faster and risks what callers were told is stored: a crash of the server can take
    back the acknowledged writes of its last moments (the database stays consistent)."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.pool_max_size < self.pool_min_size:
            raise ValueError("pool_max_size must not be below pool_min_size")
        return self

    @property
    def effective_ssl_mode(self) -> SSLMode:
        """``ssl_mode``; unset, ``prefer`` on this machine and ``verify-full`` beyond it."""
        if self.ssl_mode is not None:
            return self.ssl_mode
        return "prefer" if self._is_local() else "verify-full"

    def _is_local(self) -> bool:
        if self.host.startswith("/") or self.host.lower().rstrip(".") == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:  # a name; what it resolves to can change, so it counts as remote
            return False
