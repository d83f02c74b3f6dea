"""The file of an export: the same lines whichever engine the rows come from.

JSON lines in UTF-8: a header; each row as ``{"table": ..., "row": {column: value}}`` without the
tenant, a table's rows together, and tables before those that refer to them; a trailer with the
number of rows per table and the SHA-256 of every byte before it. Instants are ISO 8601 in UTC with
microseconds, JSON columns the text that was stored, bytes base64. A name that ends in ``.gz`` is
compressed, the digest is of what was compressed. No line is longer than ``LONGEST_LINE``.

A digest says that a file was not changed by accident. It says nothing about who made the file, so
each value is checked as a caller's is before it is written.
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
from typing import IO, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import BigInteger, Boolean, Column, Double, LargeBinary, Table

from holdfast import validation
from holdfast.errors import BackupError
from holdfast.storage.session import Row
from holdfast.storage.tables import TENANT, is_internal
from holdfast.storage.types import JsonText, Timestamp

__all__ = [
    "LONGEST_LINE",
    "Export",
    "Header",
    "Line",
    "Writer",
    "columns_of",
    "decode",
    "encoded",
    "read_export",
    "rows_of",
]

#: Bytes of one line: a text of the largest size that is stored, at four bytes a character, and what
#: stands beside it. Bounds what a small compressed file can make a reader hold.
LONGEST_LINE = 4 * validation.LARGEST_TEXT + 1024 * 1024
#: Bytes that are read, or written, at a time.
_PIECE = 1024 * 1024


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


class Line(NamedTuple):
    """A row of the file, ``number`` counted from 1."""

    number: int
    table: str
    row: Mapping[str, Any]


def columns_of(table: Table) -> list[Column[Any]]:
    """Those that are written, in order."""
    return [c for c in table.columns if c.name != TENANT and not is_internal(c)]


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
        self._part.chmod(0o600)  # the umask may have taken some of it
        self._lines: IO[bytes] = self._file
        if target.suffix == ".gz":
            self._lines = gzip.GzipFile("", "wb", fileobj=self._file)  # type: ignore[assignment]
        self._put_whole(header.model_dump(mode="json"))

    def add(self, table: Table, rows: Iterable[Row]) -> Iterator[None]:
        """Write rows that have the values of `columns_of`; each step takes some milliseconds."""
        columns = columns_of(table)
        encoders = [(n, encode) for n, c in enumerate(columns) if (encode := _encoder(c))]
        names = [column.name for column in columns]
        for row in rows:
            values = list(row)
            for n, encode in encoders:
                if values[n] is not None:
                    values[n] = encode(values[n])
            yield from self._put(
                {"table": table.name, "row": dict(zip(names, values, strict=True))}
            )
            self._rows[table.name] += 1

    def finish(self) -> Export:
        """Bring it to the disk, whole, and to its name."""
        trailer = {"rows": dict(self._rows), "sha256": self._digest.hexdigest()}
        self._put_whole(trailer)
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

    def _put_whole(self, line: Mapping[str, Any]) -> None:
        for _ in self._put(line):
            pass

    def _put(self, line: Mapping[str, Any]) -> Iterator[None]:
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        data = f"{text}\n".encode()
        if len(data) > LONGEST_LINE:
            raise BackupError(
                f"a row of {line['table']} takes {len(data):,} bytes as JSON, and a row of an "
                f"export may take {LONGEST_LINE:,}: use `holdfast backup`, or store large texts "
                "as files"
            )
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            self._digest.update(piece)
            self._lines.write(piece)
            yield


def encoded(column: Column[Any], value: Any) -> Any:
    """A value as an export holds it; one that its column cannot have as text, where it is none."""
    encode = _encoder(column)
    if value is None or (isinstance(value, bytes) and not isinstance(column.type, LargeBinary)):
        return value.decode(errors="surrogateescape") if value is not None else None
    try:
        return value if encode is None else encode(value)
    except (TypeError, ValueError, AttributeError):
        return str(value)


def _encoder(column: Column[Any]) -> Callable[[Any], Any] | None:
    if isinstance(column.type, Timestamp):
        return lambda value: value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(column.type, LargeBinary):
        return lambda value: base64.b64encode(value).decode()
    return None


def decode(columns: Sequence[Column[Any]], row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of columns, as statements take them; `ValueError` if the row does not fit."""
    if row.keys() != {column.name for column in columns}:
        raise ValueError("it has other columns than the table")
    return tuple(_decoded(column, row[column.name]) for column in columns)


def _decoded(column: Column[Any], value: Any) -> Any:
    kind, name = column.type, column.name
    if value is None:
        if not column.nullable:
            raise ValueError(f"{name} must not be null")
        return None
    if isinstance(kind, Boolean):
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false")
        return value
    if isinstance(kind, BigInteger):
        return validation.integer(value, name)
    if isinstance(kind, Double):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name} must be a number")
        return float(value)
    validation.text(value, name)
    if isinstance(kind, Timestamp):
        return _instant(value, name)
    if isinstance(kind, LargeBinary):
        return _bytes(value, name)
    if isinstance(kind, JsonText):
        return _json(value, name)
    return value


def _instant(value: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{name} must be a time in ISO 8601") from None
    return validation.instant(moment, name)


def _bytes(value: str, name: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise ValueError(f"{name} must be base64") from None


def _json(value: str, name: str) -> str:
    try:
        json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} must be JSON") from None
    return validation.json_text(value, name)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def read_export(path: str | os.PathLike[str]) -> Export:
    """Read an export to its end and compare it with what it says of itself.

    `BackupError` if it was changed, cut, or is none.
    """
    reader = _Reader(Path(path))
    for _ in reader.rows():
        pass
    assert reader.export is not None  # noqa: S101 - else `rows` has raised
    return reader.export


def rows_of(path: Path) -> Iterator[Line]:
    """Each row; after the last one `BackupError` as `read_export`."""
    return _Reader(path).rows()


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.export: Export | None = None

    def rows(self) -> Iterator[Line]:
        digest, counted = hashlib.sha256(), Counter[str]()
        with _opened(self._path) as file:
            lines = enumerate(self._lines(file), start=1)
            header: Header | None = None
            for number, line in lines:
                if not line.endswith(b"\n"):
                    raise BackupError(f"{self._path} is cut short: its end is missing")
                if header is None:
                    header = _header(self._path, line)
                else:
                    found = _parsed(line)
                    if set(found) == {"rows", "sha256"}:
                        break
                    if (
                        set(found) != {"table", "row"}
                        or not isinstance(found["table"], str)
                        or not isinstance(found["row"], dict)
                    ):
                        raise BackupError(f"{self._path}: line {number} is no row of a table")
                    counted[found["table"]] += 1
                    yield Line(number, found["table"], found["row"])
                digest.update(line)
            else:
                raise BackupError(
                    f"{self._path} is cut short: its end is missing"
                    if header
                    else f"{self._path} is empty"
                )
            if next(lines, None) is not None:
                raise BackupError(f"{self._path} is damaged: something follows its end")
        if found["sha256"] != digest.hexdigest() or found["rows"] != dict(counted):
            raise BackupError(f"{self._path} is not what was exported: it was changed since")
        self.export = Export(**dict(header), rows=found["rows"], sha256=found["sha256"])

    def _lines(self, file: IO[bytes]) -> Iterator[bytes]:
        """Lines with their ends, which the last one may lack."""
        # By hand: `readline` of a compressed file holds a long line twice.
        number, line = 1, bytearray()
        while piece := file.readline(_PIECE):
            line += piece
            if len(line) > LONGEST_LINE:
                raise BackupError(
                    f"{self._path}: line {number} is longer than {LONGEST_LINE:,} bytes, which no "
                    "line of an export is"
                )
            if piece.endswith(b"\n"):
                yield bytes(line)
                number, line = number + 1, bytearray()
        if line:
            yield bytes(line)


def _header(path: Path, line: bytes) -> Header:
    try:
        return Header.model_validate_json(line)
    except ValidationError:
        raise BackupError(
            f"{path} is no export of a tenant, or of a format that this Holdfast does not know"
        ) from None


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        # From text: given bytes, the parser would take other encodings too.
        found = json.loads(line.decode(), parse_constant=_refuse)
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
