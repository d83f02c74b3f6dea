"""What Holdfast needs to know about a database: in code, or from a URL, the environment or YAML.

::

    PersistenceConfig(backend="sqlite", sqlite=SQLiteConfig(path="org.db"))
    PersistenceConfig.from_url("sqlite:///org.db")        # relative; sqlite:////srv/org.db absolute
    PersistenceConfig.from_url("postgresql://ann:secret@db.example/org?pool_max_size=20")
    PersistenceConfig.from_env()                          # HOLDFAST_URL, HOLDFAST_POSTGRES__HOST
    PersistenceConfig.from_yaml("holdfast.yaml")

A password is shown by no representation, message or traceback made here. The three readers raise
`InvalidArgumentError` naming the field and the rule, never the value; direct construction raises
Pydantic's ``ValidationError`` with the inputs hidden. Both are a ``ValueError``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, SecretStr, ValidationError, model_validator

from holdfast.config.models import (
    Config,
    EngineConfig,
    NotBlankStr,
    PostgresConfig,
    SQLiteConfig,
    SSLMode,
    backend_name,
)
from holdfast.config.sources import explain, libpq_defaults, read_environment, read_yaml
from holdfast.config.urls import read_url, write_url
from holdfast.errors import InvalidArgumentError

__all__ = ["EngineConfig", "PersistenceConfig", "PostgresConfig", "SQLiteConfig", "SSLMode"]


class PersistenceConfig(Config):
    """Which database, and the tenant that is meant where a call names none."""

    backend: Annotated[NotBlankStr, AfterValidator(backend_name)] = "sqlite"
    tenant: NotBlankStr = "default"
    sqlite: SQLiteConfig = SQLiteConfig()
    postgres: PostgresConfig | None = None

    @model_validator(mode="after")
    def _settings_present(self) -> Self:
        if self.backend == "postgres" and self.postgres is None:
            raise ValueError("backend 'postgres' needs the settings under 'postgres'")
        return self

    @classmethod
    def from_url(cls, url: str | SecretStr) -> Self:
        """Read ``sqlite:///path``, ``sqlite:///:memory:`` or ``postgresql://user:password@host/db``.

        User, password, host, path and parameters are percent-decoded. Parameters are field names
        (``?readers=4``, ``?tenant=acme``) or libpq's ``sslmode``, ``sslrootcert`` and
        ``connect_timeout``; ``?host=/directory`` reaches a Unix socket. Without a user it is
        ``PGUSER`` or the one of the operating system, without a password ``PGPASSWORD`` or none.
        """
        try:
            return cls._build(read_url(url))
        except InvalidArgumentError as error:
            problem = str(error)
        # Raised anew, outside the handler and without the URL: neither the exception's context nor
        # a traceback that shows the variables of its frames may carry the password.
        del url
        raise InvalidArgumentError(problem)

    @classmethod
    def from_env(cls) -> Self:
        """Read ``HOLDFAST_URL`` or ``HOLDFAST_BACKEND``, ``HOLDFAST_POSTGRES__HOST`` and so on.

        Variables may add what the URL leaves out (a password kept apart, a pool size). One that
        contradicts or repeats it, or belongs to the other backend, is refused: nothing that is set
        is ignored. With nothing set it is SQLite's default file.
        """
        try:
            return cls._build(read_environment())
        except InvalidArgumentError as error:
            problem = str(error)
        raise InvalidArgumentError(f"environment HOLDFAST_*: {problem}")

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Self:
        """Read a mapping with this class's fields; ``url:`` works as ``HOLDFAST_URL`` does."""
        try:
            return cls._build(read_yaml(Path(path)))
        except InvalidArgumentError as error:
            problem = str(error)
        raise InvalidArgumentError(f"{os.fspath(path)}: {problem}")

    @property
    def safe_url(self) -> str:
        """The URL of this configuration, with ``***`` for the password: for logs and messages."""
        if self.backend == "postgres" and self.postgres is not None:
            return write_url(self.postgres, self.tenant)
        return write_url(self.sqlite, self.tenant)

    @property
    def missing_file(self) -> Path | None:
        """The file that connecting would make a database of; ``None`` if it makes none."""
        path = self.sqlite.path
        if self.backend != "sqlite" or path == ":memory:":
            return None
        try:
            return None if Path(path).exists() else Path(path)
        except OSError:  # no name that a file can have: connecting says so
            return None

    @classmethod
    def _build(cls, data: dict[str, Any]) -> Self:
        if data.get("backend") == "postgres" and isinstance(data.get("postgres"), Mapping):
            data["postgres"] = libpq_defaults() | data["postgres"]
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problem = "; ".join(explain(error))
        raise InvalidArgumentError(problem)
