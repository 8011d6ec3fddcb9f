"""Doing the steps that the dispatch returns: send, hedge, wait, pause. Everything that awaits for a call is here."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from typing import Any

from tradingbot_engine.clock import Clock
from tradingbot_engine.rpc.alarms import Alarms
from tradingbot_engine.rpc.chain import ChainCheck
from tradingbot_engine.rpc.dispatch import Dispatch
from tradingbot_engine.rpc.errand import Errand, Lease, Pause, RpcAnswer, Wait
from tradingbot_engine.rpc.errors import UNSUPPORTED, MethodUnsupported, Next, RpcCredential, RpcError, Verdict
from tradingbot_engine.rpc.health import FAR_SLOTS
from tradingbot_engine.rpc.race import Race
from tradingbot_engine.rpc.score import Latencies
from tradingbot_engine.rpc.transport import Question, Transport
from tradingbot_engine.rpc.watch import HEALTH
from tradingbot_engine.rpc.wire import Result, fault
from tradingbot_engine.settings.rpc import RpcSettings

SHORTEST_HEDGE_S = 0.005
"""No hedge is sent sooner, however fast the nodes are: the event loop itself may be late by as much."""
SEND = "sendTransaction"
"""Of a send that one node refuses another may still make something: its hedges are heard out."""
LONGEST_TIMER_S = 1.0
"""Who waits for tokens is looked after at least this often."""


class Asker:
    """The awaiting half of one pool."""

    def __init__(
        self, settings: RpcSettings, *, dispatch: Dispatch, transport: Transport, chain: ChainCheck, clock: Clock
    ) -> None:
        self._dispatch, self._transport, self._chain, self._clock = dispatch, transport, chain, clock
        self._hedging = settings.hedging
        self._latencies: dict[str, Latencies] = {}
        self._longest_hedge_s = min(settings.hedging.delay_ms / 1000, settings.request_timeout_s / 2)
        steady_s = max(settings.call_deadline_s, settings.request_timeout_s)
        urgent_s = min(steady_s, max(settings.urgent_deadline_s, settings.urgent_timeout_s))
        self._deadlines_s = (urgent_s, steady_s, steady_s)
        """By pace."""
        self._alarms = Alarms()
        self._timer: asyncio.TimerHandle | None = None
        self._unheard: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """End what nobody waits for any more."""
        self._alarms.close()
        if self._timer is not None:
            self._timer.cancel()
        unheard = list(self._unheard)
        for task in unheard:
            task.cancel()
        await asyncio.gather(*unheard, return_exceptions=True)

    async def ask(
        self,
        question: Question,
        provider: str | None,
        exclude: Collection[str],
        deadline_s: float | None,
        insist: bool,
    ) -> RpcAnswer[Any]:
        """Ask until somebody answers; see `RpcPool.call`."""
        now = self._clock.monotonic_s()
        dispatch = self._dispatch
        todo = dispatch.candidates(now, provider=provider, exclude=exclude, insist=insist)
        if deadline_s is None:
            deadline_s = now + max(self._deadlines_s[question.kind.pace], question.timeout_s or 0.0)
        errand = Errand(todo, tuple(todo), deadline_s, pinned=provider is not None, insist=insist)
        hedged = question.kind.hedged and not errand.pinned and self._hedging.enabled
        step = dispatch.begin(errand, now)
        try:
            while True:
                if type(step) is Lease:
                    if hedged and errand.todo:
                        lease, outcome = await self._race(errand, step, question)
                    else:
                        lease, outcome = await self._use(errand, step, question)
                    if type(outcome) is Result:
                        return dispatch.answered(lease, outcome)
                    step = dispatch.advance(errand, lease, outcome, self._clock.monotonic_s())
                elif type(step) is RpcAnswer:
                    return step
                elif isinstance(step, RpcError):
                    raise step
                else:
                    if isinstance(step, Wait):
                        await self._wait(errand, step)
                    else:
                        assert isinstance(step, Pause)
                        await self._clock.sleep(step.seconds)
                    step = dispatch.resume(errand, self._clock.monotonic_s())
        finally:
            if errand.queued or errand.lease is not None:
                dispatch.abandon(errand, self._clock.monotonic_s())
                self._arm()

    async def _race(self, errand: Errand, lease: Lease, question: Question) -> tuple[Lease, Result | Verdict]:
        """Use a lease, with hedges beside it; return the outcome that counts, and whose it is."""
        extras: list[Lease] = []

        def another() -> Any:
            if len(extras) >= self._hedging.max_extra:
                return None
            extra = self._dispatch.hedge(errand, self._clock.monotonic_s())
            if extra is None:
                return None
            extras.append(extra)
            return self._use(errand, extra, question)

        unheard = False

        def let_run(task: asyncio.Task[Any]) -> None:
            nonlocal unheard
            unheard = True
            self._unheard.add(task)
            task.add_done_callback(self._unheard.discard)

        good = _is_answer if question.method == SEND else _is_final
        race = Race(delay_s=self._hedge_delay_s(question.method), another=another, good=good, alarms=self._alarms)
        try:
            (used, outcome), silent = await race.run(
                self._use(errand, lease, question),
                let_run=None if self._hedging.abort_on_primary_success else let_run,
            )
        finally:
            if extras and not unheard:
                for extra in extras:  # one that was cancelled before its first step has not given its lease back
                    self._dispatch.drop(extra, self._clock.monotonic_s())
                self._arm()
        if silent:
            self._dispatch.lost(lease, self._clock.monotonic_s())
        return used, outcome

    def _hedge_delay_s(self, method: str) -> float:
        seen = self._latencies.get(method)
        if seen is None or seen.late_s is None:
            return self._longest_hedge_s
        return min(self._longest_hedge_s, max(SHORTEST_HEDGE_S, seen.late_s))

    async def _use(self, errand: Errand, lease: Lease, question: Question) -> tuple[Lease, Result | Verdict]:
        """Send one request and give its lease back, whatever happens."""
        endpoint = lease.endpoint
        try:
            outcome: Result | Verdict | None = None
            left_s = errand.deadline_s - lease.began_s
            if not endpoint.on_our_chain and self._chain.needed(endpoint, question.method):
                outcome = await self._chain.unfit(endpoint)
                left_s = errand.deadline_s - self._clock.monotonic_s()
            if outcome is None:
                outcome = await self._transport.ask(endpoint, question, left_s=left_s)
            if type(outcome) is Verdict and isinstance(outcome.error, RpcCredential):
                outcome = await self._of_key_or_method(errand, lease, question, outcome)
        except BaseException:
            self._dispatch.drop(lease, self._clock.monotonic_s())
            self._arm()
            raise
        now = self._clock.monotonic_s()
        if type(outcome) is Result:
            slot, tip = outcome.context_slot, self._dispatch.tip
            if slot is not None and slot > tip.slot and not tip.reaches(slot, now, slack=FAR_SLOTS):
                outcome = fault(endpoint.name, f"it answers of slot {slot}, the chain stands at {tip.slot}")
        self._dispatch.settle(lease, outcome, now, errand)
        if self._dispatch.queued:
            self._arm()  # whoever waited for this permit may wait for a token from now on
        if type(outcome) is Result and question.kind.hedged:
            seen = self._latencies.get(question.method)
            if seen is None:
                seen = self._latencies[question.method] = Latencies()
            seen.add(now - lease.began_s)
        return lease, outcome

    async def _of_key_or_method(
        self, errand: Errand, lease: Lease, question: Question, refused: Verdict
    ) -> Result | Verdict:
        """
        Return what a refusal means: providers refuse a method that a plan does not hold in the words for a wrong key.

        The simplest of all questions tells them apart: one heavy read must not take the endpoint from the exits.
        """
        if question.method == HEALTH:
            return refused
        left_s = errand.deadline_s - self._clock.monotonic_s()
        said = await self._transport.ask(lease.endpoint, Question(HEALTH, b"[]"), left_s=left_s)
        if isinstance(said, Verdict) and said.row.next in (Next.DISABLE, Next.BLAME, Next.COOL):
            return said
        text = f"it refuses {question.method}, not our key"
        return Verdict(UNSUPPORTED, MethodUnsupported(text, provider=lease.endpoint.name))

    # --- waiting
    async def _wait(self, errand: Errand, wait: Wait) -> None:
        """Return when the errand was granted its turn, woken without one, or may have waited long enough."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        errand.wake = partial(_wake, turn)
        self._arm()
        late = loop.call_later(max(0.0, wait.until_s - self._clock.monotonic_s()), _wake, turn)
        try:
            await turn
        finally:
            late.cancel()
            errand.wake = None

    def _arm(self) -> None:
        """See to it that tokens which come with time are handed out."""
        if self._timer is None and self._dispatch.queued:
            wait_s = self._dispatch.next_token_s(self._clock.monotonic_s())
            if wait_s is not None:
                delay_s = min(max(wait_s, 0.001), LONGEST_TIMER_S)
                self._timer = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._dispatch.pump(self._clock.monotonic_s())
        self._arm()


def _is_answer(outcome: tuple[Lease, Result | Verdict]) -> bool:
    return type(outcome[1]) is Result


def _is_final(outcome: tuple[Lease, Result | Verdict]) -> bool:
    """Return whether no other node could say more: an answer, or a complaint about the question itself."""
    return not isinstance(outcome[1], Verdict) or outcome[1].row.next is Next.SURFACE


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
