"""Row 36: a server that does not prove who it is gets no password, whatever it says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast import PersistenceConnectionError, create_backend
from holdfast.testing import PostgresCluster

from ..programs import need
from .scorecard import Record

PASSWORD = "the-password-of-row-36"
INJECTED = "injected before TLS"


class Authority:
    """Signs certificates for hosts."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign",
        )  # fmt: skip
        self.certificate = folder / f"{name}.pem"

    def context(self, host: str, *, days: int = 2) -> ssl.SSLContext:
        """What a server presents as ``host``, as in ``IP:127.0.0.1``; good for so many days."""
        name = f"{self._name}-{host.replace(':', '-')}-{days}"
        self._run(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=server",
        )  # fmt: skip
        (self._folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
        self._run(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self._name}.pem",
            "-CAkey", f"{self._name}.key", "-CAcreateserial", "-days", str(days),
            "-extfile", f"{name}.ext", "-out", f"{name}.pem",
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        return context

    def _run(self, *arguments: str) -> None:
        subprocess.run(
            [need("openssl"), *arguments], cwd=self._folder, check=True, capture_output=True
        )


class Listener:
    """Answers the request for TLS in its own way, then passes on what it can read to a server.

    ``read`` is all that came in the clear, or that was decrypted here.
    """

    def __init__(self, port: int, answer: bytes, context: ssl.SSLContext | None) -> None:
        self._port, self._answer, self._context = port, answer, context
        self.read = b""
        self.requests = 0

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(8)
        if struct.unpack("!II", first) == (8, 80877103):
            self.requests += 1
            first = b""
            writer.write(self._answer)
            await writer.drain()
            if self._context is not None:
                await writer.start_tls(self._context)
        self.read += first  # without the request: a session in the clear begins
        up, down = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            down.write(first)
            back = asyncio.create_task(_copy(up, writer))
            while data := await reader.read(65536):
                self.read += data
                down.write(data)
            back.cancel()
        finally:
            down.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)


def _error(message: str) -> bytes:
    fields = b"SFATAL\0C28P01\0M" + message.encode() + b"\0\0"
    return b"E" + struct.pack("!I", len(fields) + 4) + fields


async def _try(port: int, ssl_mode: str | None, ca: Path) -> str | None:
    """Why connecting failed, ``None`` if it did not."""
    mode = "" if ssl_mode is None else f"&ssl_mode={ssl_mode}"
    backend = create_backend(
        f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres"
        f"?ssl_root_cert={ca}&connect_timeout_seconds=5{mode}"
    )
    try:
        await backend.connect()
    except PersistenceConnectionError as error:
        return str(error)
    await backend.disconnect()
    return None


@pytest.mark.needs("openssl")
async def test_row_36_a_server_that_is_not_the_one(record: Record, tmp_path: Path) -> None:
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    here = "IP:127.0.0.1"
    with PostgresCluster.create() as cluster:
        port = cluster.port
        true = Listener(port, b"S", ours.context(here))
        async with true.listening() as at:
            assert await _try(at, "verify-full", ours.certificate) is None
        assert b"postgres" in true.read
        liars = {
            "wrong authority": Listener(port, b"S", other.context(here)),
            "wrong host": Listener(port, b"S", ours.context("DNS:db.example")),
            "expired": Listener(port, b"S", ours.context(here, days=0)),
            "error before TLS": Listener(port, _error(INJECTED), None),
            "downgrade by a proxy": Listener(port, b"N", None),
        }
        said = {"TLS off": await _try(port, "verify-full", ours.certificate)}
        await asyncio.sleep(1.1)  # until a certificate that is good for no day has expired
        for name, liar in liars.items():
            async with liar.listening() as at:
                said[name] = await _try(at, "verify-full", ours.certificate)
                # Whoever names an authority wants it asked, on this machine too.
                unset = await _try(at, None, ours.certificate)
            assert unset == said[name]
            assert liar.requests > 0
        leaked = [name for name, liar in liars.items() if liar.read]
        # The control: who does not insist is connected, in the clear.
        prefer = Listener(port, b"N", None)
        async with prefer.listening() as at:
            plain = [await _try(at, "prefer", ours.certificate)]
        plain.append(await _try(port, "prefer", ours.certificate))
    refused = [name for name, why in said.items() if why is not None]
    record(
        36,
        "TLS taken away, or another's",
        f"{len(refused)} of {len(said)} refused, {len(leaked)} were sent more than the request",
        f"ssl_mode=prefer: {plain.count(None)} of {len(plain)} connected in the clear",
    )
    assert len(refused) == len(said) == 6
    assert not leaked
    assert not [why for why in said.values() if INJECTED in str(why) or PASSWORD in str(why)]
    assert "offers no TLS, which ssl_mode=verify-full demands" in str(said["TLS off"])
    reasons = {
        "wrong authority": "unable to get local issuer", "wrong host": "IP address mismatch",
        "expired": "certificate has expired",
    }  # fmt: skip
    assert not [
        name for name, why in reasons.items() if f"TLS failed ({why}" not in str(said[name])
    ]
    assert "28P01" not in str(said["error before TLS"])
    assert plain == [None, None]
    assert b"postgres" in prefer.read
