"""The clock of localnet's market, asked where it is told: no settings file can know it before the chain is born."""

from __future__ import annotations

import aiohttp
from pydantic import ValidationError

from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.settings import EngineSettings, EventTimeSettings

TIMEOUT_S = 5.0


class ClockUntold(TemporaryError):
    """Localnet does not tell its market's clock now."""


async def with_told_clock(settings: EngineSettings) -> EngineSettings:
    """
    Return the settings with `market.event_time` filled in from `market.clock_url`, if that is how it is to be learned.

    Raises:
        ClockUntold: Nobody answers there, or with something else.
    """
    market = settings.market
    if market.clock_url is None or market.event_time is not None:
        return settings
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(market.clock_url) as answer:
            told = (await answer.json(content_type=None))["market_clock"]
        event_time = EventTimeSettings.model_validate(told)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as error:
        what = "no clock" if isinstance(error, ValidationError | KeyError | TypeError) else type(error).__name__
        raise ClockUntold(f"localnet does not tell its market's clock (market.clock_url): {what}") from None
    return settings.model_copy(update={"market": market.model_copy(update={"event_time": event_time})})
