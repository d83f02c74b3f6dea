"""How one PostgreSQL connection is opened, and what it knows."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.errors import translate
from holdfast.errors import PersistenceConnectionError

__all__ = ["PooledConnection", "open_connection"]


class PooledConnection:
    """An asyncpg connection, the statements prepared on it, and its place in the pool."""

    __slots__ = ("_keep", "_prepared", "busy_since", "expired", "raw", "retire_at")

    def __init__(self, raw: asyncpg.Connection[Any], retire_at: float, keep: int) -> None:
        self._keep = keep
        self.raw = raw
        self.retire_at = retire_at
        self.busy_since = 0.0
        #: Set when a deadline ended the connection: what fails then was a time-out.
        self.expired = False
        self._prepared: dict[str, PreparedStatement[Any]] = {}

    def prepared(self, sql: str) -> PreparedStatement[Any] | None:
        return self._prepared.get(sql)

    async def prepare(self, sql: str) -> PreparedStatement[Any]:
        statement = await self.raw.prepare(sql)
        if self._keep:
            if len(self._prepared) >= self._keep:
                self._prepared.pop(next(iter(self._prepared)))  # the oldest
            self._prepared[sql] = statement
        return statement

    def forget_statements(self) -> None:
        """After a schema change: the server refuses plans whose columns changed."""
        self._prepared.clear()

    def expire(self) -> None:
        """End the connection at a deadline. Whatever waits on it fails at once.

        asyncpg's own way, cancelling the query, waits for the server, and a frozen server keeps
        its callers for as long as it is frozen.
        """
        self.expired = True
        self.raw.terminate()


async def open_connection(
    config: PostgresConfig, *, direct: bool = False
) -> asyncpg.Connection[Any]:
    """Open a connection; ``direct`` ones, for migrations, know no statement deadline."""
    settings = {
        "application_name": config.application_name,
        "timezone": "UTC",
        "statement_timeout": "0" if direct else str(config.statement_timeout_ms),
        # Compiling a plan pays off in queries of seconds, not in ours.
        "jit": "off",
    }
    if config.synchronous_commit == "off":
        settings["synchronous_commit"] = "off"
    try:
        # A task of its own: asyncpg's time limit does not cover every phase of connecting.
        async with asyncio.timeout(config.connect_timeout_seconds):
            return await asyncpg.connect(
                host=config.host,
                port=config.port,
                user=config.username,
                password=config.password.get_secret_value() or None,
                database=config.database,
                ssl=_tls(config),
                timeout=config.connect_timeout_seconds,
                statement_cache_size=config.statement_cache_size,
                server_settings=settings,
            )
    except PersistenceConnectionError:
        raise
    except asyncio.CancelledError as error:
        _forget_frames(error)
        raise
    except Exception as error:
        _forget_frames(error)
        raise connect_error(config, error) from error


def connect_error(config: PostgresConfig, error: Exception) -> PersistenceConnectionError:
    """Why the server cannot be used, with host, port and database but nothing secret."""
    where = f"{config.host}:{config.port}/{config.database}"
    if isinstance(error, TimeoutError):
        why = f"no answer within {config.connect_timeout_seconds:g} s"
    elif isinstance(error, ssl.SSLError):
        why = f"TLS failed ({error.reason or type(error).__name__}), ssl_mode={config.ssl_mode}"
    elif isinstance(error, asyncpg.PostgresError):
        why = str(translate(error, None))
    elif isinstance(error, OSError):
        why = error.strerror or type(error).__name__
    else:
        why = type(error).__name__
    return PersistenceConnectionError(f"cannot connect to PostgreSQL at {where}: {why}")


def _forget_frames(error: BaseException | None) -> None:
    """Drop the driver's frames: a traceback that shows variables would show the password."""
    while error is not None:
        error.__traceback__ = None
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                _forget_frames(part)
        _forget_frames(error.__context__)
        error = error.__cause__


def _tls(config: PostgresConfig) -> Any:
    mode = config.effective_ssl_mode
    if mode not in ("verify-ca", "verify-full"):
        return mode
    try:
        context = ssl.create_default_context(
            cafile=str(config.ssl_root_cert) if config.ssl_root_cert is not None else None
        )
    except OSError as error:
        raise PersistenceConnectionError(
            f"ssl_root_cert cannot be read: {error.strerror or type(error).__name__}"
        ) from error
    context.check_hostname = mode == "verify-full"
    return context
