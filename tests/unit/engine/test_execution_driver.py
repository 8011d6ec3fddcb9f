"""The driver's pauses and questions, on a scripted chain and a real ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mutants.scripted_chain import GENESIS
from mutants.stage import TOKENS, ScriptedClock, ScriptedExecutor, Stage, an_exit, an_order, open_stage
from support.ledgers import NOW_MS

from tradingbot_engine.core import steps
from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.execution.port import Balance, Quote, QuoteUnavailable, SendRejected
from tradingbot_engine.execution.trade import FINAL_AFTER_SLOTS, TradeDriver
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import Holding, Ledger, Move, Ownership

S = IntentState


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    opened = await open_stage(tmp_path)
    yield opened
    await opened.ledger.close()


def driver_of(stage: Stage, **options: Any) -> TradeDriver:
    """Return the stage's driver with further constructor arguments."""
    return TradeDriver(
        **{
            "ledger": stage.ledger,
            "executor": stage.executor,
            "clock": stage.clock,
            "settings": stage.settings,
            "genesis_hash": GENESIS,
            **options,
        }
    )


async def claimed(stage: Stage) -> tuple[IntentRecord, Ownership]:
    ownership = await stage.take("only")
    return await stage.claim(ownership, an_order()), ownership


# --- forks
async def test_a_confirmation_that_some_nodes_deny_moves_the_intent_once_a_poll(stage: Stage) -> None:
    """Two of four nodes sit on another fork: CONFIRMED and SUBMITTED alternate no faster than the chain is polled."""
    record, ownership = await claimed(stage)
    steps: list[tuple[float, IntentState]] = []

    def stepped(now: IntentRecord) -> None:
        steps.append((stage.clock.monotonic_s(), now.state))

    def deny() -> None:
        chain = stage.chain
        chain.make(2)
        chain.fork(chain.height - 2, leave_a_node=True)
        chain.make(land=[chain.handed[0]])
        chain.make(1)
        stage.pool.routes[("b", "getSignatureStatuses")] = "dead"

    def heal() -> None:
        stage.pool.routes.clear()

    stage.acts = [deny, *[lambda: None] * 20, heal]
    stage.driver = driver_of(stage, on_step=stepped)
    assert (await stage.drive(record, ownership)).state is S.DONE
    flaps = [at_s for at_s, state in steps if state is S.SUBMITTED][1:]
    assert len(flaps) > 3, "the nodes did not disagree: the schedule proves nothing"
    assert len(flaps) == len(set(flaps)), "two forks were noted without any time between them"


# --- questions before an attempt
async def test_the_first_attempt_of_a_recovered_intent_meets_the_risk_of_now(stage: Stage) -> None:
    """It was approved by a process that is gone; what has been found out since speaks against it."""
    record, _ = await claimed(stage)
    asked: list[int] = []

    def recheck(now: IntentRecord) -> str | None:
        asked.append(now.attempt)
        return "Halted"

    stage.driver = driver_of(stage, recheck=recheck)
    await stage.resume("successor")
    last = await stage.ledger.intent(record.intent.id)
    assert last is not None
    assert (last.state, last.reason, last.attempts) == (S.ABANDONED, "Halted", ())
    assert asked == [0]
    assert not stage.chain.last_valid, "something was signed"


async def test_while_the_ledger_is_being_compared_an_intent_waits_and_is_not_given_up(stage: Stage) -> None:
    """Neither signed nor abandoned; afterwards it trades."""
    record, ownership = await claimed(stage)
    held = True
    seen: list[tuple[IntentState, int]] = []

    def look() -> None:
        seen.append((S.INTENT, len(stage.chain.last_valid)))

    def release() -> None:
        nonlocal held
        held = False

    stage.acts = [*[look] * 5, release]
    stage.driver = driver_of(stage, hold=lambda _: held)
    last = await stage.drive(record, ownership)
    assert seen == [(S.INTENT, 0)] * 5, "signed while it should have waited"
    assert (last.state, last.attempt) == (S.DONE, 1)
    assert not await stage.verdict()


async def test_an_exit_outlasts_a_hold_of_minutes_and_goes_out_first(stage: Stage) -> None:
    """Given up for an outage it would count as failed, and rest for minutes when the nodes are back."""
    ownership = await stage.take("only")
    assert (await stage.drive(await stage.claim(ownership, an_order("e")), ownership)).state is S.DONE
    record = await stage.claim(ownership, an_exit("a", "e"))
    began_s = stage.clock.monotonic_s()

    class WallClock:
        """The stage's clock, by which the time on the wall passes too."""

        monotonic_s, sleep = stage.clock.monotonic_s, stage.clock.sleep

        def now_ms(self) -> int:
            return NOW_MS + round((stage.clock.monotonic_s() - began_s) * 1000)

    stage.acts = [lambda: None] * 400
    stage.driver = driver_of(stage, clock=WallClock(), hold=lambda _: stage.clock.monotonic_s() - began_s < 150)
    last = await stage.drive(record, ownership)
    assert stage.clock.monotonic_s() - began_s > 150
    assert (last.state, last.attempt, last.reason) == (S.DONE, 1, "")


async def test_a_hold_that_begins_during_the_quote_keeps_the_attempt_from_the_journal(stage: Stage) -> None:
    """What was prepared meanwhile is thrown away: it was never journalled, so never sent."""
    record, ownership = await claimed(stage)
    answers = iter([False, True, True, True])
    stage.driver = driver_of(stage, hold=lambda _: next(answers, False))
    last = await stage.drive(record, ownership)
    assert (last.state, last.attempt) == (S.DONE, 1)
    assert last.attempts[0].signature == "aaaaaaaa-1-2", "the attempt from before the hold was used"


async def test_after_a_hold_the_driver_goes_on_from_what_the_ledger_says_then(stage: Stage) -> None:
    """Somebody else may have ended the intent meanwhile."""
    record, ownership = await claimed(stage)
    other = driver_of(stage, recheck=lambda _: "Elsewhere")
    first = True

    def hold(_: IntentRecord) -> bool:
        nonlocal first
        held, first = first, False
        return held

    class Ended:
        """The real ledger; the first reading comes just after another driver abandoned the intent."""

        def __getattr__(self, name: str) -> Any:
            return getattr(stage.ledger, name)

        async def intent(self, intent_id: str) -> IntentRecord | None:
            await other.drive(record, ownership, may_attempt=lambda: True)
            return await stage.ledger.intent(intent_id)

    stage.driver = driver_of(stage, hold=hold, ledger=Ended())
    last = await stage.drive(record, ownership)
    assert (last.state, last.reason) == (S.ABANDONED, "Elsewhere")
    assert not stage.chain.last_valid


# --- a ledger that is away
class Away:
    """The real ledger, which refuses the first calls of each move."""

    def __init__(self, ledger: Ledger, *, refusals: int) -> None:
        self._ledger, self._refusals = ledger, refusals
        self.refused: Counter[str] = Counter()

    async def intent(self, intent_id: str) -> IntentRecord | None:
        return await self._ledger.intent(intent_id)

    async def move(self, move: Move, *, ownership: Ownership) -> IntentRecord | None:
        if self.refused[move.event] < self._refusals:
            self.refused[move.event] += 1
            raise LedgerUnavailable(f"locked at {move.event}")
        return await self._ledger.move(move, ownership=ownership)


async def test_a_ledger_that_goes_away_is_told_once_a_streak(stage: Stage) -> None:
    """Or nobody would know why nothing trades, nor that the ledger must be compared when it is back."""
    record, ownership = await claimed(stage)
    told: list[str] = []
    stage.driver = driver_of(stage, ledger=Away(stage.ledger, refusals=3), on_ledger_away=told.append)
    assert (await stage.drive(record, ownership)).state is S.DONE
    assert told == [f"locked at {event}" for event in ("SIGN", "SEND", "CONFIRM", "FINALIZE")]


# --- bytes that a preflight rejects
NO_TOKENS = "Preflight: Error processing Instruction 3: custom program error: 0x1"
SLIPPAGE = "Preflight: Error processing Instruction 3: custom program error: 0x1771"


class Judged(ScriptedExecutor):
    """Every preflight says `verdict` until `rejections` of them have; what is sent without one is taken as it is."""

    verdict, rejections, without = NO_TOKENS, 10**9, 0

    async def send(self, attempt: Attempt, *, first: bool) -> None:
        if first and self.rejections:
            self.rejections -= 1
            raise SendRejected(self.verdict)
        self.without += not first
        await super().send(attempt, first=first)


async def exit_with(stage: Stage, executor: Judged) -> IntentRecord:
    """Buy, then sell with an executor whose nodes judge."""
    ownership = await stage.take("only")
    assert (await stage.drive(await stage.claim(ownership, an_order("e")), ownership)).state is S.DONE
    record = await stage.claim(ownership, an_exit("a", "e"))
    stage.driver = driver_of(stage, executor=executor)
    return await stage.drive(record, ownership)


async def test_an_exit_that_every_preflight_rejects_is_never_sent(stage: Stage) -> None:
    """It would land to fail, for a fee, again and again; its end names what the nodes said."""
    executor = Judged(stage.pool, stage.settings)
    stage.acts = []
    last = await exit_with(stage, executor)
    assert (last.state, last.attempt) == (S.ABANDONED, steps.EXIT_MAX_ATTEMPTS)
    assert last.reason == f"PreflightRejected: AttemptsExhausted: {NO_TOKENS}"
    assert {s.split("-")[0] for s in stage.chain.handed} == {"eeeeeeee"}, "it left nevertheless"
    assert executor.without == 0


async def test_an_exit_that_one_node_rejects_goes_out_by_the_next_that_does_not(stage: Stage) -> None:
    """One node's opinion (it may lag, or sit on a dead fork) must not keep a position open."""
    executor = Judged(stage.pool, stage.settings)
    executor.rejections = 2
    last = await exit_with(stage, executor)
    assert (last.state, last.attempt, last.reason) == (S.DONE, 1, "")
    assert not await stage.verdict()


async def test_an_exit_that_only_the_price_is_against_is_sent_all_the_same(stage: Stage) -> None:
    """6001: it fails within seconds, and the next exit gives way further; rule E would take minutes."""
    executor = Judged(stage.pool, stage.settings)
    executor.verdict = SLIPPAGE
    last = await exit_with(stage, executor)
    assert (last.state, last.attempt) == (S.DONE, 1)
    assert executor.without


# --- finality
async def test_looks_come_often_only_around_the_slot_in_which_finality_is_due(stage: Stage) -> None:
    """A drain may wait for it, and so may a loss that counts; but 30 slots long each look costs a request for nothing."""
    record, ownership = await claimed(stage)
    pauses: list[tuple[int, float]] = []
    confirmed: list[IntentRecord] = []
    sleep = stage.clock.sleep

    async def noted(seconds: float) -> None:
        if confirmed:
            slot = confirmed[0].confirmed_slot
            assert slot is not None
            pauses.append((stage.chain.slot - slot, seconds))
        await sleep(seconds)

    stage.clock.sleep = noted  # type: ignore[method-assign]
    stage.driver = driver_of(stage, on_step=lambda now: confirmed.append(now) if now.state is S.CONFIRMED else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mutants.scripted_chain.FINAL_DEPTH", FINAL_AFTER_SLOTS + 8)  # a chain that is late
        assert (await stage.drive(record, ownership)).state is S.DONE
    by_slots = dict(pauses)
    often = [above for above, seconds in by_slots.items() if seconds < stage.settings.poll_interval_s]
    assert often == list(range(FINAL_AFTER_SLOTS - 1, FINAL_AFTER_SLOTS + 5))
    assert {by_slots[above] for above in often} == {stage.settings.poll_interval_s / 4}
    assert max(by_slots) > max(often), "finality was not late: the schedule proves nothing"


# --- an exit of no more than there is
class Told:
    """The real ledger, but for what it says that the position holds: the next of a list, the last one again and again."""

    def __init__(self, ledger: Ledger, *holdings: Holding) -> None:
        self._ledger, self._holdings = ledger, list(holdings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def holding(self, position_id: str) -> Holding:
        return self._holdings.pop(0) if len(self._holdings) > 1 else self._holdings[0]


class Selling(ScriptedExecutor):
    """Remembers what was quoted and signed; preflights refuse to sell more than `sellable`."""

    sellable = 10**18
    away = False
    """The swap API gives no quote for an exit."""
    later: tuple[int, int] | None = None
    """What the wallet says at confirmed and at finalized, the first time it is asked."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.pool, stage.settings)
        self.quoted: list[int] = []
        self.balances = 0

    async def quote(self, intent: OrderIntent) -> Quote:
        if self.away and intent.purpose is Purpose.EXIT:
            raise QuoteUnavailable("the swap API answers HTTP 503")
        self.quoted.append(intent.amount_in)
        return await super().quote(intent)

    async def send(self, attempt: Attempt, *, first: bool) -> None:
        if attempt.intent_id[0] != "e" and self.amounts[attempt.signature] > self.sellable:
            raise SendRejected(NO_TOKENS)
        await super().send(attempt, first=first)

    async def balance(self, mint: str, *, min_slot: int, finalized: bool) -> Balance | None:
        self.balances += 1
        if self.later is not None:
            amount = self.later[finalized]
            self.later = None if finalized else self.later
            return Balance(amount, self._chain.finalized.slot)
        return await super().balance(mint, min_slot=min_slot, finalized=finalized)


class Passing(ScriptedClock):
    """Lets the time of day pass, too."""

    def now_ms(self) -> int:
        return NOW_MS + round(self.monotonic_s() * 1000)


async def sell(stage: Stage, executor: Selling, *holdings: Holding, **options: Any) -> IntentRecord:
    """Buy, and follow the sale of it all; the ledger says `holdings` of the position, if any are given."""
    ownership = await stage.take("only")
    bought = await stage.claim(ownership, an_order("e"))
    stage.driver = driver_of(stage, executor=executor, **options)
    assert (await stage.drive(bought, ownership)).state is S.DONE
    executor.quoted.clear()
    record = await stage.claim(ownership, an_exit("a", "e"))
    if holdings:
        stage.driver = driver_of(stage, executor=executor, ledger=Told(stage.ledger, *holdings))
    return await stage.drive(record, ownership)


async def held(stage: Stage) -> tuple[int, str]:
    (position,) = await stage.ledger.positions(closed=True)
    return position.held, position.state.value


async def test_an_ordinary_exit_asks_the_wallet_nothing(stage: Stage) -> None:
    """A final purchase that nothing has gone wrong with is there: no round trip before a stop loss."""
    executor = Selling(stage)
    executor.wallet = 0
    done = await sell(stage, executor)
    assert (done.state, executor.quoted, executor.balances) == (S.DONE, [TOKENS], 0)
    assert await held(stage) == (0, "CLOSED")


async def test_an_exit_that_is_refused_for_want_of_tokens_sells_what_is_there_at_its_next_attempt(stage: Stage) -> None:
    """Not the same again until it is given up: once the first can never land, the wallet is asked."""
    executor = Selling(stage)
    executor.wallet = executor.sellable = TOKENS - 5
    stage.idle_left = 2_000
    done = await sell(stage, executor)
    assert (done.state, done.attempt, executor.quoted) == (S.DONE, 2, [TOKENS, TOKENS - 5])
    assert await held(stage) == (5, "OPEN")
    executor.wallet = 0
    ownership = await stage.take("next")
    record = await stage.claim(ownership, replace(an_exit("b", "e"), amount_in=5))
    rest = await stage.drive(record, ownership)
    assert (rest.state, rest.attempt) == (S.ABANDONED, 0)
    assert rest.reason == "ShortOfTokens: the position should hold 5 base units, the wallet has 0"
    assert await held(stage) == (0, "CLOSED")
    assert await violations(stage.ledger) == []


async def test_the_exit_of_a_purchase_that_is_not_final_sells_no_more_than_the_wallet_holds(stage: Stage) -> None:
    """Its tokens may be another position's by the time that it lands."""
    executor = Selling(stage)
    executor.wallet = TOKENS - 7
    done = await sell(stage, executor, Holding(TOKENS, entry_open=True, troubled=False, newest_slot=5))
    assert (done.state, done.attempt, executor.quoted) == (S.DONE, 1, [TOKENS - 7])


async def test_an_exit_waits_while_a_fork_has_taken_its_purchase_back_and_sells_what_lands_again(stage: Stage) -> None:
    """Neither signed for the old amount nor given up."""
    executor = Selling(stage)
    gone = Holding(0, entry_open=True, troubled=False, newest_slot=0)
    again = Holding(TOKENS - 9, entry_open=True, troubled=False, newest_slot=30)
    done = await sell(stage, executor, gone, gone, gone, again)
    assert (done.state, done.attempt, executor.quoted) == (S.DONE, 1, [TOKENS - 9])


async def test_a_fork_during_the_quote_keeps_the_old_amount_from_the_journal(stage: Stage) -> None:
    """What was prepared is thrown away, and the exit sized anew."""
    executor = Selling(stage)
    before = Holding(TOKENS, entry_open=True, troubled=False, newest_slot=20)
    again = Holding(TOKENS - 9, entry_open=True, troubled=False, newest_slot=30)
    done = await sell(stage, executor, before, again)
    assert (done.state, done.attempt, executor.quoted) == (S.DONE, 1, [TOKENS, TOKENS - 9])
    assert done.current is not None
    assert executor.amounts[done.current.signature] == TOKENS - 9


async def test_tokens_that_one_node_does_not_show_are_not_written_off(stage: Stage) -> None:
    """At confirmed nothing, at finalized all: the exit waits and sells when the node has caught up."""
    executor = Selling(stage)
    executor.later, executor.wallet = (0, TOKENS), TOKENS
    done = await sell(stage, executor, Holding(TOKENS, entry_open=False, troubled=True, newest_slot=5))
    assert (done.state, executor.quoted) == (S.DONE, [TOKENS])
    assert executor.balances == 3


async def test_an_exit_given_up_while_no_quote_came_is_no_failure_and_the_next_one_sells(stage: Stage) -> None:
    """A swap API that is away for minutes moves neither the pause nor the slippage of a stop loss."""
    executor = Selling(stage)
    executor.away = True
    clock = Passing(stage._idle)
    last = await sell(stage, executor, clock=clock)
    assert (last.state, last.attempt, last.reason) == (S.ABANDONED, 0, "Untried: TooOld: the swap API answers HTTP 503")
    (position,) = await stage.ledger.positions()
    assert (position.exit_failures, position.exit_slips, position.exit_failed_at_ms) == (0, 0, 0)
    assert (position.exit_open, position.held) == (False, TOKENS)
    executor.away = False
    ownership = await stage.take("next")
    record = await stage.claim(ownership, replace(an_exit("b", "e"), created_at_ms=clock.now_ms()))
    assert S.DONE is (await stage.drive(record, ownership)).state
    assert await held(stage) == (0, "CLOSED")
    assert await violations(stage.ledger) == []


async def test_a_base_unit_that_somebody_sends_in_keeps_no_position_open(stage: Stage) -> None:
    """Nothing that is worth its fee is left: closed, with a reason."""
    executor = Selling(stage)
    executor.wallet = 1
    last = await sell(stage, executor, Holding(TOKENS, entry_open=False, troubled=True, newest_slot=5))
    assert (last.state, last.reason.split(":")[0]) == (S.ABANDONED, "ShortOfTokens")
    assert await held(stage) == (0, "CLOSED")
