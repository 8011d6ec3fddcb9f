"""Is execution still as good as the strategies assume? Latency, slippage, errors, and the pool's depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from tradingbot_engine.domain.units import QuoteUnits

MIN_TRADES = 5
"""Fewer recent trades say nothing about latency and slippage."""
MIN_TRADES_FOR_ERRORS = 20
"""Fewer recent trades cannot show an error rate of 5 %."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """From these values on quality is a fault."""

    latency_ms: float = 1_000
    slippage_bps: float = 100
    error_rate: float = 0.05
    liquidity_ratio: float = 0.5
    """Liquidity below this share of what it was at entry."""


@dataclass(frozen=True, slots=True)
class TradeQuality:
    """
    How one trade went, newest last in a list.

    `latency_ms` is wall time from signal to first byte sent, which is ours to answer for; `slippage_bps` is what the fill
    was worse than the quote (negative: better), None if nothing was filled; `failed` means landed with an error.
    """

    latency_ms: float | None
    slippage_bps: float | None
    failed: bool


def faults_of(
    trades: Sequence[TradeQuality],
    liquidity: Mapping[str, tuple[QuoteUnits, QuoteUnits]],
    limits: QualityLimits = QualityLimits(),
) -> tuple[str, ...]:
    """
    Return what is wrong, in words; empty if nothing is.

    Args:
        trades: Recent ones (20 to 100 are useful).
        liquidity: Per token with an open position: (quote reserve at entry, now).
    """
    found = []
    latencies = [t.latency_ms for t in trades if t.latency_ms is not None]
    if len(latencies) >= MIN_TRADES and median(latencies) >= limits.latency_ms:
        found.append(f"median latency {median(latencies):.0f} ms, limit {limits.latency_ms:.0f} ms")
    slippages = [t.slippage_bps for t in trades if t.slippage_bps is not None]
    if len(slippages) >= MIN_TRADES and fmean(slippages) >= limits.slippage_bps:
        found.append(f"mean slippage {fmean(slippages):.0f} bps, limit {limits.slippage_bps:.0f} bps")
    if len(trades) >= MIN_TRADES_FOR_ERRORS:
        rate = sum(t.failed for t in trades) / len(trades)
        if rate >= limits.error_rate:
            found.append(
                f"{rate * 100:.1f} % of the last {len(trades)} trades failed, limit {limits.error_rate * 100:g} %"
            )
    for name, (at_entry, now) in liquidity.items():
        if at_entry > 0 and now < limits.liquidity_ratio * at_entry:
            found.append(f"liquidity of {name} fell to {now / at_entry * 100:.0f} % of what it was at entry")
    return tuple(found)
