"""Connections whose age is over, and a server that lets no new ones in."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from holdfast import create_backend
from holdfast.testing.databases import connected

from ..conformance.test_work import task


async def test_a_connection_that_works_is_kept(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    role = f"aging_{uuid4().hex[:12]}"
    parts = urlsplit(postgres_url)
    where = parts.netloc.rpartition("@")[2]
    url = parts._replace(netloc=f"{role}:secret@{where}", query="max_connection_age_seconds=0.2")
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'secret'")
    try:
        async with connected(create_backend(url.geturl())) as backend:
            await backend.tasks.get("0")
            opened = backend.stats().pool.opened
            await admin.execute(f"ALTER ROLE {role} NOLOGIN")
            for number in range(50):  # five times its age
                await backend.tasks.save(task(str(number)))
                await asyncio.sleep(0.02)
            assert "cannot connect" in caplog.text
            assert "no role that may log in" in caplog.text  # and not: a wrong password
            assert "calls are refused" not in caplog.text
            assert backend.stats().pool.opened == opened
            await admin.execute(f"ALTER ROLE {role} LOGIN")
            async with asyncio.timeout(20):
                while backend.stats().pool.opened == opened:
                    await backend.tasks.get("0")
                    await asyncio.sleep(0.05)
            assert backend.stats().errors == {}
    finally:
        await admin.execute(f"DROP ROLE {role}")
        await admin.close()
