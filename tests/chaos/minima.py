"""
What a chaos run must have covered to count: a run that broke little proves little.

Counts are per trade where they grow with the run, so that a short run in CI and a long one are held to the same measure.
"""

from __future__ import annotations

from chaos.report import Report

from tradingbot_engine import crashpoint

PER_TRADE: dict[str, float] = {
    "kills": 1 / 60,
    "attempts_open_at_kill": 1 / 10,
    "forks": 1 / 60,
    "zombies_refused": 1 / 300,
    "forks_of_confirmed_trades": 1 / 250,
    "expired_then_retried": 1 / 50,
}
"""Least count per trade."""
AT_LEAST = {"kills": 3, "forks": 2, "attempts_open_at_kill": 5}
"""Least count however short the run was."""
LONG_RUN_TRADES = 5_000
"""From so many trades on, every crash point must have killed, and every kind of act must have happened."""
COMMON_POINTS = (
    "claim:after",
    "signed:before",
    "signed:after",
    "send:before",
    "send:after",
    "confirmed:after",
    "done:after",
)
COMMON_POINTS_FROM_TRADES = 2_000
LONG_RUN_COUNTS = (
    "runners_killed",
    "localnets_killed",
    "frozen_in_transaction",
    "forked_away",
    "failed_on_chain",
)


def wanted_points(trades: int) -> tuple[str, ...]:
    """Return the crash points at which an engine must have been killed in a run of so many trades."""
    if trades >= LONG_RUN_TRADES:
        return crashpoint.POINTS
    return COMMON_POINTS if trades >= COMMON_POINTS_FROM_TRADES else ()


def shortfalls(report: Report, *, wanted_trades: int, margin: float = 1.0) -> list[str]:
    """Return one line for each minimum that the run fell short of; `margin` asks for so many times as much per trade."""
    out = []
    if report.trades < wanted_trades:
        out.append(f"trades: {report.trades}, at least {wanted_trades} were asked for")
    for name, share in PER_TRADE.items():
        least = max(int(report.trades * share * margin), AT_LEAST.get(name, 0))
        if getattr(report, name) < least:
            out.append(f"{name}: {getattr(report, name)}, at least {least} for {report.trades} trades")
    if report.trades >= LONG_RUN_TRADES:
        out += [f"{name}: none in a long run" for name in LONG_RUN_COUNTS if not getattr(report, name)]
    out += [f"no engine was killed at {point}" for point in wanted_points(report.trades) if not report.kills_at[point]]
    return out


def faults_of(report: Report) -> list[str]:
    """Return one line for each broken promise: what the audit found, and what it left open."""
    out = [f"{name}: {count}" for name, count in report.verdict.items() if count]
    if report.written_under_old_epochs:
        out.append(f"written under an old epoch: {report.written_under_old_epochs}")
    if report.internal_errors:
        out.append(f"internal errors: {report.internal_errors}, see the engines' logs")
    if report.audit.get("open", 0):
        out.append(f"open: {report.audit['open']} trades did not come to an end without faults")
    return out
