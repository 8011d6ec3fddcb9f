"""What each engine last said of itself: asked in the background, so that no pass over a bot ever waits for an engine."""

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tradingbot_operator.engine_port import Address, EnginePort, EngineRefused, EngineUnreachable
from tradingbot_operator.kube.store import Key

PATIENCE_S = 15.0
"""An engine that did not answer for so long cannot be asked anything: its preStop hook drains it, if anything does."""


NUMBER = re.compile(r"[-+]?\d[\d.,_:]*")


@dataclass(frozen=True)
class Said:
    """
    What one engine said, at last.

    Attributes:
        status: Its status document; empty if it never answered.
        asked_s: When it was last asked, on the monotonic clock.
        error: Why the last question has no answer; "" if it has one.
        silent_s: How long it has not answered; 0 while it does.
    """

    status: Mapping[str, Any] = field(default_factory=dict)
    asked_s: float = 0.0
    error: str = ""
    silent_s: float = 0.0


@dataclass
class _Watched:
    engines: Mapping[str, Address] = field(default_factory=dict)
    token: str = ""
    said: dict[str, Said] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    hurry: asyncio.Event = field(default_factory=asyncio.Event)


class Engines:
    """
    Ask the engines of every bot again and again; wake the bot when one has something new to say.

    Args:
        port: The admin ports.
        every_s: Time between two questions to an engine.
        wake: Called with a bot's key.
        monotonic_s: A clock that only goes forward, in seconds.
    """

    def __init__(
        self, *, port: EnginePort, every_s: float, wake: Callable[[Key], None], monotonic_s: Callable[[], float]
    ) -> None:
        self._port, self._every_s, self._wake, self._monotonic_s = port, every_s, wake, monotonic_s
        self._watched: dict[Key, _Watched] = {}

    def watch(self, key: Key, engines: Mapping[str, Address], token: str) -> None:
        """Say which engines a bot has, by the pod's uid; engines that are new are asked at once."""
        if not engines or not token:
            self.forget(key)
            return
        watched = self._watched.setdefault(key, _Watched())
        news = any(watched.engines.get(pod) != address for pod, address in engines.items()) or watched.token != token
        watched.engines, watched.token = dict(engines), token
        watched.said = {pod: said for pod, said in watched.said.items() if pod in engines}
        if watched.task is None:
            watched.task = asyncio.create_task(self._follow(key, watched), name=f"engines of {'/'.join(key)}")
        elif news:
            watched.hurry.set()

    def asks(self, key: Key) -> bool:
        """Return whether a bot has engines."""
        return key in self._watched

    def hurry(self, key: Key) -> None:
        """Ask a bot's engines now."""
        if (watched := self._watched.get(key)) is not None:
            watched.hurry.set()

    def forget(self, key: Key) -> None:
        """Ask a bot's engines no more."""
        watched = self._watched.pop(key, None)
        if watched is not None and watched.task is not None:
            watched.task.cancel()

    def said(self, key: Key) -> Mapping[str, Said]:
        """Return what a bot's engines last said, by the pod's uid."""
        watched = self._watched.get(key)
        return dict(watched.said) if watched else {}

    def heard(self, key: Key, pod: str, status: Mapping[str, Any]) -> None:
        """Keep what an engine said in answer to something else than the regular question."""
        if (watched := self._watched.get(key)) is not None and pod in watched.engines:
            before = watched.said.get(pod, Said()).status
            watched.said[pod] = Said({**before, **status}, self._monotonic_s())

    async def stop(self) -> None:
        tasks = [watched.task for watched in self._watched.values() if watched.task is not None]
        self._watched.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, key: Key, watched: _Watched) -> None:
        while True:
            watched.hurry.clear()
            before = {pod: _telling(said) for pod, said in watched.said.items()}
            await asyncio.gather(*(self._ask(watched, pod, address) for pod, address in watched.engines.items()))
            if {pod: _telling(said) for pod, said in watched.said.items()} != before:
                self._wake(key)
            pause_s = self._every_s * random.uniform(0.8, 1.2)  # thousands of bots must not ask in step
            try:
                await asyncio.wait_for(watched.hurry.wait(), pause_s)
            except TimeoutError:
                continue

    async def _ask(self, watched: _Watched, pod: str, address: Address) -> None:
        known = watched.said.get(pod, Said())
        try:
            said = Said(await self._port.status(address, watched.token), self._monotonic_s())
        except (EngineUnreachable, EngineRefused) as error:
            now_s = self._monotonic_s()
            since_s = known.asked_s - known.silent_s if known.asked_s else now_s
            said = Said(known.status, now_s, str(error), now_s - since_s)
        if watched.engines.get(pod) == address:
            watched.said[pod] = said


def _telling(said: Said) -> tuple[Any, ...]:
    """Return the part of an answer whose change a person should see at once; the other numbers can wait a minute."""
    status = said.status
    why = [f"{reason.get('type')}: {_words(reason.get('message'))}" for reason in _maps(status.get("reasons"))]
    words = ("botId", "phase", "trading", "generation", "paused", "latched", "tier", "unresolved")
    drain = status.get("drain")
    draining = (status.get("openIntents"), status.get("inFlight"), drain.get("step")) if isinstance(drain, dict) else ()
    closing = status.get("closing")
    selling = (
        tuple(str(closing.get(word)) for word in ("by", "positionsLeft", "openIntents", "done", "stuck"))
        if isinstance(closing, dict)
        else ()
    )
    positions = _maps(closing.get("positions")) if isinstance(closing, dict) else []
    return (
        bool(said.error),
        said.silent_s > PATIENCE_S,
        *(str(status.get(word)) for word in words),
        *why,
        draining,
        selling,
        *(_words(position.get("trouble")) for position in positions),
    )


def _maps(data: Any) -> list[Mapping[str, Any]]:
    """Return the maps of a list that an engine sent; it may have sent anything."""
    return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []


def _words(text: Any) -> str:
    """Return a text without its numbers: they move all the time, and a change of them can wait as every other number."""
    return NUMBER.sub("#", str(text or ""))
