"""Trades end to end against localnet, with the faults that production has; the chain is asked in the end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from structlog.testing import capture_logs
from trade_rig import BONK, TradeRig, World, a_bot, a_world, an_exit, an_intent

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core import steps
from tradingbot_engine.core.proof import Unproven, prove_expiry
from tradingbot_engine.core.steps import case_of
from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.errors import Fenced, LedgerUnavailable
from tradingbot_engine.execution.evidence import EvidenceGatherer
from tradingbot_engine.execution.programs import TOKEN, associated_token_account
from tradingbot_engine.execution.trade import TradeDriver
from tradingbot_engine.ledger.port import Ledger, Move, Ownership
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.settings import SwapSettings

S = IntentState
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


async def exactly_once(rig: TradeRig, record: IntentRecord) -> None:
    """The mark landed once if the ledger says DONE, and never otherwise."""
    await rig.finalize()
    assert (1 if record.state is S.DONE else 0) == (await rig.landed())[record.intent.id]


async def balances_agree(rig: TradeRig) -> None:
    """What the ledger worked out from its fills is what the wallet holds, to the lamport."""
    account = rig.cluster.bank.account(rig.wallet.pubkey())
    assert account is not None
    assert account.lamports == (await rig.ledger.bot()).wallet_lamports


async def test_an_entry_and_its_exit_are_filled_from_the_chain_and_their_money_adds_up(
    world: World, tmp_path: Path
) -> None:
    """Claim to fill, both ways; what the fills say is what the wallet has."""
    async with a_bot(world, tmp_path) as rig:
        before = rig.cluster.bank.account(rig.wallet.pubkey())
        entry = an_intent("happy")
        bought = await rig.trade(entry)
        # Whoever is held up for 16 slots between two looks finds the block final at once.
        assert rig.path_of(entry) in ([S.SIGNED, S.SUBMITTED, *seen, S.DONE] for seen in ([S.CONFIRMED], []))
        (position,) = await rig.ledger.positions()
        exit_ = an_exit("happy", entry.id, position.held)
        sold = await rig.trade(exit_)
        assert (bought.state, sold.state) == (S.DONE, S.DONE)
        fills = {row.fill.intent_id: row.fill for row in await rig.ledger.fills()}
        after = rig.cluster.bank.account(rig.wallet.pubkey())
        assert before is not None
        assert after is not None
        assert after.lamports - before.lamports == sum(f.lamport_delta for f in fills.values())
        assert fills[entry.id].base_delta + fills[exit_.id].base_delta == 0
        assert fills[entry.id].quote_delta == -entry.amount_in
        for f in fills.values():
            assert f.finalized
            assert (
                f.lamport_delta
                == f.quote_delta - f.base_fee_lamports - f.priority_fee_lamports - f.tip_lamports - f.rent_lamports
            )
            assert f.base_fee_lamports + f.priority_fee_lamports <= 5000 + 100_000
        await exactly_once(rig, bought)
        await exactly_once(rig, sold)
        await balances_agree(rig)


async def test_each_step_of_a_trade_says_how_long_it_took(world: World, tmp_path: Path) -> None:
    """A slow trade is explained by its own log: quote, signature, journal, sending, each in milliseconds."""
    async with a_bot(world, tmp_path) as rig:
        with capture_logs() as lines:
            assert (await rig.trade(an_intent("timed"))).state is S.DONE
        timed = [line for line in lines if "took_ms" in line and line["event"] in ("quote", "sign", "journal", "send")]
        assert [line["event"] for line in timed][:4] == ["quote", "sign", "journal", "send"]
        assert all(line["took_ms"] > 0 and line["log_level"] == "debug" for line in timed)
        assert [line["step"] for line in timed if line["event"] == "journal"][:1] == ["SIGN"]


async def test_sixteen_trades_at_once_land_once_each(world: World, tmp_path: Path) -> None:
    """Trades in flight do not disturb each other."""
    async with a_bot(world, tmp_path) as rig:
        done = await asyncio.gather(*(rig.trade(an_intent(f"many{i}")) for i in range(16)))
        assert {S.DONE} == {r.state for r in done}
        await rig.finalize()
        assert {r.intent.id: 1 for r in done} == dict(await rig.landed())


async def test_dropped_sends_expire_by_proof_and_the_second_attempt_lands(world: World, tmp_path: Path) -> None:
    """A new attempt only after rule E; then with a fresh blockhash."""
    async with a_bot(world, tmp_path) as rig:
        fault = rig.fault(kind="drop_send", nodes=[0, 1, 2])
        intent = an_intent("dropped")
        drive = asyncio.create_task(rig.trade(intent))
        expired = await rig.until(intent, {S.EXPIRED, S.SIGNED, S.SUBMITTED})
        while expired.attempt < 2:
            if S.EXPIRED in rig.path_of(intent):
                rig.cluster.faults.remove(fault)
            expired = await rig.until(intent, {S.EXPIRED, S.SIGNED, S.SUBMITTED, S.CONFIRMED, S.DONE})
            await asyncio.sleep(0.01)
        record = await drive
        assert (record.state, record.attempt) == (S.DONE, 2)
        assert rig.path_of(intent)[:4] == [S.SIGNED, S.SUBMITTED, S.EXPIRED, S.SIGNED]
        first, second = record.attempts
        assert second.last_valid_block_height > first.last_valid_block_height
        await exactly_once(rig, record)


async def test_a_fork_of_a_confirmed_trade_goes_back_and_lands_again_by_the_same_bytes(
    world: World, tmp_path: Path
) -> None:
    """CONFIRMED is not the end; the bytes stay valid on the surviving fork."""
    async with a_bot(world, tmp_path) as rig:
        for n in range(5):
            intent = an_intent(f"forked{n}")
            drive = asyncio.create_task(rig.trade(intent))
            confirmed = await rig.until(intent, {S.CONFIRMED, S.DONE})
            if confirmed.state is S.DONE:
                continue  # the machine was too slow to see it in between
            assert confirmed.confirmed_slot is not None
            rig.fault(kind="fork", slots=max(1, rig.cluster.bank.slot - confirmed.confirmed_slot + 1))
            record = await drive
            await exactly_once(rig, record)
            assert (record.state, record.attempt) == (S.DONE, 1)
            if S.SUBMITTED in rig.path_of(intent)[2:]:
                assert rig.path_of(intent)[2:4] == [S.CONFIRMED, S.SUBMITTED]
                break
        else:
            pytest.fail("no confirmed trade could be forked away")


async def test_a_price_that_runs_away_fails_the_exit_on_chain_with_6001_and_only_the_fee_is_paid(
    world: World,
    tmp_path: Path,
) -> None:
    """An error at finalized is the end of the intent; the position is still held."""
    async with a_bot(world, tmp_path) as rig:
        entry = an_intent("run")
        await rig.trade(entry)
        (position,) = await rig.ledger.positions()
        exit_ = an_exit("run", entry.id, position.held, max_slippage_bps=1)
        record = await rig.claim(exit_)
        real_quote = rig.executor.quote

        async def too_good(intent: Any) -> Any:
            # What the pool would have given before somebody else sold: asked for the whole, quoted for the whole.
            quote = await real_quote(intent)
            promised = str(int(quote.raw["outAmount"]) * 2)
            quote.raw.update(outAmount=promised, otherAmountThreshold=promised)
            return quote

        rig.executor.quote = too_good  # type: ignore[method-assign]
        failed = await rig.drive(record)
        assert S.FAILED is failed.state
        assert "6001" in failed.reason
        (still,) = await rig.ledger.positions()
        assert position.held == still.held
        await exactly_once(rig, failed)
        await balances_agree(rig)


async def test_an_entry_that_preflight_rejects_is_not_sent_into_certain_failure(world: World, tmp_path: Path) -> None:
    """It ends by rule E without a fee."""
    async with a_bot(world, tmp_path, entry_max_attempts=1) as rig:
        real_quote = rig.executor.quote

        async def too_good(intent: Any) -> Any:
            quote = await real_quote(intent)
            promised = str(int(quote.raw["outAmount"]) * 2)
            quote.raw.update(outAmount=promised, otherAmountThreshold=promised)
            return quote

        rig.executor.quote = too_good  # type: ignore[method-assign]
        before = rig.cluster.bank.account(rig.wallet.pubkey())
        record = await rig.trade(an_intent("rejected"))
        assert S.ABANDONED is record.state
        assert before == rig.cluster.bank.account(rig.wallet.pubkey())
        await exactly_once(rig, record)


async def burn(rig: TradeRig, amount: int) -> None:
    """Destroy tokens of the wallet, as a person at another keyboard might."""
    owner, mint = rig.wallet.pubkey(), Pubkey.from_string(BONK)
    accounts = [
        AccountMeta(associated_token_account(owner, mint), False, True),
        AccountMeta(mint, False, True),
        AccountMeta(owner, True, False),
    ]
    rpc = Rpc(rig.pool)
    blockhash = Hash.from_string((await rpc.get_latest_blockhash("confirmed")).result.blockhash)
    instruction = Instruction(TOKEN, bytes([8]) + amount.to_bytes(8, "little"), accounts)
    message = Message.new_with_blockhash([instruction], owner, blockhash)
    transaction = Transaction([rig.wallet], message, blockhash)
    await rpc.send_transaction(bytes(transaction), skip_preflight=False, preflight_commitment="confirmed")
    await rig.finalize()


async def test_a_position_whose_tokens_are_gone_costs_no_fees_and_says_why(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every node's preflight rejects the sale, so no byte of it is spread: rule E ends it, and its end has a name."""
    monkeypatch.setattr(steps, "EXIT_MAX_ATTEMPTS", 1)
    async with a_bot(world, tmp_path) as rig:
        entry = an_intent("gone")
        assert (await rig.trade(entry)).state is S.DONE
        (position,) = await rig.ledger.positions()
        await burn(rig, position.held)
        before = rig.cluster.bank.account(rig.wallet.pubkey())
        sale = an_exit("gone", entry.id, position.held)
        record = await rig.trade(sale)
        assert (record.state, record.attempt) == (S.ABANDONED, 1)
        assert record.reason.startswith("PreflightRejected: ")
        assert "custom program error" in record.reason
        await exactly_once(rig, record)
        assert before == rig.cluster.bank.account(rig.wallet.pubkey()), "a fee was paid"


@pytest.mark.parametrize(
    "faults",
    [
        [{"kind": "lag", "nodes": [0], "slots": 120}],
        [{"kind": "lag", "nodes": [0, 1], "slots": 20}],
        [{"kind": "dead_fork", "nodes": [0]}],
        [{"kind": "hang", "nodes": [0]}],
        [{"kind": "hang", "nodes": [1], "methods": ["sendTransaction", "getSignatureStatuses"]}],
        [{"kind": "down", "nodes": [0, 1]}],
        [{"kind": "rate_limited", "nodes": [0, 1], "retry_after_s": 1}],
        [{"kind": "html", "nodes": [0, 2]}],
        [{"kind": "http_error", "nodes": [0, 1, 2], "probability": 0.4}],
        [{"kind": "status_blind", "nodes": [0]}],
        [{"kind": "wrong_genesis", "nodes": [1]}],
        [{"kind": "lose_answer", "nodes": [0, 1, 2]}],
        [{"kind": "lose_answer", "nodes": [0, 1], "how": "hang"}],
        [{"kind": "double_send", "nodes": [0, 1, 2], "delay_slots": 40}],
        [{"kind": "delay_send", "nodes": [0, 1, 2], "delay_slots": 60}],
        [{"kind": "drop_send", "nodes": [0, 1, 2], "probability": 0.7}],
        [{"kind": "unhealthy", "nodes": [0, 1], "methods": []}],
    ],
    ids=lambda faults: "+".join(f"{f['kind']}{len(f['nodes'])}" for f in faults),
)
async def test_a_trade_ends_exactly_once_whatever_some_nodes_do(
    world: World, tmp_path: Path, faults: list[dict[str, Any]]
) -> None:
    """With one sound node left (or faults that come and go) the trade is done, and done once."""
    async with a_bot(world, tmp_path) as rig:
        for fault in faults:
            rig.fault(**fault)
        record = await rig.trade(an_intent("faulty"), timeout_s=90)
        assert S.DONE is record.state
        rig.cluster.faults.clear()
        await exactly_once(rig, record)


async def test_a_trade_that_was_cut_off_anywhere_is_resumed_to_the_same_end(world: World, tmp_path: Path) -> None:
    """The task is cancelled again and again at whatever it awaits; recovery is the same code."""
    async with a_bot(world, tmp_path) as rig:
        intent = an_intent("cut")
        record = await rig.claim(intent)
        cuts = 0
        for pause_ms in (1, 3, 6, 10, 15, 20, 30, 40, 60, 80, 120, 200, 400):
            task = asyncio.create_task(rig.drive(record))
            await asyncio.sleep(pause_ms / 1000)
            if task.done():
                break
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            cuts += 1
            read = await rig.ledger.intent(intent.id)
            assert read is not None
            record = read
        record = await rig.drive(record)
        assert cuts > 5
        assert (record.state, record.attempt) == (S.DONE, 1)
        await exactly_once(rig, record)


async def test_two_drivers_on_one_intent_trade_once(world: World, tmp_path: Path) -> None:
    """A zombie beside its successor: the compares let one of them through, the bytes are the same."""
    async with a_bot(world, tmp_path) as rig:
        record = await rig.claim(an_intent("twins"))
        ends = await asyncio.gather(*(rig.drive(record) for _ in range(3)))
        assert {(S.DONE, 1)} == {(r.state, r.attempt) for r in ends}
        await exactly_once(rig, ends[0])


async def test_a_drain_gives_up_what_was_never_signed_and_follows_what_was(world: World, tmp_path: Path) -> None:
    """No new attempt begins; an attempt in flight is followed to its end."""
    async with a_bot(world, tmp_path) as rig:
        flying = an_intent("flying")
        drive = asyncio.create_task(rig.trade(flying))
        await rig.until(flying, {S.SIGNED, S.SUBMITTED, S.CONFIRMED})
        rig.may_attempt = False
        waiting = await rig.trade(an_intent("waiting"))
        assert (waiting.state, waiting.reason) == (S.ABANDONED, "Draining")
        assert S.DONE is (await drive).state


async def test_a_swap_api_that_limits_and_fails_delays_a_trade_and_no_more(world: World, tmp_path: Path) -> None:
    """Quotes are asked for again while the signal is fresh."""
    async with a_bot(world, tmp_path) as rig:
        rig.fault(target="swap", kind="http_error", status=503, probability=0.25)
        record = await rig.trade(an_intent("patient"))
        assert S.DONE is record.state


async def test_no_quote_at_all_ends_the_entry_when_its_signal_is_old(world: World, tmp_path: Path) -> None:
    """Nothing was signed, so nothing is to be proven."""
    async with a_bot(world, tmp_path, entry_max_age_s=1.0) as rig:
        rig.fault(target="swap", kind="http_error", status=503)
        record = await rig.trade(an_intent("quoteless"))
        assert (record.state, record.attempt) == (S.ABANDONED, 0)
        assert record.reason.startswith("TooOld: ")
        assert "503" in record.reason  # what stood in the way


async def test_no_byte_leaves_before_its_attempt_is_in_the_ledger(world: World, tmp_path: Path) -> None:
    """At every single send the journal, read anew, holds exactly these bytes."""
    async with a_bot(world, tmp_path) as rig:
        real_send, sends = rig.executor.send, []

        async def watched(attempt: Attempt, *, first: bool) -> None:
            record = await rig.ledger.intent(attempt.intent_id)
            assert record is not None
            journalled = {a.signature: (a.wire, a.last_valid_block_height) for a in record.attempts}
            assert (attempt.wire, attempt.last_valid_block_height) == journalled[attempt.signature]
            sends.append(first)
            await real_send(attempt, first=first)

        rig.executor.send = watched  # type: ignore[method-assign]
        rig.fault(kind="drop_send", nodes=[0, 1, 2])
        trading = asyncio.gather(*(rig.trade(an_intent(f"watched{i}")) for i in range(4)))
        while len(sends) < 8:  # all of the first sends are lost, so that some are sent again
            await asyncio.sleep(0.02)
        world.heal()
        ends = await trading
        assert {S.DONE} == {r.state for r in ends}
        assert 4 <= sum(sends) < len(sends)


class FlakyLedger:
    """The real ledger, away for the first calls of each move; or its answer is lost after the commit."""

    def __init__(self, ledger: Ledger, *, commit_first: bool) -> None:
        self._ledger, self._commit_first = ledger, commit_first
        self.refused: Counter[str] = Counter()

    async def intent(self, intent_id: str) -> IntentRecord | None:
        return await self._ledger.intent(intent_id)

    async def move(self, move: Move, *, ownership: Ownership) -> IntentRecord | None:
        if self.refused[move.event] < 2:
            self.refused[move.event] += 1
            if self._commit_first:
                await self._ledger.move(move, ownership=ownership)
            raise LedgerUnavailable("database is locked")
        return await self._ledger.move(move, ownership=ownership)


@pytest.mark.parametrize("commit_first", [False, True], ids=["away", "answer lost"])
async def test_a_ledger_that_comes_and_goes_delays_a_trade_and_changes_nothing(
    world: World, tmp_path: Path, commit_first: bool
) -> None:
    """While it is away nothing is sent; a commit whose answer was lost is found by reading again."""
    async with a_bot(world, tmp_path) as rig:
        record = await rig.claim(an_intent("flaky"))
        ledger = FlakyLedger(rig.ledger, commit_first=commit_first)
        driver = TradeDriver(
            ledger=ledger,  # type: ignore[arg-type]  # only what the driver needs of it
            executor=rig.executor,
            clock=SystemClock(),
            settings=rig.settings.execution,
            genesis_hash=rig.cluster.bank.genesis_hash,
        )
        done = await asyncio.wait_for(driver.drive(record, rig.ownership, may_attempt=lambda: True), 60)
        assert (done.state, done.attempt) == (S.DONE, 1)
        assert ledger.refused["SIGN"] == 2
        await exactly_once(rig, done)


async def test_a_driver_whose_shard_was_taken_stops_and_its_successor_finishes(world: World, tmp_path: Path) -> None:
    """The old epoch writes nothing more; the trade still lands once."""
    async with a_bot(world, tmp_path) as rig:
        rig.fault(kind="delay_send", nodes=[0, 1, 2], delay_slots=20)
        intent = an_intent("fenced")
        zombie = asyncio.create_task(rig.trade(intent))
        await rig.until(intent, {S.SIGNED, S.SUBMITTED})
        row = (await rig.ledger.shards())[0]
        taken = await rig.ledger.take(row, holder="successor", now_ms=0)
        assert taken is not None
        record = await rig.ledger.intent(intent.id)
        assert record is not None
        done = await asyncio.wait_for(rig.driver.drive(record, taken, may_attempt=lambda: True), 60)
        with pytest.raises(Fenced):
            await zombie
        assert (done.state, done.attempt) == (S.DONE, 1)
        await exactly_once(rig, done)


async def cut_off_after_sending(rig: TradeRig, intent: OrderIntent) -> IntentRecord:
    """Sign and send, then stop looking, as a process that died does."""
    record = await rig.claim(intent)
    task = asyncio.create_task(rig.drive(record))
    await rig.until(intent, {S.SUBMITTED, S.CONFIRMED})
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    read = await rig.ledger.intent(intent.id)
    assert read is not None
    assert read.current is not None
    return read


async def sleep_beyond_the_status_cache(rig: TradeRig, record: IntentRecord) -> None:
    """Wait until no bank answers for the attempt any more without searching its history."""
    assert record.current is not None
    while rig.cluster.bank.slot <= record.current.blockhash_slot + 320:
        await asyncio.sleep(0.05)


async def test_after_a_long_sleep_a_trade_that_landed_is_found_although_a_node_has_a_hole_there(
    world: World, tmp_path: Path
) -> None:
    """A node started from a snapshot answers null in good faith: its list of blocks is short, and the others know."""
    async with a_bot(world, tmp_path) as rig:
        record = await cut_off_after_sending(rig, an_intent("holes"))
        assert record.current is not None
        first = record.current.blockhash_slot
        await sleep_beyond_the_status_cache(rig, record)
        rig.fault(kind="snapshot", nodes=[0], first_slot=first, last_slot=first + 60)
        case = case_of(record, record.current, genesis_hash=rig.cluster.bank.genesis_hash)
        lie = await EvidenceGatherer(Rpc(rig.pool)).expiry(
            record.current.signature, case, provider="node0", context_slot=rig.cluster.bank.slot
        )
        assert lie is not None
        assert prove_expiry(case, [lie]) == Unproven("HistoryHasHoles")
        done = await rig.drive(record)
        assert (done.state, done.attempt) == (S.DONE, 1)
        world.heal()
        await exactly_once(rig, done)


async def test_after_a_long_sleep_a_trade_that_never_landed_expires_by_the_word_of_two_providers(
    world: World, tmp_path: Path
) -> None:
    """Recovery is the same code: prove, then try again while the signal is fresh."""
    async with a_bot(world, tmp_path, entry_max_age_s=120) as rig:
        rig.fault(kind="drop_send", nodes=[0, 1, 2])
        record = await cut_off_after_sending(rig, an_intent("never"))
        await sleep_beyond_the_status_cache(rig, record)
        world.heal()
        done = await rig.drive(record)
        assert (done.state, done.attempt) == (S.DONE, 2)
        await exactly_once(rig, done)


async def test_version_2_of_the_swap_api_trades_as_well(world: World, tmp_path: Path) -> None:
    """`/build` gives quote, instructions and lookup tables at once; the priority fee is still ours."""
    swap = SwapSettings(base_url=world.cluster.gateway_url, version="v2")
    async with a_bot(world, tmp_path, swap=swap) as rig:
        done = await rig.trade(an_intent("v2", max_priority_fee_lamports=3_000))
        assert S.DONE is done.state
        (row,) = await rig.ledger.fills()
        assert row.fill.priority_fee_lamports <= 3_000
        await exactly_once(rig, done)
        await balances_agree(rig)
