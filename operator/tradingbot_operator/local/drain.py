"""How an engine is brought to its end: asked, followed, and at last ended by force; what is open stays journalled."""

import asyncio
import contextlib
import json
import signal
import time
from pathlib import Path

from tradingbot_operator.crd.v1alpha1.runtime import Shutdown
from tradingbot_operator.local.admin import AdminPort, AdminUnreachable
from tradingbot_operator.local.board import Board
from tradingbot_operator.local.process import Child, how_it_ended

QUIT_S = 3.0
"""How long an engine may take to leave at once."""
LOOK_S = 0.2
SLACK_S = 2.0
"""The engine ends its own wait at the trade timeout; this much later the runner stops waiting for it to say so."""
DRAINED, FAILED, OPEN = 0, 1, 3


async def drain(engine: Child, *, admin: AdminPort, board: Board, shutdown: Shutdown, leave: asyncio.Event) -> int:
    """
    Drain a running engine.

    Args:
        engine: The child.
        admin: Its admin port; where it does not answer, SIGTERM asks for the same drain.
        board: Told what happens.
        shutdown: How long trades are followed, and when the engine is ended by force.
        leave: Set when somebody wants to leave at once.

    Returns:
        0 drained, 3 with trades still open, 1 the engine had failed or had to be killed with none known to be open.
    """
    began = time.monotonic()
    await _follow(engine, admin, board, until=began + shutdown.trade_timeout_seconds + SLACK_S, leave=leave)
    if leave.is_set():
        code = await engine.end(patience_s=QUIT_S, first=signal.SIGQUIT)
    else:
        code = await _end(engine, until=began + shutdown.force_timeout_seconds, leave=leave)
    board.answers = False
    if code in (DRAINED, OPEN):
        return code
    what = "failed" if code == FAILED else "did not drain"
    board.say(f"the engine {what} ({how_it_ended(code)}); log: {engine.log}")
    return OPEN if open_intents(board) else FAILED


def open_intents(board: Board) -> int:
    """Return how many trades were open when the engine last told."""
    left = board.status.get("openIntents")
    return left if isinstance(left, int) else 0


def take_last(board: Board, file: Path) -> None:
    """Take what a drained engine left as its last status; the runner may not have got to ask for it."""
    with contextlib.suppress(OSError, ValueError):
        last = json.loads(file.read_bytes())
        if isinstance(last, dict):
            board.take(last)
            board.answers = False


async def _follow(engine: Child, admin: AdminPort, board: Board, *, until: float, leave: asyncio.Event) -> None:
    """Ask for the drain and watch it, until it is done, takes too long, or is to be left."""
    asked = False
    while not engine.ended and not leave.is_set() and time.monotonic() < until:
        try:
            if not asked:
                await admin.drain()
                asked = True
            status = await admin.status()
            board.take(status)
            if status.get("phase") == "STOPPED":
                return
        except AdminUnreachable:
            engine.send(signal.SIGTERM)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(leave.wait(), LOOK_S)


async def _end(engine: Child, *, until: float, leave: asyncio.Event) -> int:
    """Tell a drained engine to go; kill it at the force timeout, or soon when it is to be left."""
    ending = asyncio.create_task(engine.end(patience_s=max(until - time.monotonic(), 1.0)))
    leaving = asyncio.create_task(leave.wait())
    await asyncio.wait({ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not ending.done():
        engine.send(signal.SIGQUIT)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(ending), QUIT_S)
        engine.send(signal.SIGKILL)
    return await ending
