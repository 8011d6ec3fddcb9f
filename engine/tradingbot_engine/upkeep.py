"""
What has to be done again and again beside the trade path: bars kept, positions marked, the wallet compared, effects told.

Each loop survives a ledger or a node that is away: it says so, waits, and goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable

import structlog

from tradingbot_engine import crashpoint
from tradingbot_engine.book import Book
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.risk.limits import RiskLimits
from tradingbot_engine.core.risk.tiers import apply_flow, assess
from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.money import SOL
from tradingbot_engine.domain.portfolio import Position, PositionState, RiskState
from tradingbot_engine.domain.units import IntentId, Lamports, Mint, QuoteUnits
from tradingbot_engine.errors import (
    FatalError,
    Fenced,
    LedgerUnavailable,
    PermanentError,
    TemporaryError,
)
from tradingbot_engine.ledger.port import Ledger, Ownership
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.market.wallet import WalletBalance

_log = structlog.get_logger(__name__)


async def repeat(
    name: str, every_s: float, work: Callable[[], Awaitable[None]], *, lifecycle: Lifecycle, clock: Clock
) -> None:
    """Call `work` every `every_s` seconds for ever; a temporary fault is told and tried again, with growing pauses."""
    faults = 0
    while True:
        try:
            await work()
            if faults:
                _log.info("works again", loop=name, after_faults=faults)
            faults = 0
        except LedgerUnavailable as error:
            faults += 1
            lifecycle.tell("LedgerUnavailable", str(error))
        except (TemporaryError, PermanentError) as error:
            # A refusal by one node, or by all of them now, must not end the loop for good.
            faults += 1
            (_log.warning if faults == 1 else _log.debug)("will try again", loop=name, error=str(error))
        except FatalError as error:
            lifecycle.tell(error.reason, str(error), fatal=True)
            return
        except Fenced as error:
            lifecycle.tell("NoShards", f"another process holds the shard: {error}", fatal=True)
            return
        await clock.sleep(min(every_s * 2 ** min(faults, 5), max(every_s, 10.0)))


class BarKeeper:
    """Closed bars on their way to the ledger, written together; lost ones are asked again from history."""

    def __init__(self, *, ledger: Ledger, max_waiting: int = 50_000) -> None:
        self._ledger, self._max_waiting = ledger, max_waiting
        self._waiting: list[tuple[Mint, Bar]] = []

    def keep(self, mint: Mint, bar: Bar) -> None:
        if len(self._waiting) < self._max_waiting:
            self._waiting.append((mint, bar))

    async def flush(self) -> None:
        """Write what waits; on a fault it goes on waiting."""
        batch = self._waiting[:2000]
        if batch:
            await self._ledger.save_bars(batch)
            del self._waiting[: len(batch)]


class Marker:
    """Marks the book to what it could be sold for now, and lets the tiers follow."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        book: Book,
        ownership: Callable[[], Ownership | None],
        sale_value: Callable[[Position], QuoteUnits | None],
        limits: Callable[[RiskState], RiskLimits],
        faults: Callable[[], Awaitable[tuple[str, ...]]],
        lifecycle: Lifecycle,
        clock: Clock,
    ) -> None:
        self._ledger, self._book, self._ownership = ledger, book, ownership
        self._sale_value, self._limits, self._faults = sale_value, limits, faults
        self._lifecycle, self._clock = lifecycle, clock
        self._last_value: dict[IntentId, QuoteUnits] = {}
        self._marked_at_ms = clock.now_ms()

    async def mark(self) -> None:
        """
        Write this shard's unrealized result, reassess the tier, and tell the core.

        A position whose price is not known counts with what it was last worth, or with its cost if that was never known (a
        restart must not look like a loss): the tiers go on for the rest of the book. The shard's mark is not renewed meanwhile, so that after
        `risk.marks_max_age_ms` entries stop with StaleEquity.
        """
        ownership = self._ownership()
        if ownership is None:
            return
        unrealized, unpriced = self._unrealized()
        now_ms = self._clock.now_ms()
        if unpriced is None:
            self._marked_at_ms = now_ms
            self._lifecycle.clear("StaleEquity")
        else:
            self._lifecycle.tell("StaleEquity", f"no price for the open position in {unpriced}")
        total = await self._ledger.mark(ownership=ownership, unrealized=unrealized, at_ms=self._marked_at_ms)
        faults = await self._faults()
        risk = await self._ledger.update_risk(
            lambda risk: assess(risk, unrealized=total, at_ms=now_ms, limits=self._limits(risk), faults=faults),
            ownership=ownership,
            actor="engine",
        )
        self._book.take_risk(risk)
        if risk.tier.value in ("HALT", "EMERGENCY"):
            self._lifecycle.tell("Halted", f"tier {risk.tier.value}: {risk.tier_reason}")
        else:
            self._lifecycle.clear("Halted")

    def _unrealized(self) -> tuple[QuoteUnits, Mint | None]:
        """Return what selling everything now would bring above its cost, and a mint that has no price, if any."""
        unrealized, unpriced = 0, None
        held = {p.id: p for p in self._book.positions.values() if p.state is PositionState.OPEN and p.held > 0}
        self._last_value = {i: v for i, v in self._last_value.items() if i in held}
        for position in held.values():
            value = self._sale_value(position)
            if value is None:
                unpriced = position.mint
                value = self._last_value.get(position.id, _cost_of_held(position))
            else:
                self._last_value[position.id] = value
            unrealized += value - _cost_of_held(position)
        return unrealized, unpriced


def _cost_of_held(position: Position) -> QuoteUnits:
    """Return the part of the cost that the still held tokens stand for."""
    return position.cost * position.held // position.bought if position.bought else 0


class WalletWatch:
    """Compares the wallet's finalized balance with the ledger's own; what others moved is no profit or loss."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        book: Book,
        read: Callable[[], Awaitable[WalletBalance]],
        capital_is_fixed: bool,
        fee_reserve: Callable[[], Lamports],
        lifecycle: Lifecycle,
    ) -> None:
        self._ledger, self._book, self._read, self._capital_is_fixed = ledger, book, read, capital_is_fixed
        self._fee_reserve, self._lifecycle = fee_reserve, lifecycle

    async def compare(self) -> None:
        seen = await self._read()
        if seen.lamports <= self._fee_reserve():
            self._lifecycle.tell(
                "WalletEmpty",
                f"{SOL.text(seen.lamports)} are left, {SOL.text(self._fee_reserve())} are kept for exits: fund the wallet",
            )
        else:
            self._lifecycle.clear("WalletEmpty")
        if seen.token_account:
            self._lifecycle.clear("TokenAccountGone")
        else:
            self._lifecycle.tell("TokenAccountGone", "the wallet has no account for the quote currency: fund it")
        flow = await self._ledger.observe_wallet(
            lamports=seen.lamports,
            quote=seen.quote,
            slot=seen.slot,
            on_flow=None if self._capital_is_fixed else apply_flow,
        )
        await self._book.refresh_bot()
        if flow:
            _log.info("money moved by others", quote_units=flow, slot=seen.slot)
            if not self._capital_is_fixed:
                self._book.take_risk(await self._ledger.risk())


class OutboxTeller:
    """Tells committed side effects to the log, at least once each; readers deduplicate by key."""

    def __init__(self, *, ledger: Ledger) -> None:
        self._ledger = ledger

    async def tell(self) -> None:
        rows = await self._ledger.outbox()
        for row in rows:
            _log.info("trade settled", key=row.key, kind=row.kind, **_payload(row.payload))
        crashpoint.reached("outbox:before")
        if rows:
            await self._ledger.outbox_done([row.id for row in rows])


def _payload(text: str) -> dict[str, object]:
    data = json.loads(text)
    return {f"trade_{k}": v for k, v in data.items()} if isinstance(data, dict) else {"trade": data}


async def watch_parent(pid: int, *, every_s: float = 0.25) -> None:
    """Return when the process that started this one is gone: an engine without its runner must not go on trading."""
    while os.getppid() == pid:
        await asyncio.sleep(every_s)
