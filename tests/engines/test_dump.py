"""What PostgreSQL's programs are told about whom to trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast import PostgresConfig
from holdfast.engines.postgres.admin import dump
from holdfast.errors import BackupError


class _Connected:
    _addr = ("db1", 5432)


async def _told(tmp_path: Path, **options: Any) -> dict[str, str]:
    """The environment of a program that is run as pg_dump is."""
    program, said = tmp_path / "program", tmp_path / "said"
    program.write_text(f"#!/bin/sh\nenv > {said}\n")
    program.chmod(0o755)
    config = PostgresConfig(host="db1", database="d", username="u", password="p", **options)
    await dump._run(config, _Connected(), str(program))  # type: ignore[arg-type]
    lines = said.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


async def test_the_authorities_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.pem").write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    told = await _told(tmp_path)
    assert (told["PGSSLMODE"], told["PGSSLROOTCERT"]) == ("verify-full", "system")
    # Where OpenSSL finds them, here and in libpq.
    assert told["SSL_CERT_FILE"] == str(tmp_path / "system.pem")
    # With verify-ca libpq does not take "system".
    told = await _told(tmp_path, ssl_mode="verify-ca")
    assert told["PGSSLROOTCERT"] == str(tmp_path / "system.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nowhere.pem"))
    with pytest.raises(BackupError, match="name one with ssl_root_cert"):
        await _told(tmp_path, ssl_mode="verify-ca")


@pytest.mark.parametrize("mode", [None, "verify-ca", "verify-full", "require"])
async def test_an_authority_of_our_own(tmp_path: Path, mode: str | None) -> None:
    told = await _told(tmp_path, ssl_mode=mode, ssl_root_cert="ca.crt")
    assert (told["PGSSLMODE"], told["PGSSLROOTCERT"]) == (mode or "verify-full", "ca.crt")


async def test_none_where_nothing_is_verified(tmp_path: Path) -> None:
    assert "PGSSLROOTCERT" not in await _told(tmp_path, ssl_mode="require")
