"""Spans and metrics for OpenTelemetry, where the application has set it up.

By the semantic conventions for database clients. A statement is told by its name: its SQL and its
arguments never leave.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Delete, Insert, Update

from holdfast.engines.stats import EngineStats
from holdfast.errors import PersistenceConnectionError
from holdfast.storage.session import Statement

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, StatusCode
except ModuleNotFoundError:
    _INSTALLED = False
else:
    _INSTALLED = True

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

__all__ = ["Attributes", "Source", "Telemetry", "listening"]

Attributes = Mapping[str, str | int]

#: The conventions' own, in seconds.
_BOUNDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
_POOL = "db.client.connection.pool.name"
_OPERATIONS = ((Insert, "INSERT"), (Update, "UPDATE"), (Delete, "DELETE"))


class Source(Protocol):
    """An engine whose pool is looked at when metrics are collected."""

    pool_name: str

    def stats(self) -> EngineStats: ...


class Telemetry:
    """What is told about one engine, of spans and metrics what somebody listens to."""

    def __init__(
        self, identity: Attributes, tracer: Tracer | None, instruments: _Instruments | None
    ) -> None:
        self._identity = identity
        self._tracer = tracer
        self._instruments = instruments
        self._attributes: dict[str, dict[str, AttributeValue]] = {}

    def begin(self, statement: Statement) -> Span | None:
        if self._tracer is None:
            return None
        return self._tracer.start_span(
            statement.name, kind=SpanKind.CLIENT, attributes=self._about(statement)
        )

    def end(
        self, span: Span | None, statement: Statement, seconds: float, error: BaseException | None
    ) -> None:
        problem = {} if error is None else _problem(error)
        if span is not None:
            if problem and span.is_recording():
                span.set_attributes(problem)
                span.set_status(StatusCode.ERROR)
            span.end()
        if self._instruments is not None:
            about = self._about(statement)
            self._instruments.duration.record(seconds, {**about, **problem} if problem else about)

    def block(self, name: str) -> AbstractContextManager[None]:
        """A span around a transaction, of which what happens inside is a child."""
        return nullcontext() if self._tracer is None else self._block(name)

    @contextmanager
    def _block(self, name: str) -> Iterator[None]:
        assert self._tracer is not None  # noqa: S101
        with self._tracer.start_as_current_span(
            name,
            attributes={**self._identity, "db.query.summary": name},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                span.set_attributes(_problem(error))
                span.set_status(StatusCode.ERROR)
                raise

    def attach(self, source: Source) -> None:
        """Show the source's pool in the metrics until `detach`."""
        if self._instruments is not None:
            self._instruments.sources.add(source)

    def detach(self, source: Source) -> None:
        if self._instruments is not None:
            self._instruments.sources.discard(source)

    def _about(self, statement: Statement) -> dict[str, AttributeValue]:
        about = self._attributes.get(statement.name)
        if about is None:
            about = self._attributes[statement.name] = {
                **self._identity,
                "db.operation.name": _operation(statement),
                "db.collection.name": statement.table.name,
                "db.query.summary": statement.name,
            }
        return about


class _Instruments:
    """The metrics of one provider. Their callbacks can never be taken back, so they are made once
    and look at the engines that are connected at the time."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = metrics.get_meter("holdfast", "", provider)
        self.sources: WeakSet[Source] = WeakSet()
        self.duration = meter.create_histogram(
            "db.client.operation.duration",
            unit="s",
            description="Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BOUNDS,
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.count",
            [self._observer(_connections)],
            unit="{connection}",
            description="Connections that are currently in the state of the attribute.",
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.pending_requests",
            [self._observer(_pending)],
            unit="{request}",
            description="Current pending requests for an open connection.",
        )
        meter.create_observable_counter(
            "db.client.connection.timeouts",
            [self._observer(_timeouts)],
            unit="{timeout}",
            description="Timeouts that occurred while obtaining a connection from the pool.",
        )

    def _observer(
        self, look: Callable[[EngineStats], Mapping[str, int]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            sums: dict[tuple[str, str], int] = {}
            for source in tuple(self.sources):
                # On a thread of the reader: what the loop changes meanwhile is seen next time, and
                # an engine that was just closed has nothing to show.
                with contextlib.suppress(RuntimeError, PersistenceConnectionError):
                    for state, value in look(source.stats()).items():
                        key = (source.pool_name, state)
                        sums[key] = sums.get(key, 0) + value
            for (pool, state), value in sums.items():
                about = {_POOL: pool, "db.client.connection.state": state}
                yield metrics.Observation(value, about if state else {_POOL: pool})

        return observe


def _connections(stats: EngineStats) -> Mapping[str, int]:
    return {"used": stats.pool.busy, "idle": stats.pool.idle}


def _pending(stats: EngineStats) -> Mapping[str, int]:
    return {"": stats.pool.waiting}


def _timeouts(stats: EngineStats) -> Mapping[str, int]:
    return {"": stats.errors.get("PoolTimeoutError", 0)}


def listening(
    identity: Attributes,
    tracers: TracerProvider | None = None,
    meters: MeterProvider | None = None,
) -> Telemetry | None:
    """`None` if nobody listens, or the extra ``holdfast[otel]`` is not installed.

    The providers are by default those the process has now.
    """
    if not _INSTALLED:
        return None
    tracers = tracers or trace.get_tracer_provider()
    meters = meters or metrics.get_meter_provider()
    if not _works(tracers) and not _works(meters):
        return None
    return Telemetry(
        identity,
        trace.get_tracer("holdfast", tracer_provider=tracers) if _works(tracers) else None,
        _instruments(meters) if _works(meters) else None,
    )


_made: WeakKeyDictionary[Any, _Instruments] = WeakKeyDictionary()


def _instruments(provider: MeterProvider) -> _Instruments:
    if provider not in _made:
        _made[provider] = _Instruments(provider)
    return _made[provider]


def _works(provider: object) -> bool:
    """Whether it is more than a stand-in: those of the API itself do nothing."""
    return not type(provider).__module__.startswith(
        ("opentelemetry.trace", "opentelemetry.metrics")
    )


def _operation(statement: Statement) -> str:
    return next((n for kind, n in _OPERATIONS if isinstance(statement.expression, kind)), "SELECT")


def _problem(error: BaseException) -> dict[str, AttributeValue]:
    problem: dict[str, AttributeValue] = {"error.type": type(error).__qualname__}
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    if code is not None:
        problem["db.response.status_code"] = str(code)
    return problem
