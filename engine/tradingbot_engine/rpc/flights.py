"""Equal reads at one time share one request."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from tradingbot_engine.rpc.errand import RpcAnswer
from tradingbot_engine.rpc.errors import RpcDeadline, RpcError


class _Flight:
    """One request under way; `followers` wait for its end: an answer, an error, or None if it was given up."""

    __slots__ = ("followers",)

    def __init__(self) -> None:
        self.followers: list[asyncio.Future[RpcAnswer[Any] | RpcError | None]] = []


class Flights:
    """What is under way by key; the first who asks does it for the others."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self.shared = 0
        """Calls that took another's answer."""

    async def join(self, key: Hashable, ask: Callable[[], Awaitable[RpcAnswer[Any]]]) -> RpcAnswer[Any]:
        """
        Return the answer of the request with this key that is under way, or of `ask`.

        Whoever does it for others may give up, or come to its own deadline: then one of them asks anew.
        """
        while (flight := self._flights.get(key)) is not None:
            end: asyncio.Future[RpcAnswer[Any] | RpcError | None] = asyncio.get_running_loop().create_future()
            flight.followers.append(end)
            outcome = await end
            if isinstance(outcome, RpcError):
                raise copy.copy(outcome)  # each raiser adds its own traceback
            if outcome is not None:
                self.shared += 1
                return outcome
        flight = self._flights[key] = _Flight()
        outcome = None
        try:
            outcome = await ask()
            return outcome
        except RpcError as error:
            outcome = None if isinstance(error, RpcDeadline) else error
            raise
        finally:
            del self._flights[key]
            for follower in flight.followers:
                if not follower.done():
                    follower.set_result(outcome)
