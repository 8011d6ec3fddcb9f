"""
What is wrong, from one reading of the vital signs. Pure.

DEGRADED: it trades, but worse than it should, or with less in reserve. UNHEALTHY: it cannot trade, or somebody must come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from tradingbot_engine.health.vitals import Vitals


class Health(IntEnum):
    """Larger is worse."""

    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2

    @property
    def word(self) -> str:
        """As status and metrics write it."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: how bad, and a sentence for whoever is on call, with what to do."""

    check: str
    health: Health
    message: str


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """Where a sign begins to be bad: (degraded, unhealthy) where there are two."""

    ledger_away_ms: tuple[int, int] = (500, 3_000)
    loop_lag_ms: tuple[float, float] = (250.0, 2_000.0)
    clock_step_ms: tuple[float, float] = (1_000.0, 60_000.0)
    queue_utilization: tuple[float, float] = (0.8, 0.95)
    feed_silent_ms: int = 10_000
    """A feed without any proof of life for this long makes the bot unhealthy, not only degraded."""
    oldest_open_ms: int = 150_000
    """Blockhash life and finality are over after about 75 s: a trade that is older lacks a proof."""
    failed_share: float = 0.2
    failed_least: int = 10
    """So many landed transactions say something about the share of failed ones."""


Check = Callable[[Vitals, HealthLimits], Finding | None]


def examine(vitals: Vitals, limits: HealthLimits = HealthLimits()) -> tuple[Finding, ...]:
    """Return one finding per check that is not content, in the order of `CHECKS`."""
    return tuple(found for check in CHECKS.values() if (found := check(vitals, limits)) is not None)


def _endpoints(v: Vitals, _: HealthLimits) -> Finding | None:
    if v.endpoints_sound == v.endpoints:
        return None
    bad = "; ".join(v.endpoint_problems) or "they have not answered yet"
    if v.endpoints_sound == 0:
        return Finding(
            "endpoints", Health.UNHEALTHY, f"no RPC endpoint of {v.endpoints} is sound, nothing can be sent: {bad}"
        )
    return Finding("endpoints", Health.DEGRADED, f"{v.endpoints_sound} of {v.endpoints} RPC endpoints are sound: {bad}")


def _feed(v: Vitals, limits: HealthLimits) -> Finding | None:
    if not v.tokens_stale:
        return None
    if v.tokens_stale < v.tokens:
        return Finding(
            "feed", Health.DEGRADED, f"{v.tokens_stale} of {v.tokens} tokens have no fresh price: no entry there"
        )
    health = Health.UNHEALTHY if v.feed_silent_ms >= limits.feed_silent_ms else Health.DEGRADED
    return Finding(
        "feed", health, f"the market feed gave no sign of life for {v.feed_silent_ms / 1000:.1f} s: no entry anywhere"
    )


def _ledger(v: Vitals, limits: HealthLimits) -> Finding | None:
    return _graded(
        "ledger", v.ledger_away_ms, limits.ledger_away_ms,
        f"the ledger has not answered for {v.ledger_away_ms / 1000:.1f} s: trading waits, nothing is sent without it",
    )  # fmt: skip


def _loop(v: Vitals, limits: HealthLimits) -> Finding | None:
    return _graded(
        "loop", v.loop_lag_ms, limits.loop_lag_ms,
        f"the engine woke {v.loop_lag_ms:.0f} ms late: it lacks CPU, or something blocks it",
    )  # fmt: skip


def _clock(v: Vitals, limits: HealthLimits) -> Finding | None:
    way = "forward" if v.clock_step_ms > 0 else "back"
    return _graded(
        "clock", abs(v.clock_step_ms), limits.clock_step_ms,
        f"the wall clock jumped {abs(v.clock_step_ms) / 1000:.1f} s {way}: see to the machine's time service",
    )  # fmt: skip


def _queue(v: Vitals, limits: HealthLimits) -> Finding | None:
    return _graded(
        "queue", v.queue_utilization, limits.queue_utilization,
        f"the signal queue is used to {v.queue_utilization:.0%}: less urgent signals are refused; add replicas",
    )  # fmt: skip


def _trades(v: Vitals, limits: HealthLimits) -> Finding | None:
    if v.oldest_open_ms < limits.oldest_open_ms:
        return None
    return Finding(
        "trades",
        Health.DEGRADED,
        f"a trade is open for {v.oldest_open_ms / 1000:.0f} s: no proof yet that it landed or never can; "
        "see the endpoints, and execution.expiry_proof",
    )


def _landing(v: Vitals, limits: HealthLimits) -> Finding | None:
    if v.landed_trades < limits.failed_least or v.failed_trades < limits.failed_share * v.landed_trades:
        return None
    return Finding(
        "landing",
        Health.DEGRADED,
        f"{v.failed_trades} of the last {v.landed_trades} transactions failed on chain and only paid their fee",
    )


def _fees(v: Vitals, _: HealthLimits) -> Finding | None:
    if v.fee_lamports is None or v.fee_lamports >= v.fee_reserve_lamports:
        return None
    health = Health.UNHEALTHY if v.fee_lamports < v.fee_reserve_lamports // 10 else Health.DEGRADED
    return Finding(
        "fees",
        health,
        f"the wallet holds {v.fee_lamports / 1e9:.4f} SOL, below the fee reserve of {v.fee_reserve_lamports / 1e9:.4f} SOL: "
        "no entries; fund it",
    )


def _protections(v: Vitals, _: HealthLimits) -> Finding | None:
    if not v.switched_off:
        return None
    return Finding("protections", Health.DEGRADED, f"switched off by the settings: {', '.join(v.switched_off)}")


def _graded(check: str, value: float, limits: tuple[float, float], message: str) -> Finding | None:
    degraded, unhealthy = limits
    if value < degraded:
        return None
    return Finding(check, Health.UNHEALTHY if value >= unhealthy else Health.DEGRADED, message)


CHECKS: dict[str, Check] = {
    "endpoints": _endpoints,
    "ledger": _ledger,
    "feed": _feed,
    "trades": _trades,
    "landing": _landing,
    "fees": _fees,
    "queue": _queue,
    "loop": _loop,
    "clock": _clock,
    "protections": _protections,
}
"""Every check by its name, which is also its label in metrics."""


def worst(findings: Iterator[Finding] | tuple[Finding, ...]) -> Health:
    """Return the worst health among findings; HEALTHY without any."""
    return max((f.health for f in findings), default=Health.HEALTHY)
