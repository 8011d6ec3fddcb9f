"""
Real trades end to end in one process: localnet with its market and swap API, a SQLite ledger, the live executor, the driver.

Blocks are made every 25 ms, so that 150 blocks of validity pass in four seconds; finality takes 16 blocks here.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from solders.keypair import Keypair

from tradingbot_engine.audit.transaction import read_transaction
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.money import SOL
from tradingbot_engine.domain.portfolio import RiskState
from tradingbot_engine.domain.signals import Priority, Purpose, Side
from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.execution.live import LiveExecutor
from tradingbot_engine.execution.signer import KeyFileSigner
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.execution.trade import TradeDriver
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.port import BotRecord, ClaimLimits, ClaimOutcome, Ledger, Ownership
from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.faults import parse_fault
from tradingbot_engine.localnet.market import Market
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import (
    BotSettings,
    EndpointSettings,
    EngineSettings,
    ExecutionSettings,
    LedgerSettings,
    MarketSettings,
    RpcSettings,
    StrategySettings,
    SwapSettings,
    TokenSettings,
    WalletSettings,
)

BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
BOT_ID = "ab" * 16


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def limits() -> ClaimLimits:
    return ClaimLimits(
        quote=SOL,
        now_ms=now_ms(),
        today="2026-01-01",
        max_strategy_quote=10**15,
        max_open_intents=1000,
        fee_reserve_lamports=0,
        failed_fee_budget_lamports=10**15,
        marks_max_age_ms=10**9,
        strategy_max_drawdown_quote=10**15,
    )


def an_intent(name: str, **changes: Any) -> OrderIntent:
    own_id = hashlib.blake2b(name.encode(), digest_size=16).hexdigest()
    values: dict[str, Any] = {
        "id": own_id,
        "strategy": name,
        "mint": BONK,
        "side": Side.BUY,
        "purpose": Purpose.ENTRY,
        "priority": Priority.NORMAL,
        "position_id": own_id,
        "amount_in": 10_000_000,
        "reserve_quote": 10_000_000,
        "reserve_lamports": 5_000_000,
        "max_slippage_bps": 500,
        "max_priority_fee_lamports": 100_000,
        "signal_at_ms": now_ms(),
        "created_at_ms": now_ms(),
        "price": 1e-7,
        "reason": "test",
    }
    return OrderIntent(**{**values, **changes})


def an_exit(strategy: str, position_id: str, amount: int, *, name: str = "", **changes: Any) -> OrderIntent:
    """Return a sale of `amount` base units of a position."""
    values: dict[str, Any] = {
        "strategy": strategy,
        "side": Side.SELL,
        "purpose": Purpose.EXIT,
        "position_id": position_id,
        "amount_in": amount,
        "reserve_quote": 0,
    }
    return an_intent(name or f"{strategy}-exit", **{**values, **changes})


@dataclass
class TradeRig:
    """One bot, ready to trade."""

    cluster: Cluster
    market: Market
    ledger: Ledger
    pool: RpcPool
    swap: SwapApi
    executor: LiveExecutor
    driver: TradeDriver
    ownership: Ownership
    wallet: Keypair
    settings: EngineSettings
    steps: list[IntentRecord] = field(default_factory=list)
    sent: list[Attempt] = field(default_factory=list)
    may_attempt: bool = True

    def fault(self, **fault: Any) -> str:
        """Switch a fault of localnet on; returns its id."""
        return self.cluster.faults.add(parse_fault(fault)).id

    async def claim(self, intent: OrderIntent) -> IntentRecord:
        result = await self.ledger.claim(intent, ownership=self.ownership, limits=limits())
        assert result.outcome is ClaimOutcome.CLAIMED, f"{result.reason}: {result.message}"
        assert result.record is not None
        return result.record

    async def trade(self, intent: OrderIntent, *, timeout_s: float = 60) -> IntentRecord:
        """Claim and drive to the end."""
        return await self.drive(await self.claim(intent), timeout_s=timeout_s)

    async def drive(self, record: IntentRecord, *, timeout_s: float = 60) -> IntentRecord:
        drive = self.driver.drive(record, self.ownership, may_attempt=lambda: self.may_attempt)
        return await asyncio.wait_for(drive, timeout_s)

    async def until(self, intent: OrderIntent, states: set[IntentState]) -> IntentRecord:
        """Wait until the ledger shows the intent in one of `states`."""
        while True:
            record = await self.ledger.intent(intent.id)
            if record is not None and record.state in states:
                return record
            await asyncio.sleep(0.005)

    async def finalize(self) -> None:
        """Wait until everything that has landed by now is final."""
        target = self.cluster.bank.slot + self.cluster.bank.finalize_depth + 1
        while self.cluster.bank.slot < target:
            await asyncio.sleep(0.02)

    async def landed(self) -> Counter[str]:
        """Return how often each mark landed without error, by the chain alone."""
        rpc, wallet = Rpc(self.pool), str(self.wallet.pubkey())
        marks: Counter[str] = Counter()
        async for row in rpc.all_signatures_for_address(wallet):
            if row.failed:
                continue
            if row.memo is not None and "tb1:" in row.memo:
                marks[row.memo.split("tb1:")[1][:32]] += 1
            elif row.memo is None:
                shown = (await rpc.get_transaction(row.signature, encoding="base64")).result
                marks.update(read_transaction(shown, signature=row.signature, wallet=wallet).marks)
        return marks

    def path_of(self, intent: OrderIntent) -> list[IntentState]:
        """Return the states that the driver told of, in order."""
        return [r.state for r in self.steps if r.intent.id == intent.id]


async def old_copy(rig: TradeRig, folder: Path) -> Ledger:
    """Copy the ledger as it is now, then let the bot trade on; return the copy, opened."""
    path = folder / "old.sqlite"
    with sqlite3.connect(folder / "ledger.sqlite") as source, sqlite3.connect(path) as copy:
        source.backup(copy)
    done = await rig.drive(await rig.claim(an_intent("after-the-copy")))
    assert done.state == "DONE"
    ledger = open_ledger(LedgerSettings(sqlite_path=path), holder="b" * 32, clock=SystemClock(), paper=False)
    await ledger.open()
    return ledger


@dataclass(frozen=True)
class World:
    """A chain and its market, which several bots may trade on, one after the other."""

    cluster: Cluster
    market: Market

    def heal(self) -> None:
        """Take all faults away."""
        self.cluster.faults.clear()


@asynccontextmanager
async def a_world(*, nodes: int = 3, slot_ms: float = 25) -> AsyncIterator[World]:
    """Run a chain and its market."""
    cluster = Cluster(nodes=nodes, slot_ms=slot_ms, finalize_depth=16)
    market = Market(cluster.bank, seed=7, transactions_per_slot=2)
    market.open()
    market.mount(cluster.gateway)
    try:
        async with cluster:
            yield World(cluster, market)
    finally:
        market.close()


@asynccontextmanager
async def a_bot(world: World, tmp_path: Path, *, wallet_sol: int = 1000, **execution: Any) -> AsyncIterator[TradeRig]:
    """Run a bot with a wallet and a ledger of its own; `execution` changes its settings."""
    cluster, clock, wallet = world.cluster, SystemClock(), Keypair()
    world.heal()
    cluster.bank.airdrop(wallet.pubkey(), wallet_sol * 10**9)
    settings = rig_settings(cluster, wallet, tmp_path / "ledger.sqlite", execution)
    rpc = settings.rpc
    pool = RpcPool(rpc.endpoints, request_timeout_s=rpc.request_timeout_s, max_in_flight=rpc.max_in_flight, clock=clock)
    swap = SwapApi(settings.execution.swap, clock=clock)
    executor = LiveExecutor(swap=swap, rpc=pool, signer=KeyFileSigner(wallet), settings=settings, clock=clock)
    ledger = open_ledger(settings.ledger, holder="rig", clock=clock, paper=False)
    steps: list[IntentRecord] = []
    sent: list[Attempt] = []
    try:
        await ledger.open()
        genesis = await executor.genesis_hash()
        ownership = await own(ledger, str(wallet.pubkey()), genesis, wallet_sol * 10**9)
        driver = TradeDriver(
            ledger=ledger,
            executor=executor,
            clock=clock,
            settings=settings.execution,
            genesis_hash=genesis,
            on_step=steps.append,
            on_send=sent.append,
        )
        yield TradeRig(
            cluster=cluster,
            market=world.market,
            ledger=ledger,
            pool=pool,
            swap=swap,
            executor=executor,
            driver=driver,
            ownership=ownership,
            wallet=wallet,
            settings=settings,
            steps=steps,
            sent=sent,
        )
    finally:
        world.heal()
        await ledger.close()
        await swap.close()
        await pool.close()


def rig_settings(cluster: Cluster, wallet: Keypair, ledger_path: Path, execution: dict[str, Any]) -> EngineSettings:
    return EngineSettings(
        bot=BotSettings(name="rig", mode="Live", cluster="localnet"),
        wallet=WalletSettings(address=str(wallet.pubkey()), key_file=Path("unused")),
        rpc=RpcSettings(
            endpoints=tuple(
                EndpointSettings(name=f"node{i}", url=SecretStr(n.http_url)) for i, n in enumerate(cluster.nodes)
            ),
            request_timeout_s=1.0,
        ),
        market=MarketSettings(tokens=(TokenSettings(mint=BONK),)),
        strategies=(StrategySettings(name="m", type="momentum_5m"),),
        execution=ExecutionSettings(
            **{
                "swap": SwapSettings(base_url=cluster.gateway_url),
                "resend_interval_s": 0.2,
                "poll_interval_s": 0.03,
                **execution,
            }
        ),
        ledger=LedgerSettings(sqlite_path=ledger_path),
    )


async def own(ledger: Ledger, wallet: str, genesis: str, lamports: int) -> Ownership:
    """Make the bot's row and take its shard."""
    bot = BotRecord(
        bot_id=BOT_ID,
        name="rig",
        wallet=wallet,
        genesis_hash=genesis,
        cluster_id="laptop",
        quote_mint=SOL_MINT,
        shards=1,
        paper=False,
        wallet_lamports=lamports,
        wallet_quote=lamports,
        wallet_slot=1,
    )
    risk = RiskState(
        capital=lamports,
        equity_start=lamports,
        equity=lamports,
        peak=lamports,
        day="2026-01-01",
        day_start=lamports,
        marked_at_ms=now_ms(),
    )
    await ledger.adopt_bot(bot, risk=risk)
    row = (await ledger.shards())[0]
    ownership = await ledger.take(row, holder="rig", now_ms=now_ms())
    assert ownership is not None
    await ledger.mark(ownership=ownership, unrealized=0, at_ms=now_ms())
    return ownership
