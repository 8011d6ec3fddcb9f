"""What the health checks look at: one reading of an engine's vital signs, plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vitals:
    """
    One reading.

    Counts and times speak of the moment of the reading; None means that the sign does not apply (a paper bot has no wallet
    to pay fees from) or was not measured.
    """

    endpoints: int
    """Configured RPC endpoints."""
    endpoints_sound: int
    """Of those: answering, on our chain, not far behind."""
    endpoint_problems: tuple[str, ...]
    """"name: what is wrong", without secrets, for those that are not."""
    tokens: int
    tokens_stale: int
    """Tokens without a proof of life from the feed within `market.max_staleness_ms`."""
    feed_silent_ms: int
    """Wall time since the newest proof of life of any token, while all are stale; 0 otherwise."""
    ledger_away_ms: int
    """How long the ledger has not answered, by the monotonic clock; 0 if it does."""
    loop_lag_ms: float
    """How late the event loop woke in the worst of the latest seconds."""
    clock_step_ms: float
    """How far the wall clock moved against the monotonic one since the last reading: positive is forward."""
    queue_utilization: float
    """0 to 1, as the autoscaler sees it."""
    oldest_open_ms: int
    """Age of the oldest trade in flight, by the monotonic clock since this process follows it; 0 without any."""
    failed_trades: int
    """Of the newest `landed_trades` transactions, how many only paid their fee."""
    landed_trades: int
    fee_lamports: int | None
    """What the wallet holds for fees; None on paper."""
    fee_reserve_lamports: int
    switched_off: tuple[str, ...]
    """Protections that the settings switch off, by their setting's name."""
