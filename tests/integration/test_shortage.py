"""Positions whose tokens are not there, on a real chain: sold for what there is, closed for the rest, and the books agree."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.transaction import Transaction
from trade_rig import BONK, TradeRig, World, a_bot, a_world, an_exit, an_intent

from tradingbot_engine.audit.audit import run_audit
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.intents import IntentState, OrderIntent
from tradingbot_engine.domain.portfolio import Position, PositionState
from tradingbot_engine.execution.programs import TOKEN, associated_token_account
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.rpc.methods import Rpc

S = IntentState
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with a_world() as world:
        yield world


async def take_away(rig: TradeRig, amount: int, *, close: bool = False) -> None:
    """Let a person burn tokens of the wallet, and close its account; wait until that is final."""
    owner, mint = rig.wallet.pubkey(), Pubkey.from_string(BONK)
    account = associated_token_account(owner, mint)
    signer = AccountMeta(owner, True, False)
    burn = [AccountMeta(account, False, True), AccountMeta(mint, False, True), signer]
    instructions = [Instruction(TOKEN, bytes([8]) + amount.to_bytes(8, "little"), burn)]
    if close:
        shut = [AccountMeta(account, False, True), AccountMeta(owner, False, True), signer]
        instructions.append(Instruction(TOKEN, bytes([9]), shut))
    rpc = Rpc(rig.pool)
    blockhash = Hash.from_string((await rpc.get_latest_blockhash("confirmed")).result.blockhash)
    message = Message.new_with_blockhash(instructions, owner, blockhash)
    await rpc.send_transaction(
        bytes(Transaction([rig.wallet], message, blockhash)), skip_preflight=False, preflight_commitment="confirmed"
    )
    await rig.finalize()


async def bought(rig: TradeRig, name: str) -> Position:
    assert (await rig.trade(an_intent(name))).state is S.DONE
    return next(p for p in await rig.ledger.positions() if p.strategy == name)


def sale_of(position: Position, name: str, amount: int) -> OrderIntent:
    return an_exit(position.strategy, position.id, amount, name=name)


async def now(rig: TradeRig, position: Position) -> Position:
    return next(p for p in await rig.ledger.positions(closed=True) if p.id == position.id)


async def test_a_position_with_half_its_tokens_is_sold_for_what_is_there_and_closed_for_the_rest(
    world: World, tmp_path: Path
) -> None:
    """The first attempt fails its preflight, the next sells what is there; then nothing is left, and that is final."""
    async with a_bot(world, tmp_path) as rig:
        position = await bought(rig, "half")
        there = position.held - position.held // 2
        await take_away(rig, position.held // 2)
        sold = await rig.trade(sale_of(position, "half-exit", position.held))
        assert (sold.state, sold.attempt) == (S.DONE, 2)
        left = await now(rig, position)
        assert (left.state, left.held) == (PositionState.OPEN, position.held - there)
        rest = await rig.trade(sale_of(position, "half-rest", left.held))
        assert (rest.state, rest.attempt, rest.reason.split(":")[0]) == (S.ABANDONED, 0, "ShortOfTokens")
        closed = await now(rig, position)
        assert (closed.state, closed.held, closed.proceeds) == (PositionState.CLOSED, 0, left.proceeds)
        assert await violations(rig.ledger) == []
        assert (await rig.trade(an_intent("half again", strategy="half"))).state is S.DONE, "its lane is not free"
        await rig.finalize()
        report = await run_audit(rpc=rig.pool, ledger=rig.settings.ledger.sqlite_path, clock=SystemClock())
        document = report.document()
        assert (document["doubled"], document["lost"], document["phantom"], document["verdict"]) == (0, 0, 0, "proven")


async def test_of_two_positions_that_share_an_account_with_too_little_each_gets_what_is_there(
    world: World, tmp_path: Path
) -> None:
    """The first to sell is whole; the other sells the rest, and its own rest is the loss."""
    async with a_bot(world, tmp_path) as rig:
        first, second = await bought(rig, "first"), await bought(rig, "second")
        await take_away(rig, second.held // 3)
        assert (await rig.trade(sale_of(first, "first-exit", first.held))).state is S.DONE
        sold = await rig.trade(sale_of(second, "second-exit", second.held))
        assert (sold.state, sold.attempt) == (S.DONE, 2)
        assert (await now(rig, second)).held == second.held // 3
        rest = await rig.trade(sale_of(second, "second-rest", second.held // 3))
        assert rest.reason.startswith("ShortOfTokens: ")
        assert await rig.ledger.positions() == []
        assert await violations(rig.ledger) == []


async def test_a_token_account_that_vanished_closes_the_position(world: World, tmp_path: Path) -> None:
    """No account is nothing to sell; also a lagging node in front does not make it less than final."""
    async with a_bot(world, tmp_path) as rig:
        position = await bought(rig, "vanished")
        await take_away(rig, position.held, close=True)
        rig.fault(kind="lag", nodes=[0], slots=10)
        ended = await rig.trade(sale_of(position, "vanished-exit", position.held))
        assert (ended.state, ended.attempt, ended.reason.split(":")[0]) == (S.ABANDONED, 1, "ShortOfTokens")
        assert (await now(rig, position)).state is PositionState.CLOSED
        assert await violations(rig.ledger) == []
