"""The on-chain guard on a real chain: one intent is executed once, whatever the ledger remembers."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import Transaction
from trade_rig import TradeRig, World, a_bot, a_world, an_exit, an_intent, now_ms, own

from tradingbot_engine.audit.audit import run_audit
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.proof import Unproven, prove_expiry
from tradingbot_engine.core.steps import case_of
from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.errors import LedgerBehindChain
from tradingbot_engine.execution.evidence import EvidenceGatherer
from tradingbot_engine.execution.guards import refused_by_guard
from tradingbot_engine.execution.programs import guard_account
from tradingbot_engine.execution.trade import TradeDriver
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import Move
from tradingbot_engine.recovery import compare_with_chain
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.settings import LedgerSettings

S = IntentState
RENT = 890_880
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


def lamports(rig: TradeRig) -> int:
    account = rig.cluster.bank.account(rig.wallet.pubkey())
    assert account is not None
    return account.lamports


def exit_of(entry: OrderIntent, amount: int) -> OrderIntent:
    return an_exit(entry.strategy, entry.id, amount)


async def settled(rig: TradeRig, intent: OrderIntent) -> None:
    """Once on chain, and the ledger's books are the wallet's."""
    await rig.finalize()
    assert (await rig.landed())[intent.id] == 1
    assert lamports(rig) == (await rig.ledger.bot()).wallet_lamports
    assert await violations(rig.ledger) == []


async def test_a_guarded_entry_and_exit_add_up_with_the_rent_of_their_guards(world: World, tmp_path: Path) -> None:
    """delta = swap - base fee - priority fee - tip - rent, to the lamport; each intent leaves its account behind."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        entry = an_intent("guarded")
        assert (await rig.trade(entry)).state is S.DONE
        (position,) = await rig.ledger.positions()
        sale = exit_of(entry, position.held)
        assert (await rig.trade(sale)).state is S.DONE
        fills = {row.fill.intent_id: row.fill for row in await rig.ledger.fills()}
        for intent in (entry, sale):
            fill = fills[intent.id]
            costs = fill.base_fee_lamports + fill.priority_fee_lamports + fill.tip_lamports + fill.rent_lamports
            assert fill.quote_delta - costs == fill.lamport_delta
            account = rig.cluster.bank.account(guard_account(rig.wallet.pubkey(), intent.id))
            assert account is not None
            assert (account.lamports, bytes(account.data)) == (RENT, b"")
            await settled(rig, intent)
        assert fills[entry.id].rent_lamports >= RENT


async def journal(rig: TradeRig, record: IntentRecord, attempt: Attempt) -> IntentRecord:
    """Journal a signed attempt, as the driver does before any byte leaves."""
    return await moved(rig, record, IntentEvent.SIGN, new_attempt=attempt)


async def moved(rig: TradeRig, record: IntentRecord, event: IntentEvent, **carried: Any) -> IntentRecord:
    move = Move(record.intent.id, record.state, record.attempt, event, at_ms=now_ms(), **carried)
    after = await rig.ledger.move(move, ownership=rig.ownership)
    assert after is not None
    return after


async def signed(rig: TradeRig, record: IntentRecord) -> Attempt:
    """Sign a further attempt; nothing leaves."""
    quote = await rig.executor.quote(record.intent)
    return await rig.executor.prepare(record, quote, epoch=rig.ownership.epoch, now_ms=now_ms())


async def given_up_wrongly(rig: TradeRig, intent: OrderIntent) -> IntentRecord:
    """Journal two attempts of an intent, the first given up by a proof that was none (nodes that lie together)."""
    record = await rig.claim(intent)
    record = await journal(rig, record, await signed(rig, record))
    record = await moved(rig, record, IntentEvent.EXPIRE)
    await rig.finalize()  # a blockhash that is younger
    return await journal(rig, record, await signed(rig, record))


async def sent(rig: TradeRig, attempt: Attempt) -> None:
    """Hand the bytes over without preflight, as a resend does."""
    await Rpc(rig.pool).send_transaction(attempt.wire, skip_preflight=True, preflight_commitment="confirmed")


async def audited(rig: TradeRig) -> dict[str, Any]:
    await rig.finalize()
    report = await run_audit(rpc=rig.pool, ledger=rig.settings.ledger.sqlite_path, clock=SystemClock())
    return report.document()


def proven(document: dict[str, Any]) -> bool:
    return (document["doubled"], document["lost"], document["phantom"], document["verdict"]) == (0, 0, 0, "proven")


async def test_of_two_signed_attempts_that_are_both_sent_one_lands_and_the_other_fails_whole(
    world: World, tmp_path: Path
) -> None:
    """The trade is the first's, the second paid a fee and nothing else; ledger, wallet and audit agree on all of it."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("doubled")
        record = await given_up_wrongly(rig, intent)
        first, second = record.attempts
        await sent(rig, first)
        await rig.finalize()
        await sent(rig, second)
        await rig.finalize()
        (failed,) = (await Rpc(rig.pool).get_signature_statuses([second.signature], search_history=True)).result
        assert failed is not None
        assert refused_by_guard(failed.error)
        done = await rig.drive(record)
        assert (done.state, done.attempt, done.reason) == (S.DONE, 2, "AlreadyExecuted: by attempt 1")
        (row,) = await rig.ledger.fills()
        assert (row.fill.attempt, row.fill.signature, row.fill.quote_delta) == (1, first.signature, -intent.amount_in)
        assert [p.bought for p in await rig.ledger.positions()] == [row.fill.base_delta]
        await settled(rig, intent)
        document = await audited(rig)
        assert proven(document), document
        assert (document["filled"], document["failed"]) == (1, 1)
        with sqlite3.connect(rig.settings.ledger.sqlite_path) as books:
            assert books.execute("SELECT state FROM attempts ORDER BY n").fetchall() == [("DONE",), ("FAILED",)]
            (budget,) = books.execute("SELECT fees_failed FROM bots").fetchone()
            (fee,) = books.execute("SELECT fee_lamports FROM attempts WHERE n = 2").fetchone()
        assert budget == fee > 5000


async def test_an_attempt_that_a_preflight_stops_at_the_guard_ends_as_executed_by_the_earlier_one(
    world: World, tmp_path: Path
) -> None:
    """Nothing of it is spread, no fee is paid; when it can never land any more the intent is DONE by its maker."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("stopped")
        record = await rig.claim(intent)
        record = await journal(rig, record, await signed(rig, record))
        await sent(rig, record.attempts[0])
        record = await moved(rig, record, IntentEvent.EXPIRE)
        await rig.finalize()
        done = await rig.drive(record)
        assert (done.state, done.attempt, done.reason) == (S.DONE, 2, "AlreadyExecuted: by attempt 1")
        await settled(rig, intent)
        document = await audited(rig)
        assert proven(document), document
        assert (document["filled"], document["failed"], document["transactions"]) == (1, 0, 1)


async def test_a_lost_ledger_is_behind_the_chain_and_the_same_signal_is_not_executed_again(
    world: World, tmp_path: Path
) -> None:
    """The chain comparison stops the bot at the start; and if it did not, the guard would."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("forgotten")
        assert (await rig.trade(intent)).state is S.DONE
        await settled(rig, intent)
        path = tmp_path / "fresh.sqlite"
        fresh = open_ledger(LedgerSettings(sqlite_path=path), holder="rig", clock=SystemClock(), paper=False)
        await fresh.open()
        try:
            wallet = str(rig.wallet.pubkey())
            ownership = await own(fresh, wallet, rig.cluster.bank.genesis_hash, lamports(rig))
            with pytest.raises(LedgerBehindChain, match=intent.id):
                await compare_with_chain(fresh, rig.pool, await fresh.bot())
            rig.ledger, rig.ownership = fresh, ownership
            rig.driver = TradeDriver(
                ledger=fresh,
                executor=rig.executor,
                clock=SystemClock(),
                settings=rig.settings.execution,
                genesis_hash=rig.cluster.bank.genesis_hash,
            )
            before = lamports(rig)
            with pytest.raises(LedgerBehindChain, match="does not know"):
                await rig.trade(replace(intent, created_at_ms=now_ms()))
            await rig.finalize()
            assert ((await rig.landed())[intent.id], lamports(rig)) == (1, before)
            report = (await run_audit(rpc=rig.pool, ledger=path, clock=SystemClock())).document()
            assert (report["doubled"], report["lost"], report["verdict"]) == (0, 1, "violated")
        finally:
            await fresh.close()


async def test_a_deposit_and_a_persons_own_trade_pass_the_comparison_but_a_guard_that_is_not_known_does_not(
    world: World, tmp_path: Path
) -> None:
    """A guard is in no list of signatures: what the ledger does not know is read, and judged by who signed it."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        await pay(rig, rig.wallet, Keypair().pubkey(), 1_000_000)
        await rig.finalize()
        assert await compare_with_chain(rig.ledger, rig.pool, await rig.ledger.bot()) == 0
        record = await rig.claim(an_intent("unknown"))
        await sent(rig, await signed(rig, record))  # signed by a ledger that is gone
        await rig.finalize()
        with pytest.raises(LedgerBehindChain, match=record.intent.id):
            await compare_with_chain(rig.ledger, rig.pool, await rig.ledger.bot())


async def pay(rig: TradeRig, key: Keypair, to: Pubkey, amount: int) -> None:
    blockhash = Hash.from_string((await Rpc(rig.pool).get_latest_blockhash("confirmed")).result.blockhash)
    instruction = transfer(TransferParams(from_pubkey=key.pubkey(), to_pubkey=to, lamports=amount))
    message = Message.new_with_blockhash([instruction], key.pubkey(), blockhash)
    transaction = Transaction([key], message, blockhash)
    await Rpc(rig.pool).send_transaction(bytes(transaction), skip_preflight=False, preflight_commitment="confirmed")


async def test_a_stranger_who_fills_the_guards_address_stops_the_trade_and_is_not_taken_for_it(
    world: World, tmp_path: Path
) -> None:
    """Lamports at the address refuse every attempt; the intent ends unexecuted, by the plain rule E."""
    async with a_bot(world, tmp_path, mark="Guard", entry_max_attempts=1) as rig:
        stranger, intent = Keypair(), an_intent("squatted")
        rig.cluster.bank.airdrop(stranger.pubkey(), 10**9)
        await pay(rig, stranger, guard_account(rig.wallet.pubkey(), intent.id), RENT)
        await rig.finalize()
        before = lamports(rig)
        record = await rig.trade(intent)
        assert record.state is S.ABANDONED
        assert record.reason.startswith("PreflightRejected: AttemptsExhausted")
        assert lamports(rig) == before
        assert await violations(rig.ledger) == []


async def test_a_stranger_at_the_guards_address_makes_a_landed_attempt_fail_and_its_fee_is_booked(
    world: World, tmp_path: Path
) -> None:
    """A refusal by a stranger's account is a failure like any other: it paid its fee and moved nothing."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        stranger, intent = Keypair(), an_intent("squatted-late")
        rig.cluster.bank.airdrop(stranger.pubkey(), 10**9)
        record = await rig.claim(intent)
        record = await journal(rig, record, await signed(rig, record))
        await pay(rig, stranger, guard_account(rig.wallet.pubkey(), intent.id), RENT)
        await rig.finalize()
        await sent(rig, record.attempts[0])
        await rig.finalize()
        done = await rig.drive(record)
        assert done.state is S.FAILED
        document = await audited(rig)
        assert proven(document), document
        assert document["failed"] == 1
        assert lamports(rig) == (await rig.ledger.bot()).wallet_lamports


async def beyond_the_status_cache(rig: TradeRig, record: IntentRecord) -> None:
    assert record.current is not None
    target = record.current.blockhash_slot + 340
    while rig.cluster.bank.slot < target:
        await asyncio.sleep(0.05)


async def test_an_old_attempt_that_never_landed_expires_by_one_provider_and_the_absent_guard(
    world: World, tmp_path: Path
) -> None:
    """With Memo two providers must agree; an account that is not there needs no memory, so that one is enough."""
    async with a_bot(world, tmp_path, mark="Guard", entry_max_age_s=120) as rig:
        intent = an_intent("never")
        record = await rig.claim(intent)
        record = await journal(rig, record, await signed(rig, record))
        await beyond_the_status_cache(rig, record)
        rig.fault(kind="down", nodes=[1, 2])
        done = await rig.drive(record)
        assert (done.state, done.attempt) == (S.DONE, 2)
        world.heal()
        await settled(rig, intent)


async def test_a_hole_that_two_nodes_share_is_contradicted_by_the_guard(world: World, tmp_path: Path) -> None:
    """Both know nothing of the landing; their lists of blocks give them away, and so does the account in their banks."""
    async with a_bot(world, tmp_path, mark="Guard", entry_max_age_s=120) as rig:
        intent = an_intent("hole")
        record = await rig.claim(intent)
        record = await journal(rig, record, await signed(rig, record))
        (attempt,) = record.attempts
        await sent(rig, attempt)
        await beyond_the_status_cache(rig, record)
        at = attempt.blockhash_slot
        rig.fault(kind="snapshot", nodes=[0, 1], first_slot=at, last_slot=at + 60)
        gatherer, genesis = EvidenceGatherer(Rpc(rig.pool)), rig.cluster.bank.genesis_hash
        case = case_of(record, attempt, genesis_hash=genesis, providers_needed=2, guarded=True)
        guard = str(guard_account(rig.wallet.pubkey(), intent.id))
        pieces = [
            await gatherer.expiry(
                attempt.signature, case, provider=name, context_slot=rig.cluster.bank.slot, guard=guard
            )
            for name in ("node0", "node1")
        ]
        lies = [piece for piece in pieces if piece is not None]
        assert prove_expiry(replace(case, guarded=False), lies) == Unproven("HistoryHasHoles")
        assert prove_expiry(case, lies) == Unproven("GuardNotAbsent")
        done = await rig.drive(record)
        assert (done.state, done.attempt) == (S.DONE, 1)
        world.heal()
        await settled(rig, intent)


async def test_a_guarded_trade_that_was_cut_off_anywhere_is_resumed_to_the_same_end(
    world: World, tmp_path: Path
) -> None:
    """The task is cancelled again and again at whatever it awaits; around the send nothing is executed twice."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("cut")
        record = await rig.claim(intent)
        for pause_ms in (1, 3, 6, 10, 15, 20, 30, 40, 60, 80, 120, 200, 400):
            task = asyncio.create_task(rig.drive(record))
            await asyncio.sleep(pause_ms / 1000)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            read = await rig.ledger.intent(intent.id)
            assert read is not None
            record = read
        done = await rig.drive(record)
        assert (done.state, done.attempt) == (S.DONE, 1)
        await settled(rig, intent)
        assert proven(await audited(rig))
