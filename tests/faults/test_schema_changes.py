"""Row 24, and row 23 with online builds: the schema changes while everybody works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg

from holdfast import PersistenceBackend, create_backend
from holdfast.extending import Extension
from holdfast.testing.databases import connected

from ..extending.things import Note, make, written
from ..forked import Child
from .scorecard import FULL, Record, sized

READERS = 8

_COLUMN = """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("pad_notes", sa.Column("colour", sa.Text))
def downgrade():
    op.drop_column("pad_notes", "colour")
"""
_INDEX = """
from alembic import op
from holdfast.migrations.indexes import create_index_online
revision, down_revision = "0003", "0002"
def upgrade():
    create_index_online("ix_pad_notes_colour", "pad_notes", ["tenant", "colour"])
def downgrade():
    op.drop_index("ix_pad_notes_colour", "pad_notes")
"""
_INVALID = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
#: Once it waits for the long transaction: before, there is no index yet to be left behind.
_BUILDER = (
    "SELECT pid, application_name"
    " FROM pg_stat_progress_create_index JOIN pg_stat_activity USING (pid)"
    " WHERE phase = 'waiting for writers before build'"
)

ROOT = Path(__file__).parents[2]
_MIGRATE = """
import asyncio, sys
from pathlib import Path
from holdfast import create_backend
from tests.extending.things import make

async def main(url, folder):
    backend = create_backend(url, extensions=[make(Path(folder))])
    await backend.connect()
    await backend.migrate()
    await backend.disconnect()

asyncio.run(main(*sys.argv[1:]))
"""


async def _extended(folder: Path, url: str) -> tuple[Extension, PersistenceBackend]:
    """A backend with an extension at its first revision; the next two are written behind it."""
    extension = make(folder)
    await written(extension)
    backend = create_backend(url, extensions=[extension])
    await backend.connect()
    await backend.migrate()
    (folder / "pad" / "0002_colour.py").write_text(_COLUMN)
    (folder / "pad" / "0003_index.py").write_text(_INDEX)
    return extension, backend


async def _migrate(url: str, extension: Extension) -> None:
    async with connected(create_backend(url, extensions=[extension])):
        pass


async def _read_meanwhile(notes: Any, work: Callable[[], Awaitable[Any]]) -> tuple[float, int]:
    """The longest a read took while ``work`` was done, and how many there were."""
    longest, count, stop = 0.0, 0, False

    async def reader() -> None:
        nonlocal longest, count
        while not stop:
            begun = time.perf_counter()
            assert await notes.get("n") is not None  # any error ends the test
            longest = max(longest, time.perf_counter() - begun)
            count += 1
            await asyncio.sleep(0.005)

    readers = [asyncio.create_task(reader()) for _ in range(READERS)]
    await work()
    stop = True
    await asyncio.gather(*readers)
    return longest, count


async def test_row_24_the_schema_changes_under_load(
    tmp_path: Path, postgres_url: str, record: Record
) -> None:
    seconds = float(sized(2, 10))
    bound = 0.5 if FULL else seconds / 2  # the rest of a test run shares the machine
    extension, backend = await _extended(tmp_path, postgres_url)
    notes: Any = backend.repository(extension.repositories[0])
    await notes.save(Note(id="n", text="x"))
    await notes.get("n")  # prepared before the schema changes
    blocker = await asyncpg.connect(postgres_url, statement_cache_size=0)

    async def change(send: Callable[[], Awaitable[Any]]) -> None:
        """A long transaction that has read the table, and a change that comes in the middle."""
        async with blocker.transaction():
            await blocker.fetch("SELECT * FROM pad_notes")
            changing = asyncio.ensure_future(send())
            await asyncio.sleep(seconds)
        await changing

    async def elsewhere() -> None:
        """On a loop of its own: what migrating computes is not what readers wait for."""
        await asyncio.to_thread(asyncio.run, _migrate(postgres_url, extension))

    longest, reads = await _read_meanwhile(notes, lambda: change(elsewhere))
    status = (await backend.status()).extensions["pad"]
    other = await asyncpg.connect(postgres_url)
    invalid = await other.fetchval(_INVALID)
    blunt, _ = await _read_meanwhile(
        notes,
        lambda: change(lambda: other.execute("ALTER TABLE pad_notes ADD COLUMN size integer")),
    )
    await blocker.close()
    await other.close()
    await backend.disconnect()
    record(
        24,
        f"a migration behind {seconds:.0f} s of reading",
        f"{reads:,} reads by {READERS}, the longest {longest * 1000:.0f} ms, 0 errors, "
        f"{invalid} invalid indexes",
        f"ALTER TABLE without lock_timeout: a read took {blunt * 1000:.0f} ms",
    )
    assert status.revision == "0003"
    assert invalid == 0
    assert longest <= bound
    assert blunt > seconds / 2


async def test_row_23_a_build_is_killed(tmp_path: Path, postgres_url: str, record: Record) -> None:
    processes = sized(4, 16)
    _, backend = await _extended(tmp_path, postgres_url)
    watcher = await asyncpg.connect(postgres_url)
    blocker = await asyncpg.connect(postgres_url)

    async def kill_the_builder() -> None:
        async with asyncio.timeout(30):
            while (pid := await watcher.fetchval(_BUILDER)) is None:  # noqa: ASYNC110 - a process
                await asyncio.sleep(0.02)
        await watcher.fetchval("SELECT pg_terminate_backend($1)", pid)

    # The column first: it would wait for the long transaction.
    (tmp_path / "pad" / "0003_index.py").rename(tmp_path / "later")
    await backend.migrate()
    (tmp_path / "later").rename(tmp_path / "pad" / "0003_index.py")
    async with blocker.transaction():
        await blocker.execute("INSERT INTO pad_notes (tenant, id, text) VALUES ('t', 'o', 'x')")
        outcomes: Any = await asyncio.gather(
            backend.migrate(), kill_the_builder(), return_exceptions=True
        )
        killed = await watcher.fetchval(_INVALID)
    # The control: what is there by its name is taken for built.
    await watcher.execute(
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_pad_notes_colour ON pad_notes (tenant, colour)"
    )
    control = await watcher.fetchval(_INVALID)

    await watcher.execute("DROP INDEX ix_pad_notes_colour")

    # Now as processes: the one that builds is killed, and those behind it find what it left.
    builders = [
        await Child.start(_MIGRATE, f"{postgres_url}?application_name=m{number}", str(tmp_path))
        for number in range(processes)
    ]
    async with blocker.transaction():
        await blocker.execute("INSERT INTO pad_notes (tenant, id, text) VALUES ('t', 'p', 'x')")
        async with asyncio.timeout(60):
            while (found := await watcher.fetchrow(_BUILDER)) is None:  # noqa: ASYNC110 - a process
                await asyncio.sleep(0.02)
        victim = builders.pop(int(found["application_name"].removeprefix("m")))
        victim.kill()
        # As the server does when it finds out, which may be after its tcp_keepalives.
        await watcher.fetchval("SELECT pg_terminate_backend($1)", found["pid"])
        await victim.wait()
        left = await watcher.fetchval(_INVALID)
    codes = [(await builder.wait())[0] for builder in builders]
    revision = (await backend.status()).extensions["pad"].revision
    invalid = await watcher.fetchval(_INVALID)
    await backend.disconnect()
    await blocker.close()
    await watcher.close()
    record(
        23,
        "an index build is killed",
        f"{codes.count(0)} of {processes - 1} processes up behind it, at {revision}, "
        f"{invalid} invalid indexes of {left}",
        f"CREATE INDEX IF NOT EXISTS leaves {control} invalid",
    )
    assert isinstance(outcomes[0], Exception)
    assert killed == control == left == 1
    assert codes == [0] * (processes - 1)
    assert revision == "0003"
    assert invalid == 0
