"""What the engine asks of a market feed, and what a feed says about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tradingbot_engine.domain.events import Bar, MarketEvent
from tradingbot_engine.domain.units import Address, BaseUnits, Bps, Mint, QuoteUnits, Slot, UnixMs


@dataclass(frozen=True, slots=True)
class TokenHealth:
    """
    One token as the feed sees it now; None where nothing is known yet.

    `price` is quote per token in whole units; reserves are those of the pool's vaults at `slot`; `stale_ms` counts wall
    time since the token's last proof of life while it is stale, and is 0 while it is not.
    """

    mint: Mint
    price: float | None = None
    slot: Slot | None = None
    at_ms: UnixMs | None = None
    base_reserve: BaseUnits | None = None
    quote_reserve: QuoteUnits | None = None
    pool: Address | None = None
    fee_bps: Bps | None = None
    stale: bool = True
    stale_ms: int = 0
    problem: str = ""
    """Why it is stale (CamelCase: reason), empty if it is not."""


@dataclass(frozen=True, slots=True)
class FeedHealth:
    """The feed as a whole; `stale` means that every token is."""

    event_time_ms: UnixMs
    slot: Slot
    stale: bool
    endpoint: str
    """Name of the provider that is listened to; empty while none is."""
    tokens: Mapping[Mint, TokenHealth]
    counts: Mapping[str, int] = field(default_factory=dict)
    """What went wrong so far, by kind: malformed, late, holes, forks, reconnects, repairs, unpriced."""


class Feed(Protocol):
    """A source of market events; `emit` is called from the event loop and must not block."""

    async def run(self, emit: Callable[[MarketEvent], None]) -> None:
        """
        Tell of the market until cancelled; nothing that a node or a provider says ends it.

        Event times do not go back per token, and no price is older than the last `ClockTick`.
        """

    def health(self) -> FeedHealth:
        """Return what is known now."""

    async def history(self, mint: Mint, *, since_ms: UnixMs) -> tuple[Bar, ...]:
        """
        Return closed bars from `since_ms` of event time until now, oldest first, as far as the provider has them.

        Raises:
            HistoryUnavailable: Not now (provider, pool not found yet); try again.
        """
