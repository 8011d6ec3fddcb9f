"""Ports to listen on."""

from __future__ import annotations

import contextlib
import socket

from aiohttp import web

HOST = "127.0.0.1"


def free_pairs(count: int) -> list[tuple[int, int]]:
    """
    Find `count` pairs of neighbouring free ports on the loopback address.

    Raises:
        OSError: There are none.
    """
    pairs: list[tuple[int, int]] = []
    with contextlib.ExitStack() as held:
        for _ in range(count * 50):
            first = held.enter_context(_bound(0))
            port = first.getsockname()[1]
            try:
                held.enter_context(_bound(port + 1))
            except (OSError, OverflowError):
                continue
            pairs.append((port, port + 1))
            if len(pairs) == count:
                return pairs
    raise OSError("no pairs of neighbouring free ports")


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except BaseException:
        bound.close()
        raise
    return bound


async def listen(runner: web.AppRunner, port: int) -> None:
    """Serve on the loopback address; raises OSError if the port is taken."""
    await web.TCPSite(runner, HOST, port, reuse_address=True).start()
