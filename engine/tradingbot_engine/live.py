"""What may change without a restart: the pause, the latch, and risk numbers; kept in the ledger, so a crash forgets nothing."""

from __future__ import annotations

import orjson
from pydantic import ValidationError

from tradingbot_engine.api.server import LiveSettings
from tradingbot_engine.book import Book
from tradingbot_engine.errors import PermanentError
from tradingbot_engine.ledger.port import Ledger
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.settings import EngineSettings, RiskSettings, problems_of


class Live:
    """The live settings in force; the newest generation wins, wherever it came from."""

    def __init__(self, *, settings: EngineSettings, ledger: Ledger, book: Book, lifecycle: Lifecycle) -> None:
        self._settings, self._ledger, self._book, self._lifecycle = settings, ledger, book, lifecycle
        self.risk: RiskSettings = settings.risk

    async def load(self) -> None:
        """Offer the file's settings to the ledger, then use what the ledger holds."""
        bot = self._settings.bot
        await self.apply(LiveSettings(generation=bot.generation, paused=bot.paused, risk={}))
        text = await self._ledger.live_risk()
        self.risk = self._merged(orjson.loads(text)) if text else self._settings.risk
        self._tell()

    async def apply(self, live: LiveSettings) -> bool:
        """Keep and use `live` unless a newer generation is in force; raise PermanentError if its numbers are wrong."""
        risk = self._merged(live.risk)
        kept = await self._ledger.set_live(
            generation=live.generation, paused=live.paused, risk_json=orjson.dumps(live.risk).decode()
        )
        await self._book.refresh_bot()
        if kept:
            self.risk = risk
        self._tell()
        return kept

    async def latch(self, latched: bool) -> None:
        """Pause or resume by hand; only resume clears a pause by hand."""
        await self._ledger.set_latch(latched)
        await self._book.refresh_bot()
        self._tell()

    def _merged(self, changes: dict[str, object]) -> RiskSettings:
        try:
            return RiskSettings.model_validate(self._settings.risk.model_dump() | changes)
        except ValidationError as error:
            raise PermanentError("; ".join(problems_of(error))) from error

    def _tell(self) -> None:
        bot = self._book.bot
        if bot.paused or bot.latch:
            self._lifecycle.tell("Paused", "by the manifest" if bot.paused else "by hand; `resume` clears it")
        else:
            self._lifecycle.clear("Paused")
