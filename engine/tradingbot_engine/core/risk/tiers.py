"""
Drawdown tiers: NORMAL, WARNING (sizes halved), HALT (nothing is opened), EMERGENCY (everything is closed).

A tier rises by itself, as far as the numbers say, whenever the book is marked. It falls only by the rule below or by a
person, never because a process restarted or a day ended: everything that the rule reads is in the persisted row, and
midnight moves nothing that it reads.

The rule: one tier at a time, after at least an hour in it, once the fall from the *peak* is small enough.
    HALT → WARNING      drawdown below the lower of the two warning thresholds (drawdown, daily loss)
    WARNING → NORMAL    drawdown below half of that
    EMERGENCY           only by a person (`reset_tier`)
After a tier was cleared, sizes come back in steps: half for the first hour, three quarters for the second, then whole.

All times here are wall time: they are about a real wallet, even where the market is played faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from tradingbot_engine.core.risk.limits import PPM_ONE, RiskLimits
from tradingbot_engine.domain.portfolio import RiskState, Tier
from tradingbot_engine.domain.units import QuoteUnits, UnixMs

HOUR_MS = 3_600_000
MIN_TIER_MS = HOUR_MS
"""How long a tier lasts at least."""
RECOVERY_STEPS_PPM = (500_000, 750_000)
"""Share of the full size in each hour after the return to NORMAL."""
WARNING_SIZE_PPM = 500_000
ORDER = (Tier.NORMAL, Tier.WARNING, Tier.HALT, Tier.EMERGENCY)


def assess(
    risk: RiskState, *, unrealized: QuoteUnits, at_ms: UnixMs, limits: RiskLimits, faults: Sequence[str] = ()
) -> RiskState:
    """
    Return the risk row after a mark of the whole book.

    Args:
        unrealized: What the open positions would gain if sold now, in quote base units; all shards' sum.
        at_ms: Wall time of the mark.
        faults: What is wrong with the execution's quality (`quality.faults_of`); any of them means at least WARNING.
    """
    equity = risk.capital + risk.realized + unrealized
    day = utc_day(at_ms)
    if day > risk.day:  # a clock that was set back does not start an old day again
        risk = replace(risk, day=day, day_start=risk.equity, fees_failed_today=0)
    risk = replace(risk, equity=equity, peak=max(risk.peak, equity), marked_at_ms=at_ms)

    tier, reason = _tier_of(risk, limits)
    if faults and tier is Tier.NORMAL:
        tier, reason = Tier.WARNING, f"execution quality: {'; '.join(faults)}"
    if ORDER.index(tier) > ORDER.index(risk.tier):
        return replace(risk, tier=tier, tier_since_ms=at_ms, tier_reason=reason)
    lower = _cleared_to(risk, at_ms=at_ms, limits=limits)
    if lower is not None and ORDER.index(lower) >= ORDER.index(tier):
        reason = f"recovered from {risk.tier.value}: {_percent(_fall_ppm(risk.peak, equity))} below the peak"
        return replace(risk, tier=lower, tier_since_ms=at_ms, tier_reason=reason)
    return risk


def size_ppm(risk: RiskState, *, at_ms: UnixMs) -> int:
    """Return the share of the full size that an entry may have now, in parts per million."""
    if risk.tier in (Tier.HALT, Tier.EMERGENCY):
        return 0
    if risk.tier is Tier.WARNING:
        return WARNING_SIZE_PPM
    if risk.tier_since_ms <= 0:
        return PPM_ONE  # no tier was ever cleared
    hours = max(0, at_ms - risk.tier_since_ms) // HOUR_MS
    return RECOVERY_STEPS_PPM[hours] if hours < len(RECOVERY_STEPS_PPM) else PPM_ONE


def apply_flow(risk: RiskState, amount: QuoteUnits) -> RiskState:
    """
    Return the risk row after others moved `amount` into (or, negative, out of) the wallet.

    Capital and equity move by the amount; peak and day start move by the same *factor* as equity, so that drawdown and
    daily loss stay what they were: shifted by the amount, a withdrawal would raise a tier and a deposit could hide a loss.
    Nothing here applies where the manifest fixes the capital.
    """
    before = risk.equity
    after = max(0, before + amount)
    capital = risk.capital + amount
    if before <= 0 or after <= 0:
        level = max(0, capital + risk.realized)
        return replace(risk, capital=max(0, capital), equity=after, equity_start=level, peak=level, day_start=level)
    return replace(
        risk,
        capital=max(0, capital),
        equity=after,
        equity_start=_scaled(risk.equity_start, after, before),
        peak=_scaled(risk.peak, after, before),
        day_start=_scaled(risk.day_start, after, before),
    )


def reset_tier(risk: RiskState, *, reason: str, at_ms: UnixMs) -> RiskState:
    """
    Return the risk row after a person cleared its tier: NORMAL, measured anew from today's equity, sizes in steps.

    Peak and day start come down to the equity, or the next mark would raise the same tier again.
    """
    level = max(0, risk.equity)
    return replace(
        risk,
        tier=Tier.NORMAL,
        tier_since_ms=at_ms,
        tier_reason=f"reset by hand from {risk.tier.value}: {reason}",
        peak=level,
        day_start=level,
    )


def strategy_drawdown(results: Sequence[QuoteUnits]) -> QuoteUnits:
    """Return how far a strategy's realized result lies below its own peak (at least 0), given its trades' results in order."""
    total = peak = 0
    for result in results:
        total += result
        peak = max(peak, total)
    return peak - total


def utc_day(at_ms: UnixMs) -> str:
    """Return the UTC date (ISO) of a wall time."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).date().isoformat()


def _tier_of(risk: RiskState, limits: RiskLimits) -> tuple[Tier, str]:
    """Return the tier that the numbers alone ask for, and why."""
    if risk.equity <= 0:
        return Tier.EMERGENCY, "nothing is left of the capital"
    fall, loss = _fall_ppm(risk.peak, risk.equity), _fall_ppm(risk.day_start, risk.equity)
    below = f"{_percent(fall)} below the peak"
    today = f"{_percent(loss)} lost since midnight UTC"
    if fall >= limits.drawdown_emergency_ppm:
        return Tier.EMERGENCY, f"{below}, limit {_percent(limits.drawdown_emergency_ppm)}"
    if fall >= limits.drawdown_halt_ppm:
        return Tier.HALT, f"{below}, limit {_percent(limits.drawdown_halt_ppm)}"
    if loss >= limits.daily_loss_halt_ppm:
        return Tier.HALT, f"{today}, limit {_percent(limits.daily_loss_halt_ppm)}"
    if fall >= limits.drawdown_warning_ppm:
        return Tier.WARNING, f"{below}, limit {_percent(limits.drawdown_warning_ppm)}"
    if loss >= limits.daily_loss_warning_ppm:
        return Tier.WARNING, f"{today}, limit {_percent(limits.daily_loss_warning_ppm)}"
    return Tier.NORMAL, ""


def _cleared_to(risk: RiskState, *, at_ms: UnixMs, limits: RiskLimits) -> Tier | None:
    """Return the next lower tier if the rule clears the present one now."""
    if at_ms - risk.tier_since_ms < MIN_TIER_MS:
        return None
    fall = _fall_ppm(risk.peak, risk.equity)
    warning = min(limits.drawdown_warning_ppm, limits.daily_loss_warning_ppm)
    if risk.tier is Tier.HALT and fall < warning:
        return Tier.WARNING
    if risk.tier is Tier.WARNING and fall * 2 < warning:
        return Tier.NORMAL
    return None


def _fall_ppm(top: QuoteUnits, now: QuoteUnits) -> int:
    """Return how far `now` lies below `top`, in parts per million of it."""
    return max(0, top - now) * PPM_ONE // top if top > 0 else 0


def _percent(ppm: int) -> str:
    return f"{ppm / 10_000:.2f} %"


def _scaled(value: int, numerator: int, denominator: int) -> int:
    """Return value × numerator / denominator, rounded up: a fall may look a unit deeper, never less deep."""
    return -(-value * numerator // denominator)
