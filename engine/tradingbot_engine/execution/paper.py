"""
The paper executor: quotes are live, everything after them is modelled and marked as paper.

What an attempt will have done is decided when it is prepared, and travels in its wire bytes: so paper trades too survive
a restart, and no state is held here. The model: filled at the quote, whole, `paper_latency_ms` after signing (dated in
market time by its slot, as a block of a real trade is); base fee and the whole allowed priority fee are paid; no rent
(whether the token account exists is not known).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from solders.signature import Signature

from tradingbot_engine.clock import Clock
from tradingbot_engine.core.proof import Case, SignatureStatus, StatusAnswer
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, OrderIntent
from tradingbot_engine.domain.signals import Side
from tradingbot_engine.domain.units import SOL_MINT, Epoch, IntentId, Lamports, Mint, Slot, UnixMs
from tradingbot_engine.errors import LedgerCorrupt
from tradingbot_engine.execution.port import Balance, Creator, Quote, Reading
from tradingbot_engine.execution.quoting import Quoter
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.execution.wallet_change import LAMPORTS_PER_SIGNATURE
from tradingbot_engine.market.event_time import EventTime
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EngineSettings

PROVIDER = "paper"
MS_PER_SLOT = 400
VALID_SLOTS = 150


def paper_signature(intent_id: IntentId, attempt: int) -> str:
    """Return a signature that no key can have made: the same for the same attempt, in every process."""
    return str(Signature.from_bytes(hashlib.sha512(f"paper:{intent_id}:{attempt}".encode()).digest()))


class PaperExecutor:
    """Trades on paper. See `execution.port.Executor` for what each method promises and raises."""

    def __init__(
        self,
        *,
        swap: SwapApi,
        rpc: RpcPool,
        settings: EngineSettings,
        clock: Clock,
        decimals: Mapping[Mint, int] | None = None,
        fair_price: Callable[[Mint], float | None] | None = None,
    ) -> None:
        """For `decimals` and `fair_price` see `quoting.Quoter`: on paper the same quotes are refused."""
        self._rpc, self._clock = Rpc(rpc), clock
        self._execution = settings.execution
        self._time = EventTime(settings.market.event_time, clock=clock)
        self._quoter = Quoter(swap=swap, settings=settings, decimals=decimals, fair_price=fair_price)

    @property
    def paper(self) -> bool:
        return True

    async def genesis_hash(self) -> str:
        return await self._rpc.get_genesis_hash()

    async def quote(self, intent: OrderIntent) -> Quote:
        return await self._quoter.quote(intent)

    async def prepare(self, record: IntentRecord, quote: Quote, *, epoch: Epoch, now_ms: UnixMs) -> Attempt:
        intent, number = record.intent, record.attempt + 1
        slot = quote.context_slot or await self._rpc.get_slot()
        at_ms = now_ms + self._execution.paper_latency_ms
        landed_slot = slot + -(-self._execution.paper_latency_ms // MS_PER_SLOT)
        modelled = {
            "paper": True,
            "at_ms": at_ms,
            "block_time_ms": self._time.at_ms(landed_slot) if self._time.by_slot else at_ms,
            "slot": landed_slot,
            "in": quote.amount_in,
            "out": quote.amount_out,
            "priority_fee": min(intent.max_priority_fee_lamports, self._execution.priority_fee.max_lamports),
        }
        return Attempt(
            intent_id=intent.id,
            n=number,
            signature=paper_signature(intent.id, number),
            wire=orjson.dumps(modelled),
            blockhash="paper",
            blockhash_slot=slot,
            last_valid_block_height=slot + VALID_SLOTS,
            epoch=epoch,
            signed_at_ms=now_ms,
            quoted_out=quote.amount_out,
        )

    async def send(self, attempt: Attempt, *, first: bool) -> None:
        """Nothing leaves."""

    async def look(self, record: IntentRecord, case: Case) -> Reading:
        modelled = _modelled(record)
        landed = self._clock.now_ms() >= modelled["at_ms"]
        slot: Slot = modelled["slot"]
        return Reading(
            StatusAnswer(
                context_slot=slot if landed else case.blockhash_slot,
                status=SignatureStatus(slot, "finalized", failed=False) if landed else None,
                witness=None,
                witness_height=None,
                order=0,
                provider=PROVIDER,
                history=True,
            )
        )

    async def creator(self, record: IntentRecord) -> Creator | None:
        """Nothing is made on chain."""
        return None

    async def balance(self, mint: Mint, *, min_slot: Slot, finalized: bool) -> Balance | None:
        """What is held on paper is what the ledger says."""
        return None

    async def fill(self, record: IntentRecord, *, finalized: bool) -> Fill | None:
        modelled = _modelled(record)
        if self._clock.now_ms() < modelled["at_ms"]:
            return None
        intent, attempt = record.intent, record.current
        assert attempt is not None
        buying = intent.side is Side.BUY
        base, quote = (modelled["out"], -modelled["in"]) if buying else (-modelled["in"], modelled["out"])
        fee: Lamports = LAMPORTS_PER_SIGNATURE + modelled["priority_fee"]
        return Fill(
            intent_id=intent.id,
            attempt=attempt.n,
            signature=attempt.signature,
            slot=modelled["slot"],
            block_time_ms=modelled.get("block_time_ms", modelled["at_ms"]),  # absent in attempts of older versions
            side=intent.side,
            base_delta=base,
            quote_delta=quote,
            lamport_delta=(quote if self._quoter.quote_mint == SOL_MINT else 0) - fee,
            base_fee_lamports=LAMPORTS_PER_SIGNATURE,
            priority_fee_lamports=modelled["priority_fee"],
            tip_lamports=0,
            rent_lamports=0,
            finalized=finalized,
            paper=True,
        )


def _modelled(record: IntentRecord) -> dict[str, Any]:
    attempt = record.current
    assert attempt is not None, "only a signed intent can be looked for"
    try:
        modelled = orjson.loads(attempt.wire)
    except orjson.JSONDecodeError:
        modelled = None
    if not isinstance(modelled, dict) or modelled.get("paper") is not True:
        raise LedgerCorrupt(
            f"attempt {attempt.n} of {attempt.intent_id} is no paper trade, but the bot trades on paper"
        )
    return modelled
