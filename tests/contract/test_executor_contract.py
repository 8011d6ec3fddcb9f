"""One contract for both executors: what the trade driver may count on, on paper and live."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from trade_rig import BONK, TradeRig, World, a_bot, a_world, an_exit, an_intent

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core.proof import read_status
from tradingbot_engine.core.steps import case_of
from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.execution.live import LiveExecutor
from tradingbot_engine.execution.paper import PaperExecutor
from tradingbot_engine.execution.port import Executor, QuoteRefused
from tradingbot_engine.execution.signer import KeyFileSigner
from tradingbot_engine.execution.trade import TradeDriver

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS = pytest.mark.parametrize("kind", ["paper", "live"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


def use(rig: TradeRig, kind: str) -> Executor:
    """Return the executor under test, and let the rig's driver use it."""
    if kind == "live":
        return rig.executor
    clock = SystemClock()
    settings = rig.settings.model_copy(
        update={"execution": rig.settings.execution.model_copy(update={"paper_latency_ms": 150})}
    )
    paper = PaperExecutor(swap=rig.swap, rpc=rig.pool, settings=settings, clock=clock)
    rig.driver = TradeDriver(
        ledger=rig.ledger,
        executor=paper,
        clock=clock,
        settings=settings.execution,
        genesis_hash=rig.cluster.bank.genesis_hash,
        on_step=rig.steps.append,
        on_send=rig.sent.append,
    )
    return paper


def signed(intent: OrderIntent, attempt: Attempt) -> IntentRecord:
    """The record as the ledger would hold it after the move."""
    return IntentRecord(intent, 0, attempt.epoch, IntentState.SIGNED, attempt.n, (attempt,), updated_at_ms=0)


@KINDS
async def test_both_say_what_they_are_and_which_chain_they_trade_on(world: World, tmp_path: Path, kind: str) -> None:
    """Paper is marked everywhere; the chain is the nodes' own word."""
    async with a_bot(world, tmp_path) as rig:
        executor = use(rig, kind)
        assert (kind == "paper") == executor.paper
        assert rig.cluster.bank.genesis_hash == await executor.genesis_hash()


@KINDS
async def test_preparing_makes_an_attempt_and_lets_no_byte_leave(world: World, tmp_path: Path, kind: str) -> None:
    """The number, epoch and time are the caller's; each attempt has a signature of its own."""
    async with a_bot(world, tmp_path) as rig:
        executor = use(rig, kind)
        record = await rig.claim(an_intent("prepare"))
        quote = await executor.quote(record.intent)
        assert (record.intent.amount_in, record.intent.id) == (quote.amount_in, quote.intent_id)
        assert 0 < quote.min_amount_out <= quote.amount_out
        first = await executor.prepare(record, quote, epoch=9, now_ms=record.intent.created_at_ms)
        assert (record.intent.id, 1, 9, quote.amount_out) == (first.intent_id, first.n, first.epoch, first.quoted_out)
        assert first.last_valid_block_height > 0
        after = signed(record.intent, first)
        await rig.finalize()
        second = await executor.prepare(after, quote, epoch=9, now_ms=record.intent.created_at_ms)
        assert second.n == 2
        assert first.signature != second.signature
        assert dict(await rig.landed()) == {}


@KINDS
async def test_a_quote_far_from_the_markets_price_is_refused(world: World, tmp_path: Path, kind: str) -> None:
    """Paper would else show gains that live trading refuses to make."""
    async with a_bot(world, tmp_path) as rig:
        common = {
            "swap": rig.swap,
            "rpc": rig.pool,
            "settings": rig.settings,
            "clock": SystemClock(),
            "decimals": {BONK: 5},
        }
        executor: Executor = (
            PaperExecutor(**common) if kind == "paper" else LiveExecutor(signer=KeyFileSigner(rig.wallet), **common)
        )
        with pytest.raises(QuoteRefused, match="PriceUnfair"):
            await executor.quote(an_intent("unfair", price=1e-12))


@KINDS
async def test_what_was_not_sent_or_is_under_way_has_no_end_and_no_fill_yet(
    world: World, tmp_path: Path, kind: str
) -> None:
    """Silence is unknown, never an event."""
    async with a_bot(world, tmp_path) as rig:
        executor = use(rig, kind)
        record = await rig.claim(an_intent("silent"))
        quote = await executor.quote(record.intent)
        attempt = await executor.prepare(record, quote, epoch=1, now_ms=time.time_ns() // 1_000_000 + 60_000)
        after = signed(record.intent, attempt)
        case = case_of(after, attempt, genesis_hash=rig.cluster.bank.genesis_hash)
        reading = await executor.look(after, case)
        assert reading.answer is not None
        assert read_status(after.state, case, reading.answer) is None
        assert reading.expiry == ()
        assert await executor.fill(after, finalized=True) is None


@KINDS
async def test_an_entry_and_its_exit_are_driven_to_fills_that_add_up(world: World, tmp_path: Path, kind: str) -> None:
    """The same driver, the same equations; sending again what has landed is harmless."""
    async with a_bot(world, tmp_path) as rig:
        executor = use(rig, kind)
        entry = an_intent("contract")
        done = await rig.trade(entry)
        assert done.current is not None
        await executor.send(done.current, first=False)
        (position,) = await rig.ledger.positions()
        exit_ = an_exit("contract", entry.id, position.held)
        assert (done.state, (await rig.trade(exit_)).state) == (IntentState.DONE, IntentState.DONE)
        fills = {row.fill.intent_id: row.fill for row in await rig.ledger.fills()}
        bought, sold = fills[entry.id], fills[exit_.id]
        assert (-entry.amount_in, bought.base_delta) == (bought.quote_delta, -sold.base_delta)
        assert sold.quote_delta > 0
        for fill in (bought, sold):
            assert (kind == "paper", True) == (fill.paper, fill.finalized)
            costs = fill.base_fee_lamports + fill.priority_fee_lamports + fill.tip_lamports + fill.rent_lamports
            assert fill.quote_delta - costs == fill.lamport_delta
        await rig.finalize()
        assert (0 if kind == "paper" else 2) == sum((await rig.landed()).values())
        assert [a.intent_id for a in rig.sent] == [entry.id, exit_.id]
