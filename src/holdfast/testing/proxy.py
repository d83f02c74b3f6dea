"""A TCP proxy on this machine that breaks connections the way networks do.

::

    async with Proxy(port) as proxy:      # to 127.0.0.1:port; clients connect to proxy.port
        proxy.stall()                     # nothing is forwarded any more, nobody is told
        proxy.resume()
        proxy.cut()                       # every connection is reset
        proxy.cut_at(is_commit)           # ... when the client has sent a COMMIT, before the reply

It follows the frames of PostgreSQL's protocol, type and length, but nothing inside them, so it
serves connections without TLS.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Literal, Self

__all__ = ["Message", "Proxy", "is_commit", "is_execute"]

Direction = Literal["up", "down", "both"]
#: A message of the client's: its type, one letter, and its content without the length.
Message = tuple[bytes, bytes]

_CHUNK = 64 * 1024


def is_commit(message: Message) -> bool:
    """Whether this is the simple query ``COMMIT``."""
    return message == (b"Q", b"COMMIT\0")


def is_execute(message: Message) -> bool:
    """Whether this runs a prepared statement."""
    return message[0] == b"E"


class Frames:
    """Cuts what a client sends into messages, however the network has cut it."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now; those before the start have the empty type."""
        self._rest += data
        found: list[Message] = []
        while True:
            head = 1 if self._started else 0
            if len(self._rest) < head + 4:
                return found
            end = head + struct.unpack_from("!I", self._rest, head)[0]
            if len(self._rest) < end:
                return found
            kind, content = self._rest[:head], self._rest[head + 4 : end]
            self._rest = self._rest[end:]
            # A request for TLS or GSS comes before the start and may be refused.
            if not self._started and content[:4] not in (b"\x04\xd2\x16/", b"\x04\xd2\x160"):
                self._started = True
            found.append((kind, content))


class _Pair:
    """A client's connection and the one to the target that belongs to it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.client = client
        self.target: asyncio.StreamWriter | None = None
        self.frames = Frames()
        self.up, self.down = asyncio.Event(), asyncio.Event()
        self.up.set()
        self.down.set()

    def reset(self) -> None:
        """End both sides with a RST: what was not delivered is dropped."""
        for writer in (self.client, self.target):
            if writer is not None:
                _reset(writer)


class Proxy:
    """Forwards from a port of its own to ``target_port`` of this machine; one event loop's."""

    def __init__(self, target_port: int, *, host: str = "127.0.0.1") -> None:
        self._target = (host, target_port)
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: tuple[bool, bool] = (False, False)
        self._cut_at: Callable[[Message], bool] | None = None
        self._bytes_left: int | None = None
        #: Seconds that each piece is kept back, in both directions.
        self.delay = 0.0
        #: New connections are reset at once.
        self.refusing = False
        #: How many connections were asked for, and how many cuts were made at a message.
        self.accepted = 0
        self.cuts = 0

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    @property
    def port(self) -> int:
        if self._server is None:
            raise RuntimeError("the proxy was not started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """Those that are open."""
        return len(self._pairs)

    def stall(self, direction: Direction = "both", *, new: bool = True) -> None:
        """Stop forwarding and say nothing; ``up`` is towards the target.

        ``new``: connections that are made meanwhile as well. Nothing is lost by a stall: `resume`
        delivers it.
        """
        up, down = direction in ("up", "both"), direction in ("down", "both")
        for pair in self._pairs:
            if up:
                pair.up.clear()
            if down:
                pair.down.clear()
        if new:
            self._held = up, down

    def resume(self) -> None:
        self._held = (False, False)
        for pair in self._pairs:
            pair.up.set()
            pair.down.set()

    def cut(self) -> None:
        """Reset every connection, on both sides."""
        for pair in tuple(self._pairs):
            pair.reset()

    def half_open(self) -> None:
        """End the target's side and keep the clients' open and silent, as a machine that lost its
        power does."""
        self.stall("both", new=False)
        for pair in self._pairs:
            if pair.target is not None:
                _reset(pair.target)

    def cut_after(self, count: int) -> None:
        """Reset the connection on which ``count`` further bytes have gone to the clients, of all
        taken together, in the middle of a message if it so happens."""
        self._bytes_left = count

    def cut_at(self, matches: Callable[[Message], bool] | None) -> None:
        """Reset a connection when the client has sent such a message: the target gets it and
        answers, and the client never hears of it. ``None``: no more."""
        self._cut_at = matches

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        for task in self._tasks:
            task.cancel()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # -- one connection ------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = _Pair(self, writer)
        if self._held[0]:
            pair.up.clear()
        if self._held[1]:
            pair.down.clear()
        self._pairs.add(pair)
        try:
            if self.refusing:
                return
            answers, pair.target = await asyncio.open_connection(*self._target)
            up = asyncio.ensure_future(self._up(pair, reader, pair.target))
            down = asyncio.ensure_future(self._down(pair, answers))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
                # Who hung up may still be sent what is on its way.
                if up.done() and pair.down.is_set():
                    await asyncio.wait([down], timeout=1.0)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.wait([up, down])
        except OSError:  # the target is away: the client is told by a reset
            pass
        finally:
            pair.reset()
            self._pairs.discard(pair)

    async def _up(
        self, pair: _Pair, reader: asyncio.StreamReader, target: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await pair.up.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                matches = self._cut_at
                messages = pair.frames.feed(data)
                if matches is not None and any(matches(message) for message in messages):
                    pair.down.clear()  # the reply goes nowhere
                    self.cuts += 1
                    target.write(data)
                    await target.drain()
                    # Only the client is cut: the target has the time to do what it was told.
                    _reset(pair.client)
                    await asyncio.sleep(0.05)
                    return
                target.write(data)
                await target.drain()
            await pair.up.wait()  # a stalled network does not forward the end either
            await pair.down.wait()

    async def _down(self, pair: _Pair, answers: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await answers.read(_CHUNK):
                await pair.down.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self._bytes_left is not None:
                    self._bytes_left -= len(data)
                    if self._bytes_left < 0:
                        pair.client.write(data[: self._bytes_left])
                        self._bytes_left = None
                        await pair.client.drain()
                        return
                pair.client.write(data)
                await pair.client.drain()
        await pair.down.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None and not writer.is_closing():
        # Closed with no time to linger, a socket sends a RST.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
