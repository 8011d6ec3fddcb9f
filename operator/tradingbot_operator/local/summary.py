"""
The one line of JSON at the end of a run.

Counts and equity are of this run; what the chain must prove is of the bot's whole life, from the audit, never from the engine.
"""

from typing import Any

from tradingbot_operator.local.board import Board

FROM_AUDIT = ("open", "doubled", "lost", "phantom", "foreign")
PROVABLE = ("doubled", "lost", "phantom")
NO_PROOF = ("unprovable", "incomplete")
"""Verdicts of the audit whose zeros prove nothing."""


def summary(board: Board, audit: dict[str, Any] | None) -> dict[str, Any]:
    """
    Return the summary.

    `intents` were begun by this run; `filled`, `failed` and `abandoned` ended in it, whoever began them; `expired` are attempts
    that were proven never to land. Equity of a bot that trades in another currency than SOL stands in base units of that.

    Args:
        board: As it stood when the engine had stopped.
        audit: The audit's answer, or None where there was none (paper, or it could not be asked): its numbers are null,
            as are zeros that prove nothing because trades carry no mark or the history has holes.
    """
    counts = board.intents
    audited = {key: (audit or {}).get(key) for key in FROM_AUDIT}
    if (audit or {}).get("verdict") in NO_PROOF:
        audited |= {key: audited[key] or None for key in PROVABLE}
    if audit is None:
        audited["open"] = board.status.get("openIntents")
    return {
        "bot": board.bot,
        "seconds": round(board.seconds, 3),
        "signals": board.signals,
        "intents": board.intents_begun,
        "filled": counts.get("DONE", 0),
        "failed": counts.get("FAILED", 0),
        "expired": board.expired,
        "abandoned": counts.get("ABANDONED", 0),
        **audited,
        **_equity(board),
        "restarts": board.restarts,
        "p50_signal_to_send_ms": board.latency.get("p50SignalToSendMs"),
        "p99_signal_to_send_ms": board.latency.get("p99SignalToSendMs"),
    }


def proven_wrong(audit: dict[str, Any] | None) -> bool:
    """Return whether the audit found a trade doubled, lost or phantom."""
    return any(isinstance(n := (audit or {}).get(key), int) and n > 0 for key in ("doubled", "lost", "phantom"))


def _equity(board: Board) -> dict[str, Any]:
    """Return equity in lamports; for a bot that trades in another currency lamports are null, and that currency's follow."""
    if board.quote == "SOL":
        return {"equity_start_lamports": board.equity_start, "equity_end_lamports": board.equity_now}
    return {
        "equity_start_lamports": None,
        "equity_end_lamports": None,
        "quote": board.quote,
        "equity_start_quote_units": board.equity_start,
        "equity_end_quote_units": board.equity_now,
    }
