"""Equal reads at one time share one request."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Hashable
from typing import Any, TypeAlias

from tradingbot_engine.rpc.errand import RpcAnswer
from tradingbot_engine.rpc.errors import RpcDeadline, RpcError

End: TypeAlias = RpcAnswer[Any] | RpcError | None
"""What a request came to: an answer, an error, or None if it was given up."""


class Flights:
    """What is under way by key; the first who asks does it for the others."""

    def __init__(self) -> None:
        self._followers: dict[Hashable, list[asyncio.Future[End]]] = {}
        self.shared = 0
        """Calls that took another's answer."""

    def begin(self, key: Hashable) -> bool:
        """Note that a request with this key begins, whose `end` the caller must tell; False if one is under way."""
        if key in self._followers:
            return False
        self._followers[key] = []
        return True

    def end(self, key: Hashable, end: End) -> None:
        """
        Tell those who wait what the request came to.

        Whoever does it for others may give up, or come to its own deadline: then one of them asks anew.
        """
        for follower in self._followers.pop(key):
            if not follower.done():
                follower.set_result(None if isinstance(end, RpcDeadline) else end)

    async def follow(self, key: Hashable) -> RpcAnswer[Any] | None:
        """Return the answer of the request that is under way; None if it was given up."""
        waiting: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._followers[key].append(waiting)
        end = await waiting
        if isinstance(end, RpcError):
            raise copy.copy(end)  # each raiser adds its own traceback
        if end is not None:
            self.shared += 1
        return end
