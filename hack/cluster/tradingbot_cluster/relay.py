"""Bytes from a listening socket to an address, both ways: the door into a network namespace."""

from __future__ import annotations

import asyncio
import contextlib
import socket

CHUNK = 65_536


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _serve(near: tuple[asyncio.StreamReader, asyncio.StreamWriter], host: str, port: int) -> None:
    with contextlib.closing(near[1]):
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            return  # the caller sees a closed connection, as without a relay
        with contextlib.closing(far_writer):
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(near[0], far_writer))
                both.create_task(_copy(far_reader, near[1]))


async def relay(listening: socket.socket, host: str, port: int) -> None:
    """
    Relay every connection that `listening` accepts to `host:port`, for ever.

    A socket stays in the network namespace that it was made in; connections go out from the one that this process is in.
    """
    server = await asyncio.start_server(lambda reader, writer: _serve((reader, writer), host, port), sock=listening)
    async with server:
        await server.serve_forever()
