"""Phases, reasons, and what they allow."""

import asyncio

import pytest

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.lifecycle import Lifecycle, Phase


def fresh() -> tuple[Lifecycle, ManualClock]:
    clock = ManualClock()
    return Lifecycle(clock=clock), clock


def test_signals_are_taken_only_while_ready_and_without_a_blocking_reason():
    life, _ = fresh()
    assert not life.may_trade
    life.enter(Phase.READY)
    assert life.may_trade
    life.tell("StaleMarketData", "one token has no price")
    assert life.may_trade, "a degraded market blocks at its own place on the path"
    life.tell("NoEndpoint", "no node may be asked")
    assert not life.may_trade
    assert life.may_exit, "an exit is claimed all the same, and is the first to go out"
    life.clear("NoEndpoint")
    life.tell("Paused", "by hand")
    assert not life.may_trade
    life.clear("Paused")
    life.tell("ClosingOut", "for a deletion")
    assert not life.may_trade
    assert life.may_exit, "selling is what it is for"
    life.clear("ClosingOut")
    assert life.may_trade


def test_a_fatal_reason_stays_and_stops_trading_for_good():
    """Nothing clears it but a person and a new process: going on could lose or double a trade."""
    life, _ = fresh()
    life.enter(Phase.READY)
    life.tell("LedgerBehindChain", "an old copy", fatal=True)
    life.clear("LedgerBehindChain")
    assert not life.may_trade
    assert life.fatal is not None
    assert life.fatal.type == "LedgerBehindChain"


def test_a_phase_never_goes_back():
    """A drain that has begun is not undone by a late READY."""
    life, _ = fresh()
    life.enter(Phase.DRAINING)
    life.enter(Phase.READY)
    assert life.phase is Phase.DRAINING


async def test_since_is_when_the_reason_began_even_if_its_words_change():
    """On call one asks: since when?"""
    life, clock = fresh()
    began_ms = clock.now_ms()
    life.tell("LedgerUnavailable", "locked")
    await clock.advance(60)
    life.tell("LedgerUnavailable", "disk full")
    assert [(r.since_ms, r.message) for r in life.reasons] == [(began_ms, "disk full")]


def test_the_first_drain_request_is_the_one_that_counts():
    life, _ = fresh()
    life.request_drain("SIGTERM")
    life.request_drain("admin")
    assert life.drain_requested.is_set()
    assert life.drain_reason == "SIGTERM"


def test_a_pause_stops_entries_and_never_a_stop_loss():
    """Whoever pauses a bot wants no new risk; leaving a position is the opposite of that."""
    life, _ = fresh()
    assert not life.may_exit
    life.enter(Phase.READY)
    life.tell("Paused", "by hand")
    assert (life.may_trade, life.may_exit) == (False, True)
    life.tell("LedgerUnavailable", "locked")
    assert not life.may_exit
    life.clear("LedgerUnavailable")
    life.tell("LedgerBehindChain", "an old copy", fatal=True)
    assert not life.may_exit


def test_a_reason_that_turns_out_to_be_fatal_is_fatal_also_in_the_same_words():
    """What was told as a trouble of now, and then found to be for good, must not be cleared by whoever told it first."""
    life, _ = fresh()
    life.enter(Phase.READY)
    life.tell("WrongGenesis", "another chain")
    life.tell("WrongGenesis", "another chain", fatal=True)
    life.clear("WrongGenesis")
    assert life.fatal is not None
    assert not life.may_trade


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_how_long_a_reason_stands_does_not_change_with_the_wall_clock(jump_ms: int) -> None:
    """A time service sets the clock when it likes; `since` is for people, the duration decides whether the bot is well."""
    life, clock = fresh()
    assert life.lasted_s("LedgerUnavailable") == 0
    life.tell("LedgerUnavailable", "no answer")
    clock.step_wall(jump_ms)
    assert life.lasted_s("LedgerUnavailable") == 0
    asyncio.run(clock.advance(2))
    life.tell("LedgerUnavailable", "still none")
    assert life.lasted_s("LedgerUnavailable") == 2
    life.clear("LedgerUnavailable")
    assert life.lasted_s("LedgerUnavailable") == 0
    life.tell("LedgerUnavailable", "again")
    assert life.lasted_s("LedgerUnavailable") == 0
