"""Backends from configurations and URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, SecretStr

from holdfast.backend.core import Backend, Core
from holdfast.backend.protocol import PersistenceBackend
from holdfast.config import PersistenceConfig, PostgresConfig, SQLiteConfig
from holdfast.config.models import EngineConfig
from holdfast.engines.instrumented import instrumented
from holdfast.engines.protocol import Engine
from holdfast.engines.sqlite.engine import SQLiteEngine
from holdfast.engines.telemetry import Attributes
from holdfast.errors import PersistenceConnectionError
from holdfast.extending.extension import Extension, attached
from holdfast.storage.binding import Models

__all__ = ["PostgresPersistenceBackend", "SQLitePersistenceBackend", "create_backend"]

#: By Holdfast's entity: the application's own class that stands for it.
Entities = Mapping[type[BaseModel], type[BaseModel]]


class _EngineBackend(Backend):
    def __init__(
        self,
        engine: Engine,
        tenant: str,
        entities: Entities | None,
        extensions: Sequence[Extension],
        config: EngineConfig | None = None,
        identity: Attributes | None = None,
    ) -> None:
        models = Models(entities) if entities else None
        config = config or EngineConfig()
        watched = instrumented(engine, config, identity or {"db.system.name": engine.name})
        core = Core(watched, models, attached(extensions), config.schema_check == "required")
        super().__init__(core, tenant)


class SQLitePersistenceBackend(_EngineBackend):
    """A backend on one SQLite file, or on a private database in memory."""

    def __init__(
        self,
        config: SQLiteConfig,
        *,
        tenant: str = "default",
        entities: Entities | None = None,
        extensions: Sequence[Extension] = (),
    ) -> None:
        identity = {"db.system.name": "sqlite", "db.namespace": config.path}
        super().__init__(SQLiteEngine(config), tenant, entities, extensions, config, identity)


class PostgresPersistenceBackend(_EngineBackend):
    """A backend on a PostgreSQL server; needs the extra ``holdfast[postgres]``."""

    def __init__(
        self,
        config: PostgresConfig,
        *,
        tenant: str = "default",
        entities: Entities | None = None,
        extensions: Sequence[Extension] = (),
    ) -> None:
        try:
            from holdfast.engines.postgres.engine import PostgresEngine
        except ModuleNotFoundError as error:
            raise PersistenceConnectionError(
                f"PostgreSQL needs the package {error.name}: pip install 'holdfast[postgres]'",
                is_retryable=False,
            ) from None
        identity: Attributes = {
            "db.system.name": "postgresql",
            "db.namespace": config.database,
            "server.address": config.host,
            "server.port": config.port,
        }
        super().__init__(PostgresEngine(config), tenant, entities, extensions, config, identity)


def create_backend(
    config: PersistenceConfig | SecretStr | str | Engine | None = None,
    *,
    tenant: str | None = None,
    entities: Entities | None = None,
    extensions: Sequence[Extension] = (),
) -> PersistenceBackend:
    """A new, disconnected backend that shares nothing with others.

    ``config`` is a configuration, a URL (``sqlite:///org.db``, ``sqlite:///:memory:``,
    ``postgresql://user@host/db``), ``None`` for ``HOLDFAST_URL`` and ``HOLDFAST_*`` from the
    environment, or an engine of your own. ``entities`` binds the application's own classes,
    ``{Task: MyTask}``: the repositories take and return those instead; fields without a column
    travel with the row.
    ``extensions`` attaches tables and repositories of the application's own, in this order.

    Raises `PersistenceConnectionError` if the backend is unknown or its extra is not installed,
    `InvalidArgumentError` for a bad URL or environment, a class that lacks a required field, or
    extensions that do not go together.
    """
    if config is None:
        config = PersistenceConfig.from_env()
    if isinstance(config, str):
        # From here on a traceback that shows variables shows no password.
        config = SecretStr(config)
    if isinstance(config, SecretStr):
        config = PersistenceConfig.from_url(config)
    if not isinstance(config, PersistenceConfig):
        name = "default" if tenant is None else tenant
        return _EngineBackend(config, name, entities, extensions)
    name = tenant if tenant is not None else config.tenant
    if config.backend == "sqlite":
        return SQLitePersistenceBackend(
            config.sqlite, tenant=name, entities=entities, extensions=extensions
        )
    if config.backend == "postgres" and config.postgres is not None:
        return PostgresPersistenceBackend(
            config.postgres, tenant=name, entities=entities, extensions=extensions
        )
    raise PersistenceConnectionError(
        f"the backend {config.backend!r} is unknown or not configured; "
        "use 'sqlite', or 'postgres' with a PostgresConfig",
        is_retryable=False,
    )
