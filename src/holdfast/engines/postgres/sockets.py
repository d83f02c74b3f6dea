"""What the operating system does about peers that fell silent, without a query of ours."""

from __future__ import annotations

import socket
from typing import Any

import asyncpg

__all__ = ["watch_peer"]

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
