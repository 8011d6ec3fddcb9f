"""The rent of guards comes back, never too early, and is neither a gain nor a deposit."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from trade_rig import TradeRig, World, a_bot, a_world, an_intent

from tradingbot_engine.audit.audit import run_audit
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.intents import IntentState, OrderIntent
from tradingbot_engine.errors import LedgerBehindChain
from tradingbot_engine.execution import reclaim
from tradingbot_engine.execution.programs import guard_account
from tradingbot_engine.execution.reclaim import BATCH, Reclaimer
from tradingbot_engine.execution.signer import KeyFileSigner
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import GuardRent
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


def reclaimer(rig: TradeRig, **options: Any) -> Reclaimer:
    return Reclaimer(
        **{
            "ledger": rig.ledger,
            "rpc": rig.pool,
            "signer": KeyFileSigner(rig.wallet),
            "genesis_hash": rig.cluster.bank.genesis_hash,
            "clock": SystemClock(),
            "ownerships": lambda: [rig.ownership],
            "hold": lambda: False,
            "fee_budget_lamports": 10**9,
            "told": lambda rent, used_up: None,
            "patience_ms": 0,
            **options,
        }
    )


def guard_holds(rig: TradeRig, intent: OrderIntent) -> int:
    account = rig.cluster.bank.account(guard_account(rig.wallet.pubkey(), intent.id))
    return 0 if account is None else account.lamports


def lamports(rig: TradeRig) -> int:
    account = rig.cluster.bank.account(rig.wallet.pubkey())
    assert account is not None
    return account.lamports


async def past(rig: TradeRig, *intents: OrderIntent) -> None:
    """Wait until no attempt of the intents can land any more, by the finalized chain."""
    records = [await rig.ledger.intent(intent.id) for intent in intents]
    last = max(a.last_valid_block_height for r in records if r is not None for a in r.attempts)
    while (await Rpc(rig.pool).get_epoch_info("finalized")).result.block_height <= last + 4:
        await asyncio.sleep(0.05)


async def until_ended(rig: TradeRig, reclaiming: Reclaimer) -> None:
    for _ in range(400):
        await reclaiming.step()
        if not await rig.ledger.open_reclaims():
            return
        await asyncio.sleep(0.05)
    pytest.fail("the reclaim never ended")


async def no_flow(rig: TradeRig) -> bool:
    """Whether the wallet's finalized balance is what the ledger expects: nobody else moved money."""
    await rig.finalize()
    balance = (await Rpc(rig.pool).get_balance(str(rig.wallet.pubkey()), "finalized")).result
    slot = await Rpc(rig.pool).get_slot("finalized")
    return await rig.ledger.observe_wallet(lamports=balance, quote=balance, slot=slot) == 0


def states(rig: TradeRig) -> list[str]:
    with sqlite3.connect(rig.settings.ledger.sqlite_path) as books:
        return [row[0] for row in books.execute("SELECT state FROM reclaims ORDER BY signed_at_ms")]


async def audited(rig: TradeRig) -> dict[str, Any]:
    await rig.finalize()
    report = await run_audit(rpc=rig.pool, ledger=rig.settings.ledger.sqlite_path, clock=SystemClock())
    return report.document()


async def test_rent_comes_back_only_when_no_attempt_can_land_and_is_no_deposit(world: World, tmp_path: Path) -> None:
    """Until the last valid height is passed at finalized the guard stays; then the money is back, to the lamport."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("rent")
        assert (await rig.trade(intent)).state is S.DONE
        reclaiming = reclaimer(rig)
        await reclaiming.step()
        assert (guard_holds(rig, intent), await rig.ledger.open_reclaims()) == (RENT, [])
        await past(rig, intent)
        before, risk = lamports(rig), await rig.ledger.risk()
        await reclaiming.step()
        (under_way,) = await rig.ledger.open_reclaims()
        assert under_way.intents == (intent.id,)
        assert await rig.ledger.observe_wallet(lamports=before, quote=before, slot=10**9) is None, "in motion"
        await until_ended(rig, reclaiming)
        assert states(rig) == ["DONE"]
        assert guard_holds(rig, intent) == 0
        assert lamports(rig) == before + RENT - 5000 == (await rig.ledger.bot()).wallet_lamports
        assert await no_flow(rig)
        assert (await rig.ledger.risk()).capital == risk.capital
        assert (await rig.ledger.risk()).realized == risk.realized - 5000
        await reclaiming.step()
        assert await rig.ledger.open_reclaims() == []
        document = await audited(rig)
        assert (document["verdict"], document["upkeep"], document["foreign"], document["filled"]) == ("proven", 1, 0, 1)
        assert await violations(rig.ledger) == []
        assert await compare_with_chain(rig.ledger, rig.pool, await rig.ledger.bot()) >= 0


async def test_a_copy_from_before_a_reclaim_is_noticed_by_it(world: World, tmp_path: Path) -> None:
    """To it the emptied guard would say that nothing was executed: the absence proves nothing any more."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("copy")
        assert (await rig.trade(intent)).state is S.DONE
        await past(rig, intent)
        path = tmp_path / "old" / "ledger.db"
        path.parent.mkdir()
        with sqlite3.connect(rig.settings.ledger.sqlite_path) as books, sqlite3.connect(path) as old:
            books.backup(old)
        copy = open_ledger(LedgerSettings(sqlite_path=path), holder="a" * 32, clock=SystemClock(), paper=False)
        await copy.open()
        try:
            assert await compare_with_chain(copy, rig.pool, await copy.bot()) >= 0
            await reclaimer(rig).step()
            await until_ended(rig, reclaimer(rig))
            assert await compare_with_chain(rig.ledger, rig.pool, await rig.ledger.bot()) >= 0
            with pytest.raises(LedgerBehindChain, match=intent.id):
                await compare_with_chain(copy, rig.pool, await copy.bot())
        finally:
            await copy.close()


async def test_guards_go_in_batches_and_a_few_wait_for_company(world: World, tmp_path: Path) -> None:
    """One transaction empties several accounts; the rest is fetched once it has waited long enough."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intents = [an_intent(f"batch{i}") for i in range(BATCH + 2)]
        done = await asyncio.gather(*(rig.trade(i) for i in intents))
        assert {r.state for r in done} == {S.DONE}
        await past(rig, *intents)
        patient = reclaimer(rig, patience_ms=10**9)
        await patient.step()
        await until_ended(rig, patient)
        assert sorted(guard_holds(rig, i) for i in intents) == [0] * BATCH + [RENT] * 2
        await patient.step()
        assert await rig.ledger.open_reclaims() == []
        await until_ended(rig, reclaimer(rig))
        await until_ended(rig, reclaimer(rig))
        assert {guard_holds(rig, i) for i in intents} == {0}
        assert states(rig) == ["DONE", "DONE"]
        assert await no_flow(rig)


async def test_a_reclaim_that_was_journalled_and_not_sent_is_sent_by_the_next_process(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Death between journal and send: the same bytes, not a second transaction."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("unsent")
        assert (await rig.trade(intent)).state is S.DONE
        await past(rig, intent)
        dying = reclaimer(rig)

        async def die(_: Any) -> None:
            raise asyncio.CancelledError

        monkeypatch.setattr(dying, "_send", die)
        with pytest.raises(asyncio.CancelledError):
            await dying.step()
        (journalled,) = await rig.ledger.open_reclaims()
        await until_ended(rig, reclaimer(rig))
        assert guard_holds(rig, intent) == 0
        (status,) = (await Rpc(rig.pool).get_signature_statuses([journalled.signature], search_history=True)).result
        assert status is not None
        assert not status.failed
        assert (states(rig), await no_flow(rig)) == (["DONE"], True)


async def test_a_reclaim_whose_sends_are_lost_expires_and_its_guards_are_due_again(
    world: World, tmp_path: Path
) -> None:
    """Rule E ends it; while a guard is full it cannot have landed."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("lost-reclaim")
        assert (await rig.trade(intent)).state is S.DONE
        await past(rig, intent)
        drop = rig.fault(kind="drop_send", nodes=[0, 1, 2])
        reclaiming = reclaimer(rig)
        await reclaiming.step()
        await until_ended(rig, reclaiming)
        assert (states(rig), guard_holds(rig, intent)) == (["EXPIRED"], RENT)
        rig.cluster.faults.remove(drop)
        await reclaiming.step()
        await until_ended(rig, reclaiming)
        assert (states(rig), guard_holds(rig, intent)) == (["EXPIRED", "DONE"], 0)
        assert await no_flow(rig)


async def test_reclaims_that_fail_stop_at_the_days_budget_and_go_on_the_next_day(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pays a fee for nothing: at the budget no more is signed, it is said, and a new UTC day begins anew."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intents = [an_intent(f"costly{i}") for i in range(2)]
        for intent in intents:
            assert (await rig.trade(intent)).state is S.DONE
        await past(rig, *intents)
        said: list[tuple[GuardRent, bool]] = []
        clock = Tomorrow()
        options: dict[str, Any] = {"told": lambda *told: said.append(told), "fee_budget_lamports": 10_000}
        reclaiming = reclaimer(rig, clock=clock, **options)
        true_message = reclaim.reclaim_message
        with monkeypatch.context() as breaking:  # more than a guard holds: the whole transaction fails, for its fee
            breaking.setattr(
                reclaim,
                "reclaim_message",
                lambda accounts, **rest: true_message([(i, held + 1) for i, held in accounts], **rest),
            )
            breaking.setattr(Rpc, "send_transaction", partialmethod(_without_preflight, Rpc.send_transaction))
            for _ in range(40):
                await until_ended(rig, reclaiming)
                if said[-1][1]:
                    break
        assert states(rig) == ["FAILED", "FAILED"]
        assert said[-1] == (GuardRent(2, 0, 10_000), True)
        await reclaiming.step()
        assert states(rig) == ["FAILED", "FAILED"]
        assert {guard_holds(rig, i) for i in intents} == {RENT}
        clock.ahead_ms = 86_400_000
        await until_ended(rig, reclaiming)
        assert states(rig) == ["FAILED", "FAILED", "DONE"]
        assert {guard_holds(rig, i) for i in intents} == {0}
        await reclaiming.step()
        assert said[-1] == (GuardRent(0, 0, 0), False)
        assert await no_flow(rig)


class Tomorrow(SystemClock):
    """A clock that can be put forward."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


async def _without_preflight(rpc: Rpc, send: Any, wire: bytes, **options: Any) -> Any:
    return await send(rpc, wire, **{**options, "skip_preflight": True})


async def test_trades_without_a_guard_are_passed_over(world: World, tmp_path: Path) -> None:
    """A bot that was switched from Memo to Guard has both kinds in its ledger."""
    async with a_bot(world, tmp_path, mark="Memo") as rig:
        intent = an_intent("memo")
        assert (await rig.trade(intent)).state is S.DONE
        await past(rig, intent)
        await reclaimer(rig).step()
        assert await rig.ledger.open_reclaims() == []
        due, since = await rig.ledger.guards_due(ownership=rig.ownership, height=10**9, since=0, limit=10)
        (row,) = await rig.ledger.fills()
        assert (list(due), since) == ([], row.fill.slot)


async def test_while_signatures_must_wait_nothing_is_reclaimed(world: World, tmp_path: Path) -> None:
    """A ledger that may be an older copy signs nothing, also no reclaim."""
    async with a_bot(world, tmp_path, mark="Guard") as rig:
        intent = an_intent("held")
        assert (await rig.trade(intent)).state is S.DONE
        await past(rig, intent)
        await reclaimer(rig, hold=lambda: True).step()
        assert (guard_holds(rig, intent), await rig.ledger.open_reclaims()) == (RENT, [])
