"""One attempt to connect to one server, and why it failed."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from holdfast.config import PostgresConfig
from holdfast.engines.postgres.errors import translate
from holdfast.engines.postgres.sockets import watch_peer
from holdfast.errors import PersistenceConnectionError

__all__ = ["connect", "explain", "forget_frames", "is_poolers_refusal"]


async def connect(
    config: PostgresConfig,
    place: tuple[str, int],
    settings: Mapping[str, str],
    *,
    statement_cache_size: int,
) -> asyncpg.Connection[Any]:
    """A connection to ``place``; the caller bounds the time and translates what is raised."""
    host, port = place
    raw: asyncpg.Connection[Any] = await asyncpg.connect(
        host=host,
        port=port,
        user=config.username,
        password=config.password.get_secret_value() or None,
        database=config.database,
        ssl=_tls(config),
        statement_cache_size=statement_cache_size,
        server_settings=dict(settings),
        # Ours to decide, and not an environment variable's.
        target_session_attrs=SessionAttribute.any,
        timeout=config.connect_timeout_seconds,
    )
    watch_peer(raw)
    # When asyncpg asks the server about types, it turns jit off for the session and on again.
    # Ours have it off; and behind a pooler the three statements reach three sessions.
    caps = raw._server_caps  # type: ignore[attr-defined]
    raw._server_caps = caps._replace(jit=False)  # type: ignore[attr-defined]
    return raw


def explain(config: PostgresConfig, error: Exception, seconds: float) -> tuple[str, bool]:
    """Why an attempt of so many seconds failed, nothing secret; and whether that may pass."""
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:.3g} s", True
    if isinstance(error, ssl.SSLError):
        # What is wrong with the server's certificate, in OpenSSL's words.
        why = getattr(error, "verify_message", None) or error.reason or type(error).__name__
        distrusted = isinstance(error, ssl.SSLCertVerificationError)
        return f"TLS failed ({why}), ssl_mode={config.effective_ssl_mode}", not distrusted
    if isinstance(error, asyncpg.PostgresError):
        if is_poolers_refusal(error):
            why = "a pooler refused the session's settings; pooler='none' is not true of it"
            return why, False
        problem = translate(error, None)
        return str(problem), problem.is_retryable
    if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):  # asyncpg's own
        why = f"the server offers no TLS, which ssl_mode={config.effective_ssl_mode} demands"
        return why, False
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__, True
    return type(error).__name__, isinstance(error, asyncpg.InternalClientError)


def is_poolers_refusal(error: Exception) -> bool:
    """Whether this is how PgBouncer answers settings that it does not keep apart for clients."""
    refused = isinstance(error, asyncpg.ProtocolViolationError)
    return refused and "startup parameter" in str(error)


def forget_frames(error: BaseException | None) -> None:
    """Drop the driver's frames: a traceback that shows variables would show the password."""
    while error is not None:
        error.__traceback__ = None
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                forget_frames(part)
        forget_frames(error.__context__)
        error = error.__cause__


def _tls(config: PostgresConfig) -> Any:
    mode = config.effective_ssl_mode
    if mode not in ("verify-ca", "verify-full"):
        return mode
    path = config.ssl_root_cert
    try:
        written = path.stat().st_mtime_ns if path is not None else 0
        return _verifying(path, written, mode == "verify-full")
    except OSError as error:
        raise PersistenceConnectionError(
            f"ssl_root_cert cannot be read: {error.strerror or type(error).__name__}",
            is_retryable=False,
        ) from error


@lru_cache(maxsize=16)
def _verifying(path: Path | None, _written: int, check_hostname: bool) -> ssl.SSLContext:
    """Kept: reading a system's certificates takes tens of milliseconds of the event loop.

    A file that is written anew is read anew.
    """
    context = ssl.create_default_context(cafile=str(path) if path is not None else None)
    context.check_hostname = check_hostname
    return context
