"""`backend.operations`: every operation under one name."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta

from pydantic import SecretStr

from holdfast import validation
from holdfast.engines.protocol import Engine, Failover
from holdfast.engines.upkeep import Finding
from holdfast.migrations import Chain
from holdfast.operations import backup, doctor, exports, retention, roles, rows, tenants
from holdfast.operations.backup import Backup
from holdfast.operations.portable import Export
from holdfast.operations.retention import Pruned, RetentionPolicy
from holdfast.operations.rows import RawRow
from holdfast.storage.binding import Models
from holdfast.storage.reading import MalformedRow

__all__ = ["Operations"]


class Operations:
    """Work on the whole database, whichever tenant the backend speaks for.

    The database's role must see every tenant: the owner's does, the runtime role's does not. Tables
    of extensions are included if the extensions are attached to the backend.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        chains: Sequence[Chain],
        models: Models | None = None,
    ) -> None:
        self._engine = engine
        self._chains = chains
        self._models = models
        #: Of Holdfast and of the extensions; who is referred to comes before who refers.
        self._tables = [table for chain in chains for table in chain.metadata.sorted_tables]

    async def backup(self, target: str | os.PathLike[str]) -> Backup:
        """Copy the database, as it is at one moment, into a new file with a manifest beside it.

        Writers go on. The file has its name only when it is complete, synced, and its rows are
        those of the database; only its owner may read it. SQLite's is a database in one file;
        PostgreSQL's is pg_dump's custom format, which needs that program. `BackupError` if the
        file exists or cannot be made, and for a database that was never migrated.
        """
        path = validation.file_path(target, "backup: target")
        return await backup.make(self._engine(), self._chains, self._tables, path)

    async def restore(
        self, source: str | os.PathLike[str], *, keep_foreign: bool = False
    ) -> Backup:
        """Fill this database, which must be empty, from a backup of the same engine.

        The file is compared with its manifest first, and the rows with it afterwards:
        `BackupError` if either differs. Triggers, rules, policies and functions on Holdfast's
        tables that no release makes, and those of Holdfast's that are missing, are a `BackupError`
        by their names, and nothing is restored; ``keep_foreign`` restores it as it is.
        """
        path = validation.file_path(source, "restore: source")
        return await backup.restore(self._engine(), self._chains, path, keep_foreign=keep_foreign)

    def failovers(self) -> Sequence[Failover]:
        """The failovers of PostgreSQL that this process met since `connect`, oldest first.

        Each tells which rows that were acknowledged are missing on the new primary. It is here
        when the rows have been looked up, some moments after the first answer of the new primary;
        where ``broken_off`` is not empty, not all of them could be.
        """
        return self._engine().stats().failovers

    async def doctor(self, *, thorough: bool = False, rows: bool = False) -> Sequence[Finding]:
        """Look at server, configuration and schema; the worst comes first.

        ``thorough`` also reads the whole database for damage, on PostgreSQL if amcheck is there.
        ``rows`` also looks for rows that cannot be read as their entities: see `malformed_rows`.
        """
        found = [*await doctor.examine(self._engine(), self._chains, thorough=thorough)]
        if rows:
            found += await doctor.examine_rows(self.malformed_rows())
        return doctor.worst_first(found)

    async def malformed_rows(self, *, tenant: str | None = None) -> AsyncIterator[MalformedRow]:
        """Find every row that cannot be read as its entity, of all tenants or of one.

        Reads all tables, in pieces, and changes nothing; where classes are bound, a row must be
        readable as those. A list that holds such a row is a `MalformedRowError` until it is
        repaired (`read_row`, then `replace_row` or `quarantine_row`), or goes around it
        (`PersistenceBackend.skipping_malformed`).
        """
        found = rows.find(self._engine(), self._tables, self._models, tenant)
        with tenants.concerning_all("the search for rows that cannot be read"):
            async with aclosing(found) as found_rows:  # type: ignore[type-var]
                async for row in found_rows:
                    yield row

    async def read_row(self, row: MalformedRow) -> RawRow:
        """Return what the columns of a row hold, readable or not; `RecordNotFoundError`."""
        return await rows.read(self._engine(), self._tables, row)

    async def quarantine_row(self, row: MalformedRow, target: str | os.PathLike[str]) -> RawRow:
        """Move a row into a file: append it as a line of JSON, then delete it.

        Both or nothing: the row is deleted when the file is on the disk, which only its owner may
        read if it is new. `ConstraintViolationError` if other rows refer to it: correct it then.
        """
        path = validation.file_path(target, "quarantine_row: target")
        return await rows.quarantine(self._engine(), self._tables, row, path)

    async def replace_row(self, row: RawRow) -> None:
        """Write a row as its columns are given, over what is stored under its key.

        `InvalidArgumentError`, and nothing is written, if it could not be read as its entity.
        """
        await rows.replace(self._engine(), self._tables, self._models, row)

    async def tenants(self) -> Sequence[str]:
        """Every tenant who has a row in any table, the log of changes included; sorted.

        Costs a look into each table's key per tenant, not per row.
        """
        with tenants.concerning_all("the list of tenants"):
            return await tenants.names(self._engine(), self._tables)

    async def count_tenant(self, tenant: str) -> Mapping[str, int]:
        """Rows of a tenant at one moment, per table that has any."""
        return await tenants.count(self._engine(), self._tables, tenant)

    async def export_tenant(self, tenant: str, target: str | os.PathLike[str]) -> Export:
        """Write all rows of a tenant, as they are at one moment, into a new file.

        JSON lines, the same for every engine; compressed if the name ends in ``.gz``. Writers go
        on. The file has its name only when it is complete and synced, and only its owner may read
        it. `BackupError` if the file exists or cannot be made.
        """
        path = validation.file_path(target, "export_tenant: target")
        return await exports.save(self._engine(), self._chains, self._tables, tenant, path)

    async def import_tenant(
        self, source: str | os.PathLike[str], *, tenant: str | None = None
    ) -> Export:
        """Fill a tenant who has no rows from an export: all of it or nothing.

        Under the exported name if no other is given. The file is read to its end first. The log of
        changes stays behind: it numbers what happened elsewhere. On SQLite everybody who writes
        waits until it is done. `BackupError` if the file is damaged, the tenant has rows, or the
        schemas are at different revisions.
        """
        path = validation.file_path(source, "import_tenant: source")
        return await exports.load(
            self._engine(), self._chains, self._tables, self._models, path, tenant
        )

    async def erase_tenant(self, tenant: str) -> Mapping[str, int]:
        """Delete all rows of a tenant, those of his log of changes last; how many, per table.

        Not one transaction but many small ones, between which others write: when it fails
        half-way, run it again, and it goes on. Returns when no table has a row of the tenant.
        `QueryError` if somebody goes on writing for him. Rows that were recorded as deleted
        meanwhile are counted in the log as well.
        """
        return await tenants.erase(self._engine(), self._tables, tenant)

    async def create_roles(
        self,
        prefix: str = "holdfast",
        *,
        passwords: Mapping[str, SecretStr] | None = None,
        readonly: bool = False,
        take_over: bool = False,
        dry_run: bool = False,
    ) -> Sequence[str]:
        """Make the roles that row-level security needs, or bring them to what they should be.

        ``<prefix>_owner`` owns the tables and cannot log in; ``<prefix>_migrator`` acts as the
        owner; ``<prefix>_app`` reads and writes rows, of one tenant at a time. ``passwords`` are by
        ``migrator``, ``app`` and ``readonly``; the server is sent their SCRAM verifiers. Answers
        the SQL, without verifiers; all of it or, on an error, nothing is done. Before the first
        migration or after it, and again after an upgrade: it can be repeated.

        `InvalidArgumentError` on SQLite, which has no roles, and if the tables belong to the owner
        of another prefix: ``take_over`` gives them to this one. That prefix's roles keep the rights
        they have.
        """
        given = validation.mapping(passwords, "create_roles: passwords")
        names = roles.RoleNames.of(prefix, readonly=readonly)
        return await roles.create(
            self._engine(), self._chains, names, given,
            take_over=take_over, dry_run=dry_run,
        )  # fmt: skip

    async def roles_without_password(
        self, prefix: str = "holdfast", *, readonly: bool = False
    ) -> Sequence[str]:
        """Which of ``migrator``, ``app`` and ``readonly`` have no password, or do not exist.

        They log in by other means, such as certificates, or not at all. Who may not see that (it
        takes a superuser) is told of those that do not exist alone. SQLite has no roles.
        """
        names = roles.RoleNames.of(prefix, readonly=readonly)
        return await roles.passwordless(self._engine(), names)

    async def prune(
        self,
        policy: RetentionPolicy | timedelta | None = None,
        *,
        tables: Sequence[str] | None = None,
        tenants: Sequence[str] | None = None,
        dry_run: bool = False,
    ) -> Sequence[Pruned]:
        """Delete rows that are older than they are kept, in small transactions, oldest first.

        A timedelta is how long every history is kept or, if ``tables`` are given, these. Without
        a policy only rows go that have expired. ``tables`` and ``tenants`` leave out all others;
        ``dry_run`` counts what would go. Answers what went, per table and tenant; run again after
        a failure it goes on.

        `InvalidArgumentError` for a table whose rows have no age at which they may go, and for one
        of ``tables`` that no age is given for.
        """
        return await retention.prune(
            self._engine(),
            self._tables,
            policy,
            validation.texts(tables, "prune: tables"),
            validation.texts(tenants, "prune: tenants"),
            dry_run=dry_run,
        )
