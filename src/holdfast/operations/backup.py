"""Backups that say what they hold, and restores that are compared with it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import Connection, Table

from holdfast.config.models import BESIDE
from holdfast.engines.protocol import Engine
from holdfast.errors import BackupError
from holdfast.migrations import Chain, current, differences
from holdfast.operations.tenants import concerning_all

__all__ = ["Backup", "make", "restore", "verify"]

_PIECE = 1024 * 1024


class Backup(BaseModel):
    """The manifest of a backup, which lies beside it as ``<name>.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["holdfast-backup"] = "holdfast-backup"
    format_version: Literal[1] = 1
    engine: str
    holdfast: str
    created_at: datetime
    bytes: int
    sha256: str
    rows: Mapping[str, int]
    """Per table, of all tenants, at the moment of the backup."""


async def make(
    engine: Engine, chains: Sequence[Chain], tables: Sequence[Table], target: Path
) -> Backup:
    try:
        _refuse(target)
    except OSError as error:  # its name is too long, say
        raise BackupError(f"{target}: {error.strerror}") from error
    if not any([await current(engine, chain) for chain in chains]):
        raise BackupError(
            "the database has no tables of Holdfast: look at the URL, or make them with "
            "`holdfast migrate`"
        )
    created_at = datetime.now(UTC)
    # Under its own name only when it is whole: half a file must not pass for a backup. Until then
    # where nobody else looks: it holds the hashes of passwords, and another may run meanwhile.
    try:
        with TemporaryDirectory(
            prefix=f".{target.name}.", suffix=".part", dir=target.parent, ignore_cleanup_errors=True
        ) as folder:
            part = Path(folder) / target.name
            with concerning_all("backup"):
                rows = await engine.backup(part, [table.name for table in tables])
            part.chmod(0o600)
            size, digest = await asyncio.to_thread(_digest, part)
            found = Backup(
                engine=engine.name,
                holdfast=version("holdfast"),
                created_at=created_at,
                bytes=size,
                sha256=digest,
                rows=dict(rows),
            )
            await asyncio.to_thread(_publish, part, target, found)
    except OSError as error:
        raise BackupError(f"{target}: {error.strerror or type(error).__name__}") from error
    return found


async def verify(source: Path, engine: str | None = None) -> Backup:
    """The manifest, after a comparison with the file; `BackupError` if they differ.

    Or, with ``engine``, if the backup is one of another engine.
    """
    try:
        if not await asyncio.to_thread(source.is_file):
            raise BackupError(f"{source} does not exist")
        found = Backup.model_validate_json(manifest_of(source).read_bytes())
        size, digest = await asyncio.to_thread(_digest, source)
    except OSError as error:
        raise BackupError(f"{error.filename}: {error.strerror or type(error).__name__}") from error
    except ValidationError:
        found = None
    if found is None:
        raise BackupError(f"{manifest_of(source)} is not the manifest of a backup")
    if (size, digest) != (found.bytes, found.sha256):
        raise BackupError(f"{source} is not what was backed up: it was changed or cut since")
    if engine not in (None, found.engine):
        raise BackupError(
            f"{source} is a backup of {found.engine} and cannot be restored into {engine}"
        )
    return found


async def restore(
    engine: Engine, chains: Sequence[Chain], source: Path, *, keep_foreign: bool
) -> Backup:
    found = await verify(source, engine.name)

    def accept(restored: Connection, reference: Connection) -> None:
        if keep_foreign:
            return
        strange, missing = differences(restored, reference, chains)
        if strange:
            raise BackupError(
                f"{source} holds what no release of Holdfast makes: {', '.join(strange)}. It could "
                "copy or hide rows of every tenant, and nothing was restored. If it is yours, "
                "restore with --keep-foreign (keep_foreign=True)"
            )
        if missing:
            raise BackupError(
                f"{source} lacks what keeps Holdfast's rules: {', '.join(missing)}. Somebody took "
                "it away before the backup, and nothing was restored. To have it without, and "
                "repair it afterwards as the doctor says, restore with --keep-foreign "
                "(keep_foreign=True)"
            )

    await engine.restore(source, accept)
    rows = await engine.count(list(found.rows))
    differing = sorted(name for name, count in found.rows.items() if rows.get(name) != count)
    if differing:
        raise BackupError(
            f"the restored rows are not those of the backup in {', '.join(differing)}: "
            "do not use this database"
        )
    return found


def manifest_of(backup: Path) -> Path:
    return backup.with_name(f"{backup.name}.json")


def _refuse(target: Path) -> None:
    if target.name.lower().endswith(BESIDE):  # SQLite would take it for its own, and write to it
        raise BackupError(f"{target} must not end in {', '.join(BESIDE)}, as a database's log does")
    if target.exists() or manifest_of(target).exists():
        raise BackupError(f"{target} or its manifest exists: a backup goes into a new file")
    if not target.absolute().parent.is_dir():
        raise BackupError(f"the directory of {target} does not exist")


def _digest(file: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def _publish(part: Path, target: Path, found: Backup) -> None:
    """Bring both files to the disk; the backup gets its name last."""
    manifest = manifest_of(part)
    manifest.write_text(found.model_dump_json(indent=2) + "\n", encoding="utf-8")
    manifest.chmod(0o600)
    for path in (manifest, part):
        with path.open("rb+") as opened:
            os.fsync(opened.fileno())
    _refuse(target)  # somebody may have made one meanwhile
    manifest.rename(manifest_of(target))
    try:
        part.rename(target)
    except OSError:
        manifest_of(target).unlink()
        raise
    if os.name == "posix":  # elsewhere a directory cannot be opened
        directory = os.open(target.absolute().parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
