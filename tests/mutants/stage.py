"""The real ledger, the real driver and the real evidence gathering on a scripted chain; nothing waits, nothing is random."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from mutants.scripted_chain import GENESIS, ScriptedChain, ScriptedPool
from support.ledgers import NOW_MS, a_bot, a_fill, a_risk, an_entry, limits

from tradingbot_engine import crashpoint
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.signals import Purpose, Side
from tradingbot_engine.domain.units import SOL_MINT, Epoch, Mint, Slot, UnixMs
from tradingbot_engine.execution.evidence import EvidenceGatherer
from tradingbot_engine.execution.live import LiveExecutor
from tradingbot_engine.execution.port import Balance, Quote
from tradingbot_engine.execution.trade import TradeDriver
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.port import ClaimOutcome, Ledger, Ownership
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.settings import ExecutionSettings, LedgerSettings

WALLET = "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T"
BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
SIZE = 10_000_000
TOKENS = 5_000_000
LIMITS = limits(
    max_strategy_quote=10**12,
    max_open_intents=64,
    fee_reserve_lamports=0,
    failed_fee_budget_lamports=10**12,
    marks_max_age_ms=10**9,
    strategy_max_drawdown_quote=10**12,
)


class Crash(Exception):
    """The process dies here: everything in memory is gone, the ledger and the chain remain."""


class ScriptedClock:
    """Time passes only when somebody sleeps, and every sleep first runs the script's next act."""

    def __init__(self, on_sleep: Callable[[], None]) -> None:
        self._on_sleep = on_sleep
        self._elapsed_s = 0.0

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_s(self) -> float:
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        self._elapsed_s += seconds
        self._on_sleep()
        await asyncio.sleep(0)


class ScriptedExecutor(LiveExecutor):
    """The live executor's own `send` and `look` over scripted nodes; quotes, bytes and fills are the script's."""

    def __init__(self, pool: ScriptedPool, settings: ExecutionSettings) -> None:
        self._pool = pool  # type: ignore[assignment]
        self._rpc = Rpc(pool)  # type: ignore[arg-type]
        self._evidence = EvidenceGatherer(self._rpc)
        self._execution = settings
        self._quoter = SimpleNamespace(quote_mint=SOL_MINT)  # type: ignore[assignment]
        self._sends, self._looks, self._fills = itertools.count(), itertools.count(), itertools.count()
        self._chain = pool.chain
        self.wallet: int | None = None
        self.told_too_low = 0
        """How many blocks below the true one the L is that comes with a blockhash."""
        self.amounts: dict[str, int] = {}
        """What each signature spends: an exit may sell less than it was claimed for."""

    async def quote(self, intent: OrderIntent) -> Quote:
        out = TOKENS if intent.side is Side.BUY else SIZE
        return Quote(intent.id, intent.amount_in, out, out, 0, self._chain.slot, {})

    async def prepare(self, record: IntentRecord, quote: Quote, *, epoch: Epoch, now_ms: UnixMs) -> Attempt:
        block, n = self._chain.blocks[-1], record.attempt + 1
        signature = f"{record.intent.id[:8]}-{n}-{len(self._chain.last_valid) + 1}"
        self._chain.last_valid[signature] = block.height + 150
        self.amounts[signature] = record.intent.amount_in
        return Attempt(
            intent_id=record.intent.id,
            n=n,
            signature=signature,
            wire=signature.encode(),
            blockhash=f"hash-{block.slot}",
            blockhash_slot=block.slot,
            last_valid_block_height=self._chain.last_valid[signature] - self.told_too_low,
            epoch=epoch,
            signed_at_ms=now_ms,
            quoted_out=quote.amount_out,
        )

    async def balance(self, mint: Mint, *, min_slot: Slot, finalized: bool) -> Balance | None:
        """What the script put into the wallet; None: nothing was said about it."""
        return None if self.wallet is None else Balance(self.wallet, self._chain.finalized.slot)

    async def fill(self, record: IntentRecord, *, finalized: bool) -> Fill | None:
        attempt, intent = record.current, record.intent
        assert attempt is not None
        block = self._chain.where(attempt.signature)
        if block is None:
            return None
        failed = block.landed[attempt.signature]
        sold = self.amounts.get(attempt.signature, intent.amount_in)
        base = 0 if failed else TOKENS if intent.side is Side.BUY else -sold
        quote = 0 if failed else -intent.amount_in if intent.side is Side.BUY else SIZE
        return a_fill(
            intent,
            attempt.n,
            base=base,
            quote=quote,
            slot=block.slot,
            signature=attempt.signature,
            finalized=finalized,
        )


class Stage:
    """
    One bot on one ledger and one scripted chain.

    `acts` run one per sleep of the driver, in order; after the last, each sleep makes a block with all that can land.
    """

    def __init__(self, ledger: Ledger, *, providers: tuple[str, ...] = ("a", "b")) -> None:
        self.ledger = ledger
        self.chain = ScriptedChain()
        self.chain.make(10)
        self.pool = ScriptedPool(self.chain, providers=providers)
        self.settings = ExecutionSettings(resend_interval_s=0.1, poll_interval_s=0.4)
        self.executor = ScriptedExecutor(self.pool, self.settings)
        self.acts: list[Callable[[], None]] = []
        self.idle_left = 600
        self.clock = ScriptedClock(self._idle)
        self.driver = TradeDriver(
            ledger=ledger, executor=self.executor, clock=self.clock, settings=self.settings, genesis_hash=GENESIS
        )

    def _idle(self) -> None:
        self.idle_left -= 1
        assert self.idle_left > 0, "the driver did not come to an end"
        if self.acts:
            self.acts.pop(0)()
        else:
            self.chain.land_what_can()

    async def take(self, holder: str, shard: int = 0) -> Ownership:
        """Take the shard as a new process incarnation does."""
        row = (await self.ledger.shards())[shard]
        ownership = await self.ledger.take(row, holder=holder, now_ms=NOW_MS)
        assert ownership is not None
        return ownership

    async def claim(self, ownership: Ownership, order: OrderIntent) -> IntentRecord:
        """Claim an intent, which must succeed."""
        result = await self.ledger.claim(order, ownership=ownership, limits=LIMITS)
        assert result.outcome is ClaimOutcome.CLAIMED, f"{result.reason}: {result.message}"
        assert result.record is not None
        return result.record

    async def drive(self, record: IntentRecord, ownership: Ownership) -> IntentRecord:
        """Follow an intent to its end, as the engine does."""
        return await self.driver.drive(record, ownership, may_attempt=lambda: True)

    async def resume(self, holder: str) -> None:
        """Start as a new process: take the shard, then follow everything that is open."""
        ownership = await self.take(holder)
        for record in await self.ledger.open_intents():
            await self.drive(record, ownership)

    async def verdict(self) -> Counter[str]:
        """Play the script to its end, let everything land that can, then compare chain and ledger as the audit does."""
        while self.acts:
            self.acts.pop(0)()
        self.chain.make(1)
        for _ in range(160):
            self.chain.land_what_can()
        final = self.chain.finalized.height
        won: dict[str, list[str]] = {}
        for block in self.chain.blocks:
            if block.height <= final:
                for signature, failed in block.landed.items():
                    if not failed and not signature.startswith("filler"):
                        won.setdefault(signature.split("-")[0], []).append(signature)
        out: Counter[str] = Counter()
        for short in {s.split("-")[0] for s in self.chain.last_valid}:
            record = await self._record(short)
            signatures = won.get(short, [])
            done = record is not None and record.state is IntentState.DONE
            current = record.current.signature if record and record.current else ""
            if len(signatures) > 1:
                out["doubled"] += 1
            if signatures and (not done or current not in signatures):
                out["lost"] += 1
            if done and current not in signatures:
                out["phantom"] += 1
        return out

    async def _record(self, short: str) -> IntentRecord | None:
        full = short + short[0] * (32 - len(short))
        return await self.ledger.intent(full)


def an_order(letter: str = "a", **change: object) -> OrderIntent:
    """Return an entry of 0.01 SOL; `letter` makes its id."""
    own_id = letter * 32
    order = an_entry(
        id=own_id,
        mint=BONK,
        position_id=own_id,
        amount_in=SIZE,
        reserve_quote=SIZE,
        reserve_lamports=5_000,
        max_priority_fee_lamports=0,
        signal_at_ms=NOW_MS,
    )
    return replace(order, **change)  # type: ignore[arg-type]


def an_exit(letter: str, position: str) -> OrderIntent:
    """Return the sale of the whole position that the entry `position` opened."""
    return an_order(
        letter,
        side=Side.SELL,
        purpose=Purpose.EXIT,
        position_id=position * 32,
        amount_in=TOKENS,
        reserve_quote=0,
    )


async def open_stage(directory: Path, *, providers: tuple[str, ...] = ("a", "b")) -> Stage:
    """Return a stage over a new SQLite ledger in `directory`."""
    settings = LedgerSettings(sqlite_path=directory / "ledger.sqlite")
    ledger = open_ledger(settings, holder="stage", clock=ScriptedClock(lambda: None), paper=False)
    await ledger.open()
    await adopt(ledger)
    return Stage(ledger, providers=providers)


async def adopt(ledger: Ledger) -> None:
    """Write the bot's row, with one shard."""
    bot = a_bot(
        bot_id="0" * 32, name="default/mutant", wallet=WALLET, genesis_hash=GENESIS, cluster_id="here", shards=1
    )
    await ledger.adopt_bot(bot, risk=a_risk())


def crash_at(monkeypatch: pytest.MonkeyPatch, name: str, visit: int = 1) -> None:
    """Let the process die at the n-th visit of a named point of the trade path; afterwards the points are inert again."""
    assert name in crashpoint.POINTS
    left = visit

    def reached(point: str) -> None:
        nonlocal left
        if point == name:
            left -= 1
            if left == 0:
                raise Crash(name)

    monkeypatch.setattr(crashpoint, "reached", reached)
