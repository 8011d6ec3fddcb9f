"""A TCP proxy that can cut a connection at the worst moment: after the client's bytes went through, before the answer comes back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class CuttingProxy:
    """
    Forwards to 127.0.0.1:`target`. Once armed with a text, the first request that holds it is forwarded whole, its answer is
    swallowed, and every connection is cut when the server has answered. `refuse` makes new connections fail.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._armed: bytes | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.cut = asyncio.Event()
        self.refuse = False
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self, text: bytes) -> None:
        self._armed = text
        self.cut.clear()

    def cut_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.transport.abort()
            return
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, up_writer}
        fatal = asyncio.Event()
        for pump in (self._up(reader, up_writer, fatal), self._down(up_reader, writer, fatal)):
            task = asyncio.create_task(pump)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fatal: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._armed is not None and self._armed in data:
                    self._armed = None
                    fatal.set()
                writer.write(data)
                await writer.drain()
            writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fatal: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if fatal.is_set():
                    self.cut.set()
                    self.cut_all()
                    return
                writer.write(data)
                await writer.drain()
            writer.close()
