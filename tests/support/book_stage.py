"""A book of pools that a test tells things, with one pool in it."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from typing import Any

from solders.pubkey import Pubkey

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.events import MarketEvent, PriceTick
from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.market.book import SLOTS, PoolBook
from tradingbot_engine.market.discovery import Pool
from tradingbot_engine.market.event_time import EventTime
from tradingbot_engine.market.layouts import TOKEN_PROGRAM_ID
from tradingbot_engine.market.repairs import Repair
from tradingbot_engine.rpc.websocket import Acknowledged, Connected, Message, Notification
from tradingbot_engine.settings import EventTimeSettings

MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
BASE_VAULT, QUOTE_VAULT, ADDRESS = (str(Pubkey([n] * 32)) for n in (7, 8, 9))
POOL = Pool(MINT, SOL_MINT, ADDRESS, BASE_VAULT, QUOTE_VAULT, 25, 10.0 ** (5 - 9))
ORIGIN_MS = 1_700_000_040_000  # a full minute
TIME = EventTimeSettings(origin_slot=100, origin_ms=ORIGIN_MS, ms_per_slot=10_000)


def token_account(mint: str, amount: int) -> dict[str, Any]:
    data = bytes(Pubkey.from_string(mint)) + bytes(32) + struct.pack("<Q", amount) + bytes(36) + b"\1" + bytes(56)
    return {
        "owner": str(TOKEN_PROGRAM_ID),
        "lamports": 1,
        "data": [base64.b64encode(data).decode(), "base64"],
        "executable": False,
        "rentEpoch": 0,
    }


def write(vault: str, slot: int, amount: int) -> Notification:
    mint = MINT if vault == "BASE" else SOL_MINT
    return Notification(f"{MINT}/{vault}", {"context": {"slot": slot}, "value": token_account(mint, amount)})


def slot(number: int, parent: int | None = None) -> Notification:
    return Notification(SLOTS, {"slot": number, "parent": number - 1 if parent is None else parent, "root": 0})


class BookStage:
    """A book with one pool, told things at a steady wall time."""

    def __init__(self, *, by_slot: bool = True, commitment: str = "confirmed") -> None:
        self.clock = ManualClock()
        self.book = PoolBook(
            [MINT],
            time=EventTime(TIME if by_slot else None, clock=self.clock),
            commitment=commitment,
            max_staleness_ms=500,
            now_s=0.0,
        )
        self.now_s = 1.0
        self.subscriptions = self.book.add(POOL)

    def tell(self, *messages: Message) -> list[MarketEvent]:
        return [event for message in messages for event in self.book.take(message, self.now_s)]

    def connect(self, first_slot: int) -> list[MarketEvent]:
        acknowledged = [Acknowledged(s.key) for s in self.subscriptions]
        return self.tell(Connected("one"), Acknowledged(SLOTS), *acknowledged, slot(first_slot))

    def read(self, at_slot: int, base: int, quote: int) -> tuple[Repair, list[MarketEvent]]:
        repair = self.book.next_repair(10)
        assert repair is not None
        return repair, self.book.repaired(repair, MINT, at_slot, base, quote)

    def sound(self, at_slot: int = 100, base: int = 1_000_000, quote: int = 50_000_000) -> BookStage:
        self.connect(at_slot + 1)
        self.read(at_slot, base, quote)
        assert not self.book.health(self.now_s).stale
        return self


def prices(events: Iterable[MarketEvent]) -> list[tuple[int, float, int]]:
    return [(e.slot, e.price, e.volume) for e in events if isinstance(e, PriceTick)]
