"""Ports to listen on."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

from aiohttp import web

HOST = "127.0.0.1"
FIRST = 10_000
"""Below are ports of well-known servers."""
OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_OUTGOING = 32_768
"""Where the kernel does not tell."""
TRIES = 200


def free_run(length: int) -> int:
    """
    Find the first of `length` neighbouring free ports on the loopback address.

    None of them is a port that the kernel gives to outgoing connections, unless it gives all: a cluster that returns would
    find its own taken by the very client that tries to reach it.

    Raises:
        OSError: There are none.
    """
    for _ in range(TRIES):
        first = random.randrange(FIRST, _first_outgoing() - length)
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + length):
                held.enter_context(_bound(port))
            return first
    raise OSError(f"no {length} neighbouring free ports")


async def listen(runner: web.AppRunner, port: int, *, host: str = HOST) -> None:
    """Serve on an address of this machine; raises OSError if the port is taken."""
    await web.TCPSite(runner, host, port, reuse_address=True).start()


def _first_outgoing() -> int:
    try:
        told = int(OUTGOING.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return FIRST_OUTGOING
    return told if told > 2 * FIRST else 65_536


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except BaseException:
        bound.close()
        raise
    return bound
