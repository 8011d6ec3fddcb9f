"""What the quote currency is worth in US dollars, for thresholds that are stated in dollars."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import structlog

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.events import QuoteInUsd
from tradingbot_engine.domain.units import USDC_MINT, Mint, UnixMs
from tradingbot_engine.market.normalise import Malformed, usd_price
from tradingbot_engine.market.provider import ProviderUnavailable, get_json

POLL_S = 5.0
MAX_PAUSE_S = 60.0

_log = structlog.get_logger(__name__)


class UsdPoller:
    """Asks a price API in Jupiter's shape (`/price/v3`) again and again; a value that is not known is not told."""

    def __init__(
        self,
        *,
        base_url: str | None,
        quote_mint: Mint,
        clock: Clock,
        now_ms: Callable[[], UnixMs],
        api_key: str | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/") if base_url is not None else None
        self._quote_mint = quote_mint
        self._clock, self._now_ms = clock, now_ms
        self._headers = {"x-api-key": api_key} if api_key else None
        self.failures = 0

    async def run(self, session: aiohttp.ClientSession, emit: Callable[[QuoteInUsd], None]) -> None:
        """
        Tell the value every five seconds of wall time.

        Without an API, USDC counts as one dollar (thresholds in dollars are no finer than that), and SOL stays unknown.
        """
        if self._base_url is None:
            if self._quote_mint == USDC_MINT:
                emit(QuoteInUsd(self._now_ms(), 1.0))
            return
        faults = 0
        while True:
            try:
                document = await get_json(
                    session,
                    f"{self._base_url}/price/v3",
                    what="price",
                    params={"ids": self._quote_mint},
                    headers=self._headers,
                )
                emit(QuoteInUsd(self._now_ms(), usd_price(document, self._quote_mint)))
                faults = 0
            except (ProviderUnavailable, Malformed) as error:
                self.failures += 1
                faults += 1
                if faults == 1:
                    _log.warning("value in dollars not known", error=str(error))
            await self._clock.sleep(min(MAX_PAUSE_S, POLL_S * 2 ** min(faults, 4)) if faults else POLL_S)
