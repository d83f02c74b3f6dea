"""What the operating system does for a connection without a query of ours, or an event loop."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

import asyncpg

__all__ = ["sever", "watch_peer"]

#: An idle connection is asked by the kernel after so long, again so often, and so many times.
IDLE_SECONDS, AGAIN_SECONDS, TIMES = 30, 5, 3
#: What was sent and not acknowledged for so long ends the connection.
UNACKNOWLEDGED_SECONDS = 15

_OPTIONS = (
    ("TCP_KEEPIDLE", IDLE_SECONDS),
    ("TCP_KEEPINTVL", AGAIN_SECONDS),
    ("TCP_KEEPCNT", TIMES),
    ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_SECONDS * 1000),
)


def watch_peer(raw: asyncpg.Connection[Any]) -> None:
    """Let the kernel notice that the other end is gone, where it is able to.

    The defaults are two hours for a connection that is idle and a quarter of an hour for one that
    has sent something.
    """
    # asyncpg does not offer the socket; without one, checks on checkout have to do.
    transport = getattr(raw, "_transport", None)
    peer = transport.get_extra_info("socket") if transport is not None else None
    if peer is None or peer.family not in (socket.AF_INET, socket.AF_INET6):
        return
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS:
        option = getattr(socket, name, None)
        if option is not None:
            peer.setsockopt(socket.IPPROTO_TCP, option, value)


def sever(raw: asyncpg.Connection[Any]) -> None:
    """End a connection from another event loop: the server hears of it at once.

    A loop that runs sees the end, and cleans up. For one that is stopped or closed it is done here.
    """
    loop = getattr(raw, "_loop", None)
    transport = getattr(raw, "_transport", None)
    peer = transport.get_extra_info("socket") if transport is not None else None
    if loop is None or peer is None or raw.is_closed():
        return
    with suppress(OSError), socket.socket(fileno=os.dup(peer.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
    if loop.is_running():
        return
    with suppress(RuntimeError):  # the loop is closed: nothing can be scheduled on it
        raw.terminate()
    if loop.is_closed():
        # What the loop would have called. Under TLS it is the transport below that has the socket.
        below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None) or transport
        lost = getattr(below, "_call_connection_lost", None)
        if lost is not None:
            with suppress(RuntimeError):
                lost(None)
