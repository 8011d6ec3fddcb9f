"""How fills become qualities of execution."""

from tradingbot_engine.domain.intents import Fill
from tradingbot_engine.domain.signals import Side
from tradingbot_engine.ledger.port import FillRow
from tradingbot_engine.quality import quality_of, slippage_bps


def row(side: Side, *, base: int, quote: int, quoted_out: int) -> FillRow:
    fill = Fill("i" * 32, 1, "s", 10, 0, side, base, quote, quote - 5000, 5000, 0, 0, 0, finalized=True)
    return FillRow(fill, "m", "M", quoted_out, created_at_ms=1_000, signed_at_ms=1_250, purpose="ENTRY")


def test_slippage_is_measured_on_what_was_bought():
    """A BUY brings tokens, a SELL brings the quote currency; fewer than quoted is a loss."""
    assert slippage_bps(row(Side.BUY, base=990, quote=-100, quoted_out=1000)) == 100
    assert slippage_bps(row(Side.SELL, base=-1000, quote=1010, quoted_out=1000)) == -100


def test_a_trade_without_a_quote_has_no_slippage():
    """Recovered or paper trades may not know what was promised."""
    quality = quality_of(row(Side.BUY, base=10, quote=-5, quoted_out=0))
    assert (quality.failed, quality.slippage_bps, quality.latency_ms) == (False, None, 250)
    assert slippage_bps(row(Side.SELL, base=-10, quote=5, quoted_out=0)) is None
