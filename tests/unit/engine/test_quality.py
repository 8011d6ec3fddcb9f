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


def test_a_fill_that_moved_nothing_is_a_failed_trade():
    """A failed transaction pays its fee and fills nothing; it has no slippage."""
    quality = quality_of(row(Side.BUY, base=0, quote=0, quoted_out=1000))
    assert (quality.failed, quality.slippage_bps, quality.latency_ms) == (True, None, 250)
    assert slippage_bps(row(Side.SELL, base=0, quote=0, quoted_out=1000)) is None
