"""The health watch: probes every endpoint at a jittered interval, and at once when it is doubted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any

from tradingbot_engine.clock import Clock
from tradingbot_engine.rpc.breaker import BreakerState
from tradingbot_engine.rpc.chain import ChainCheck
from tradingbot_engine.rpc.dispatch import Dispatch
from tradingbot_engine.rpc.endpoint import Endpoint
from tradingbot_engine.rpc.errors import MethodUnsupported, NodeBehind, Verdict, WrongChain
from tradingbot_engine.rpc.events import HealthSeen, OnEvent
from tradingbot_engine.rpc.heights import Heights, Place
from tradingbot_engine.rpc.transport import Question, Transport
from tradingbot_engine.rpc.wire import Result, fault, is_slot
from tradingbot_engine.settings.rpc import HealthSettings

HEALTH = "getHealth"
QUESTIONS = (
    (HEALTH, b"[]"),
    ("getSlot", b'[{"commitment":"processed"}]'),
    ("getEpochInfo", b'[{"commitment":"finalized"}]'),
)

CHAIN_AGAIN_S = 300.0
"""How often an endpoint that serves another chain is asked whether it still does."""
FIRST_AGAIN_S = 1.0
"""How soon an endpoint whose breaker has opened is looked at; doubled with each look, up to the interval."""


class HealthWatch:
    """
    Looks at endpoints beside the calls: past breakers and queues, but never more often than `probes_per_second`.

    One whose breaker has opened is looked at soon and again, since a fault that is over after a second must not cost the
    whole cooldown; one whose key was refused stays under watch, since only a provider can say that it takes it again; and one
    on another chain is asked for its genesis now and then, since a load balancer may have been led astray for a while.

    A probe is good if the node calls itself healthy, says where it stands, and has moved on since the last probe. HTTP
    200 alone is nothing.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        *,
        settings: HealthSettings,
        transport: Transport,
        chain: ChainCheck,
        clock: Clock,
        random: Random,
        on_event: OnEvent | None,
        voice: Callable[[str], str],
    ) -> None:
        self._dispatch, self._settings, self._transport, self._chain = dispatch, settings, transport, chain
        self._clock, self._random, self._on_event = clock, random, on_event
        self._questions = [Question(m, params, timeout_s=settings.probe_timeout_s) for m, params in QUESTIONS]
        self._voice = voice
        self.heights = Heights()
        """What the probed nodes have finalized."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._again_s: dict[str, float] = {}
        """How long after the last look an endpoint whose breaker is not closed is looked at."""
        self._chain_due_s: dict[str, float] = {}
        """When an endpoint that serves another chain is asked for its genesis again."""
        self._bringing_back: set[str] = set()
        self.running = False

    def start(self, endpoints: Sequence[Endpoint]) -> None:
        """Probe each endpoint again and again until `close`."""
        self.running = True
        for endpoint in endpoints:
            self._spawn(self._forever(endpoint), f"rpc: health of {endpoint.name}")

    async def close(self) -> None:
        """End all probes."""
        self.running = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def doubt(self, endpoint: Endpoint) -> None:
        """Probe an endpoint soon, if it was not probed just now."""
        if self.running and endpoint.probes.wait_s(self._clock.monotonic_s()) == 0.0:
            self._spawn(self.probe(endpoint), f"rpc: doubt of {endpoint.name}")

    def moved(self, endpoint: Endpoint, to: BreakerState) -> None:
        """Note that an endpoint's breaker is `to` from now on."""
        if to is BreakerState.CLOSED:
            self._again_s.pop(endpoint.name, None)
        elif to is BreakerState.OPEN and self.running and endpoint.name not in self._bringing_back:
            self._bringing_back.add(endpoint.name)
            self._spawn(self._bring_back(endpoint), f"rpc: bringing {endpoint.name} back")

    async def _bring_back(self, endpoint: Endpoint) -> None:
        """Look at an endpoint until its breaker is open no more."""
        try:
            while endpoint.breaker.state(self._clock.monotonic_s()) is BreakerState.OPEN:
                pause_s = min(self._again_s.get(endpoint.name, FIRST_AGAIN_S), self._settings.interval_s)
                self._again_s[endpoint.name] = pause_s * 2
                await self._clock.sleep(pause_s * self._random.uniform(0.8, 1.2))
                await self.probe(endpoint)
        finally:
            self._bringing_back.discard(endpoint.name)

    async def probe(self, endpoint: Endpoint) -> None:
        """Probe one endpoint, unless it must not be asked now or was probed too lately."""
        now_s = self._clock.monotonic_s()
        if endpoint.wrong_chain:
            self.heights.forget(self._voice(endpoint.name))
            await self._ask_its_chain(endpoint, now_s)
            return
        if endpoint.cool_until_s > now_s or not endpoint.probes.take(now_s):
            return
        trouble = await self._look(endpoint)
        if self._on_event is not None:
            self._on_event(HealthSeen(endpoint.name, trouble))

    async def _ask_its_chain(self, endpoint: Endpoint, now_s: float) -> None:
        """Take an endpoint back that was on another chain, if it shows ours; asked seldom, and for nothing else until then."""
        if now_s < self._chain_due_s.setdefault(endpoint.name, now_s + CHAIN_AGAIN_S):
            return
        self._chain_due_s[endpoint.name] = now_s + CHAIN_AGAIN_S
        unfit = await self._chain.unfit(endpoint)
        if unfit is None:
            del self._chain_due_s[endpoint.name]
            endpoint.is_on_our_chain_again()
            self._dispatch.pump(self._clock.monotonic_s())
        elif isinstance(unfit.error, WrongChain):
            self._dispatch.note(endpoint, unfit, self._clock.monotonic_s())

    async def _forever(self, endpoint: Endpoint) -> None:
        while True:
            await self._clock.sleep(self._settings.interval_s + self._random.uniform(0, self._settings.jitter_s))
            await self.probe(endpoint)

    async def _look(self, endpoint: Endpoint) -> str:
        left_s = self._settings.probe_timeout_s
        if self._chain.needed(endpoint, QUESTIONS[0][0]):
            began_s = self._clock.monotonic_s()
            unfit = await self._chain.look(endpoint, left_s=left_s)
            if unfit is not None:
                return self._failed(endpoint, unfit)
            left_s -= self._clock.monotonic_s() - began_s
        said, *stands = await asyncio.gather(
            *(self._transport.ask(endpoint, q, left_s=left_s) for q in self._questions)
        )
        slots = [a.value for a in stands[:1] if isinstance(a, Result) and is_slot(a.value)]
        final = _place(stands[1].value) if isinstance(stands[1], Result) else None
        if final is not None:
            slots.append(final.slot)
            self.heights.saw(self._voice(endpoint.name), final)
        now_s = self._clock.monotonic_s()
        if slots:
            self._dispatch.tip.saw(endpoint.health, max(slots), now_s)
        for answer in (said, *stands):
            if isinstance(answer, Verdict) and not isinstance(answer.error, MethodUnsupported):
                return self._failed(endpoint, answer)
        if len(slots) < len(stands):
            return self._failed(endpoint, fault(endpoint.name, "malformed answer to a health probe"))
        if isinstance(said, Result) and said.value != "ok":
            endpoint.health.complaint = f"it says of its health: {str(said.value)[:60]}"
            return endpoint.health.complaint
        grown = endpoint.health.probed(processed=slots[0], finalized=slots[1], now_s=now_s)
        endpoint.disabled, endpoint.throttles = "", 0  # it takes our key again, and our questions
        if grown and endpoint.health.lag <= self._settings.max_lag_slots:
            endpoint.recovered()
        self._dispatch.pump(now_s)
        return self._dispatch.trouble(endpoint, now_s)

    def _failed(self, endpoint: Endpoint, verdict: Verdict) -> str:
        """Remember what a failed probe means: one fault at most, however many questions it has."""
        now_s = self._clock.monotonic_s()
        self._dispatch.note(endpoint, verdict, now_s)
        if isinstance(verdict.error, NodeBehind):
            endpoint.health.complaint = str(verdict.error)
        self._dispatch.pump(now_s)
        return str(verdict.error)

    def _spawn(self, coroutine: Awaitable[None], name: str) -> None:
        task = asyncio.ensure_future(coroutine)
        task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _place(value: Any) -> Place | None:
    """Read `getEpochInfo`; None if it is none, or of a chain with more blocks than slots."""
    if not isinstance(value, dict):
        return None
    slot, height = value.get("absoluteSlot"), value.get("blockHeight")
    return Place(slot, height) if is_slot(slot) and is_slot(height) and height <= slot + 1 else None
