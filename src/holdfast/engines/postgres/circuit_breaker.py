"""Whether the server lets us in, how long callers wait for it, and how fast it may be asked."""

from __future__ import annotations

import logging
import random
from enum import Enum

from holdfast.engines.postgres.errors import sqlstate
from holdfast.errors import CircuitOpenError, PersistenceConnectionError

__all__ = ["CircuitBreaker"]

logger = logging.getLogger("holdfast.postgres")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 1.0
#: A server that is full lets one in now and then, and is full again.
_FULL_IS_NEWS_SECONDS = 60.0


class Kind(Enum):
    """Why no connection is to be had, as a caller is told it."""

    AWAY = "has been away"
    REFUSED = "has refused us"
    FULL = "has had no connection left"


class CircuitBreaker:
    """From the first attempt to connect that failed to the first one that did not.

    Times are the event loop's, in seconds. Callers wait for the server up to ``patience`` after
    the start; then the circuit is open. While it is closed, as many connections may be opened at
    once as have been opened since one was last lost, and one more: one, two, four, ...
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.since: float | None = None
        self._kind = Kind.AWAY
        self._error = PersistenceConnectionError("")
        self._pause = _FIRST_PAUSE
        self._width = 1
        self._announced = False
        self._full_again = 0.0

    @property
    def width(self) -> int:
        """How many connections may be being opened at once; 0 while one asks for all."""
        return self._width if self.since is None else 0

    @property
    def full(self) -> bool:
        return self.since is not None and self._kind is Kind.FULL

    def lost(self) -> None:
        """A connection was lost: the server may be gone, so ask carefully."""
        self._width = 1

    def failed(self, error: PersistenceConnectionError, now: float) -> bool:
        """An attempt failed; whether this is the start."""
        first = self.since is None
        kind = _kind(error)
        if first:
            self.since, self._pause, self._width = now, _FIRST_PAUSE, 1
            self._announced = False
        if (first or kind is not self._kind) and self._is_news(kind, now):
            self._announced = True
            logger.warning("%s", error)
        self._kind, self._error = kind, error
        return first

    def answered(self) -> None:
        """An attempt succeeded."""
        if self._announced:
            logger.info("PostgreSQL answers again")
        self.since = None
        self._announced = False
        self._width += 1

    def next_pause(self) -> float:
        """Seconds until the next attempt, growing, with jitter."""
        pause = self._pause
        self._pause = min(pause * 1.5, _LONGEST_PAUSE)
        return pause * random.uniform(0.8, 1.2)  # noqa: S311

    def open_circuit(self) -> None:
        """The patience is over: say so, once for an outage."""
        logger.warning("calls are refused until PostgreSQL answers again: %s", self._error)

    def refusal(
        self, now: float, heard_at: float, *, stranded: bool
    ) -> PersistenceConnectionError | None:
        """Why it is no use to wait for a connection, if that is so.

        ``stranded``: there are none, not even busy ones; ``heard_at``: when one last came back
        in good health. Connections that work are waited for, whoever is refused a further one.
        """
        if self.since is None:
            return None
        if self._kind is Kind.REFUSED:
            return self.reason() if stranded else None
        if now < self.since + self.patience:
            return None
        if stranded or (self._kind is Kind.AWAY and heard_at < self.since):
            error = CircuitOpenError(
                f"PostgreSQL {self._kind.value} for {now - self.since:.1f} s and is asked again "
                f"in the background; the last attempt: {self._error}"
            )
            error.__cause__ = self._error
            return error
        return None

    def reason(self) -> PersistenceConnectionError | None:
        """The last failure, for one more caller; ``None`` without an outage."""
        if self.since is None:
            return None
        error = PersistenceConnectionError(str(self._error), is_retryable=self._error.is_retryable)
        error.__cause__ = self._error
        return error

    def _is_news(self, kind: Kind, now: float) -> bool:
        if kind is not Kind.FULL:
            return True
        news = now >= self._full_again
        self._full_again = now + _FULL_IS_NEWS_SECONDS
        return news


def _kind(error: PersistenceConnectionError) -> Kind:
    state = sqlstate(error)
    if state == "53300":
        return Kind.FULL
    # The user, the password, or the database: no waiting mends them.
    return Kind.REFUSED if state[:2] in ("28", "3D") else Kind.AWAY
