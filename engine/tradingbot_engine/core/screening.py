"""The screen at work: a token's figures from what the core knows, judged at the close of each bar."""

from __future__ import annotations

from tradingbot_engine.core.screen import Screened, TokenFigures, screen
from tradingbot_engine.core.state import CoreState, TokenState
from tradingbot_engine.domain.effects import Effect, NoteRefusal
from tradingbot_engine.domain.events import BAR_MS
from tradingbot_engine.domain.units import UnixMs

DAY_MINUTES = 1440
SCREEN = "screen"
"""What stands in place of a strategy's name where the screen refuses."""


def screen_token(state: CoreState, token: TokenState, last_ms: UnixMs) -> list[Effect]:
    """Judge `token` at the close of the bar that starts at `last_ms`; say so when the verdict is another than before."""
    before, token.screened = token.screened, screen(figures_of(state, token, last_ms), state.screen)
    if token.screened is None or _same(before, token.screened):
        return []
    return [NoteRefusal(SCREEN, token.token.mint, token.screened.reason, token.screened.message)]


def figures_of(state: CoreState, token: TokenState, last_ms: UnixMs) -> TokenFigures:
    """
    Return what is known of `token` at the close of the bar that starts at `last_ms`.

    A day's volume is that of the bars we hold of it: what was missed is not guessed, so it is never too large.
    """
    close, reserve, facts = token.bars.close_at(last_ms), token.bars.reserve_at(last_ms), token.facts
    usd = state.quote_usd
    liquidity = 2 * reserve / state.quote_unit * usd if reserve and usd is not None else None
    volume = token.bars.volume_over(last_ms, DAY_MINUTES) / state.quote_unit * usd if usd is not None else None
    supply = facts.supply if facts is not None else None
    cap = close * supply * usd if close is not None and supply is not None and usd is not None else None
    seen_ms = facts.seen_ms if facts is not None else None
    oldest_bar_ms = token.bars.oldest_ms
    exact = facts is not None and facts.seen_is_birth
    if oldest_bar_ms is not None and (seen_ms is None or oldest_bar_ms < seen_ms):
        seen_ms, exact = oldest_bar_ms, False
    return TokenFigures(
        liquidity_usd=liquidity,
        volume_24h_usd=volume,
        market_cap_usd=cap,
        holder_concentration=facts.top_share if facts is not None else None,
        age_ms=max(0, last_ms + BAR_MS - seen_ms) if seen_ms is not None else None,
        age_is_exact=exact,
    )


def _same(before: Screened | None, now: Screened) -> bool:
    return before is not None and before.reason == now.reason
