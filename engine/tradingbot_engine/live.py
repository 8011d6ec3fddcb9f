"""What may change without a restart: the pause, the latch, closing out, and risk numbers; kept in the ledger, so a crash forgets nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError

from tradingbot_engine.api.server import LiveSettings
from tradingbot_engine.book import Book
from tradingbot_engine.ledger.port import BotRecord, Ledger
from tradingbot_engine.lifecycle import CLOSING_OUT, Lifecycle
from tradingbot_engine.settings import EngineSettings, RiskSettings, SettingsInvalid, problems_of
from tradingbot_engine.settings.rules import View, broken_rules


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
        """Keep and use `live` unless a newer generation is in force; raise SettingsInvalid if its numbers are wrong."""
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

    async def close_out(self, by: str) -> BotRecord:
        """Sell everything and open nothing any more, from the wish's commit on; only `reopen` ends it."""
        await self._ledger.close_out(by=by)
        await self._book.refresh_bot()
        self._tell()
        return self._book.bot

    async def reopen(self) -> None:
        """Let the bot trade again."""
        await self._ledger.reopen()
        await self._book.refresh_bot()
        self._tell()

    def _merged(self, changes: Mapping[str, Any]) -> RiskSettings:
        """Return the file's risk with `changes` laid over it, name by name: what is not mentioned stays as the file says."""
        try:
            risk = RiskSettings.model_validate(_laid_over(self._settings.risk.model_dump(), changes))
        except ValidationError as error:
            raise SettingsInvalid("\n".join(problems_of(error, under="risk"))) from None
        if broken := list(broken_rules(View({"risk": risk}))):
            raise SettingsInvalid("\n".join(broken))
        return risk

    def _tell(self) -> None:
        bot = self._book.bot
        if bot.paused or bot.latch:
            self._lifecycle.tell("Paused", "by the manifest" if bot.paused else "by hand; `resume` clears it")
        else:
            self._lifecycle.clear("Paused")
        if not bot.closing_since_ms:
            self._lifecycle.clear(CLOSING_OUT)
        elif not self._lifecycle.has(CLOSING_OUT):
            self._lifecycle.tell(CLOSING_OUT, f"closing out for {bot.closing_by}")  # how far it is: `ClosingOut`


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for name, value in above.items():
        group = out.get(name)
        out[name] = _laid_over(group, value) if isinstance(group, dict) and isinstance(value, dict) else value
    return out
