"""A chain of revisions: which tables it builds, where its files lie, where a database keeps count.

Holdfast has one; each extension that is attached brings one of its own.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, MetaData

from holdfast.errors import MigrationError, SchemaTooNewError
from holdfast.migrations.former import former_revision, revisions
from holdfast.migrations.headers import Revision, in_line
from holdfast.schema import metadata

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["HOLDFAST", "VERSION_TABLE", "Chain", "Revision"]

#: What the names of the tables begin with in which databases keep count.
VERSION_TABLE = "holdfast_revision"


@dataclass(frozen=True, eq=False)
class Chain:
    """The revisions in ``folder`` that build the tables of ``metadata``."""

    name: str
    metadata: MetaData
    folder: Path
    version_table: str

    @property
    def place(self) -> str:
        """Before a colon, where an error comes from; nothing for Holdfast itself."""
        return "" if self is HOLDFAST else f"extension {self.name}: "

    @property
    def former_table(self) -> str:
        """Where older releases kept count."""
        return self.version_table.replace(VERSION_TABLE, "alembic_version", 1)

    def head(self) -> str | None:
        """The newest revision this code knows; ``None`` as long as there is none."""
        newest = self.history()[:1]
        return newest[0].revision if newest else None

    def history(self) -> Sequence[Revision]:
        """Every revision, newest first."""
        files = sorted(self.folder.glob("*.py"))
        return _read(self, tuple((file, file.stat().st_mtime_ns) for file in files))

    def revision(self, connection: Connection) -> str | None:
        """The database's revision; ``None`` before the first migration."""
        stored = revisions(connection, self.version_table)
        if stored is None:
            return former_revision(self, connection)
        if len(stored) > 1:
            raise MigrationError(f"{self.place}{self.version_table} has more rows than one")
        return stored[0] if stored else None

    def is_carried_over(self, connection: Connection) -> bool:
        """Whether the database keeps the revision where this release does."""
        return revisions(connection, self.version_table) is not None

    def stands_at_head(self, connection: Connection) -> bool:
        """Whether there is nothing to do; `SchemaTooNewError` if only newer code knows."""
        revision = self.revision(connection)
        if why := self.too_new(revision):
            raise SchemaTooNewError(why)
        return revision == self.head()

    def too_new(self, revision: str | None) -> str:
        """What to say of a revision that only newer code knows; empty of every other one."""
        if revision is None or revision in {step.revision for step in self.history()}:
            return ""
        what = "the database is" if self is HOLDFAST else "its tables are"
        return (
            f"{self.place}{what} at revision {revision}, which this {self.name.capitalize()} "
            f"does not know (its newest is {self.head()}): migrated by a newer release. Upgrade "
            f"{self.name.capitalize()}, or downgrade the database with that release"
        )

    def why_not_current(self, revision: str | None) -> str:
        """Why this code cannot be sure of a database at ``revision``, and the way out; or empty."""
        head = self.head()
        if revision == head:
            return ""
        if too_new := self.too_new(revision):
            return too_new
        what = "the schema is" if self is HOLDFAST else "its tables are"
        there = (
            f"at revision {revision}, older than this code's {head}" if revision else "not there"
        )
        return f"{self.place}{what} {there}: run `holdfast migrate`, or await backend.migrate()"

    def config(self, **attributes: Any) -> Config:
        """What Alembic's commands want; ``attributes`` are for `holdfast.migrations.env`."""
        from alembic.config import Config  # only what migrates needs it, and most starts do not

        config = Config(attributes={**attributes, "chain": self}, cmd_opts=Namespace(quiet=True))
        options = {
            "script_location": str(Path(__file__).parent),
            "version_locations": str(self.folder),
            "path_separator": "newline",
            "file_template": "%(rev)s_%(slug)s",
        }
        for name, value in options.items():
            config.set_main_option(name, value.replace("%", "%%"))
        return config


@lru_cache(maxsize=16)
def _read(chain: Chain, files: tuple[tuple[Path, int], ...]) -> Sequence[Revision]:
    """The history in these files, without Alembic if it is a plain one."""
    if (line := in_line(file for file, _ in files)) is not None:
        return line
    from alembic.script import ScriptDirectory

    try:
        scripts = ScriptDirectory.from_config(chain.config())
        scripts.get_current_head()  # an error if there are two
        return tuple(
            Revision(script.revision, script.down_revision, script.doc)  # type: ignore[arg-type]
            for script in scripts.walk_revisions()
        )
    except Exception as error:  # they are code: it can raise anything
        raise MigrationError(f"{chain.place}the revisions cannot be read: {error}") from error


HOLDFAST = Chain("holdfast", metadata, Path(__file__).with_name("versions"), VERSION_TABLE)
