"""The file of an export: the same lines whichever engine the rows come from.

JSON lines in UTF-8: a header; each row as ``{"table": ..., "row": {column: value}}`` without the
tenant, a table's rows together, and tables before those that refer to them; a trailer with the
number of rows per table and the SHA-256 of every byte before it. Instants are ISO 8601 in UTC with
microseconds, JSON columns the text that was stored, bytes base64. A name that ends in ``.gz`` is
compressed, the digest is of what was compressed.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import secrets
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Column, LargeBinary, Table

from holdfast.engines.base import Row
from holdfast.errors import BackupError
from holdfast.schema.meta import TENANT
from holdfast.schema.types import Timestamp

__all__ = ["Export", "Header", "Writer", "columns_of", "decode", "head", "read_export", "rows_of"]

#: Bytes of a line beyond which a file is none of ours; the largest text takes less.
_LONGEST_LINE = 2**31


class Header(BaseModel):
    """The first line. ``revisions`` are those of the database, by chain; ``None``: not migrated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["holdfast-export"] = "holdfast-export"
    format_version: Literal[1] = 1
    holdfast: str
    revisions: Mapping[str, str | None]
    tenant: str
    created_at: datetime


class Export(Header):
    """What an export holds: rows per table that has any, and the digest they were read with."""

    rows: Mapping[str, int]
    sha256: str


def columns_of(table: Table) -> list[Column[Any]]:
    """Those that are written, in order."""
    return [column for column in table.columns if column.name != TENANT]


class Writer:
    """Writes an export under a temporary name; only `finish` gives it its own."""

    def __init__(self, target: Path, header: Header) -> None:
        if target.exists():
            raise BackupError(f"{target} exists: an export goes into a new file")
        self._target = target
        self._header = header
        self._part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        self._digest = hashlib.sha256()
        self._rows: Counter[str] = Counter()
        # For nobody else to read: it holds the hashes of passwords.
        self._file = os.fdopen(
            os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        )
        self._lines: IO[bytes] = self._file
        if target.suffix == ".gz":
            self._lines = gzip.GzipFile("", "wb", fileobj=self._file)  # type: ignore[assignment]
        self._put(header.model_dump(mode="json"))

    def add(self, table: Table, rows: Iterable[Row]) -> None:
        """Rows that have the values of `columns_of`."""
        columns = columns_of(table)
        encoders = [(n, encode) for n, c in enumerate(columns) if (encode := _encoder(c))]
        names = [column.name for column in columns]
        for row in rows:
            values = list(row)
            for n, encode in encoders:
                if values[n] is not None:
                    values[n] = encode(values[n])
            self._put({"table": table.name, "row": dict(zip(names, values, strict=True))})
            self._rows[table.name] += 1

    def finish(self) -> Export:
        """Bring it to the disk, whole, and to its name."""
        trailer = {"rows": dict(self._rows), "sha256": self._digest.hexdigest()}
        self._put(trailer)
        if self._lines is not self._file:
            self._lines.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.rename(self._target)
        if os.name == "posix":  # elsewhere a directory cannot be opened
            directory = os.open(self._target.absolute().parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        return Export(**dict(self._header), **trailer)

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished."""
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)

    def _put(self, line: Mapping[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        data = f"{text}\n".encode()
        self._digest.update(data)
        self._lines.write(data)


def _encoder(column: Column[Any]) -> Callable[[Any], Any] | None:
    if isinstance(column.type, Timestamp):
        return lambda value: value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(column.type, LargeBinary):
        return lambda value: base64.b64encode(value).decode()
    return None


def decode(columns: Sequence[Column[Any]], row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of columns, as statements take them; `ValueError` if the row does not fit."""
    if row.keys() != {column.name for column in columns}:
        raise ValueError("other columns than the table has")
    return tuple(_decoded(column, row[column.name]) for column in columns)


def _decoded(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if isinstance(column.type, Timestamp):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("a time without a time zone")
        return moment.astimezone(UTC)
    if isinstance(column.type, LargeBinary):
        return base64.b64decode(value, validate=True)
    return value


def head(path: Path) -> Header:
    """The header alone; `BackupError` if the file is no export."""
    with _opened(path) as file:
        return _header(path, file.readline(_LONGEST_LINE))


def read_export(path: str | os.PathLike[str]) -> Export:
    """Read an export to its end and compare it with what it says of itself.

    `BackupError` if it was changed, cut, or is none.
    """
    reader = _Reader(Path(path))
    for _ in reader.rows():
        pass
    assert reader.export is not None  # noqa: S101 - else `rows` has raised
    return reader.export


def rows_of(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its table's name; after the last one `BackupError` as `read_export`."""
    return _Reader(path).rows()


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.export: Export | None = None

    def rows(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        digest, counted = hashlib.sha256(), Counter[str]()
        with _opened(self._path) as file:
            line = file.readline(_LONGEST_LINE)
            header = _header(self._path, line)
            while True:
                digest.update(line)
                line = file.readline(_LONGEST_LINE)
                if not line.endswith(b"\n"):
                    raise BackupError(f"{self._path} is cut short: its end is missing")
                found = _parsed(line)
                if set(found) == {"rows", "sha256"}:
                    break
                if set(found) != {"table", "row"} or not isinstance(found["row"], dict):
                    raise BackupError(f"{self._path} is damaged: it holds a line that is no row")
                counted[found["table"]] += 1
                yield found["table"], found["row"]
            if file.read(1):
                raise BackupError(f"{self._path} is damaged: something follows its end")
        if found["sha256"] != digest.hexdigest() or found["rows"] != dict(counted):
            raise BackupError(f"{self._path} is not what was exported: it was changed since")
        self.export = Export(**dict(header), rows=found["rows"], sha256=found["sha256"])


def _header(path: Path, line: bytes) -> Header:
    try:
        return Header.model_validate_json(line)
    except ValidationError:
        raise BackupError(
            f"{path} is no export of a tenant, or of a format that this Holdfast does not know"
        ) from None


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file to read, uncompressed; what goes wrong with it inside is a `BackupError`."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as lines:
                yield lines  # type: ignore[misc]
        else:
            with path.open("rb") as file:
                yield file
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BackupError(f"{path} is damaged or cut short") from error
    except OSError as error:
        raise BackupError(f"{path}: {error.strerror or type(error).__name__}") from error
