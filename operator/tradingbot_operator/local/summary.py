"""The one line of JSON at the end of a run; numbers of the chain come from the audit, never from the engine."""

from typing import Any

from tradingbot_operator.local.board import Board

FROM_AUDIT = ("open", "doubled", "lost", "phantom", "foreign")
PROVABLE = ("doubled", "lost", "phantom")
NO_PROOF = ("unprovable", "incomplete")
"""Verdicts of the audit whose zeros prove nothing."""


def summary(board: Board, audit: dict[str, Any] | None) -> dict[str, Any]:
    """
    Return the summary.

    Args:
        board: As it stood when the engine had stopped.
        audit: The audit's answer, or None where there was none (paper, or it could not be asked): its numbers are null,
            as are zeros that prove nothing because trades carry no mark or the history has holes.
    """
    intents = _map(board.status.get("intents"))
    equity = _map(board.status.get("equity"))
    counts = {str(k): v for k, v in intents.items() if isinstance(v, int)}
    audited = {key: (audit or {}).get(key) for key in FROM_AUDIT}
    if (audit or {}).get("verdict") in NO_PROOF:
        audited |= {key: audited[key] or None for key in PROVABLE}
    if audit is None:
        audited["open"] = board.status.get("openIntents")
    return {
        "bot": board.bot,
        "seconds": round(board.seconds, 3),
        "signals": board.signals,
        "intents": sum(counts.values()),
        "filled": counts.get("DONE", 0),
        "failed": counts.get("FAILED", 0),
        "expired": counts.get("EXPIRED", 0),
        "abandoned": counts.get("ABANDONED", 0),
        **audited,
        "equity_start_lamports": equity.get("start"),
        "equity_end_lamports": equity.get("now"),
        "restarts": board.restarts,
        "p50_signal_to_send_ms": board.latency.get("p50SignalToSendMs"),
        "p99_signal_to_send_ms": board.latency.get("p99SignalToSendMs"),
    }


def proven_wrong(audit: dict[str, Any] | None) -> bool:
    """Return whether the audit found a trade doubled, lost or phantom."""
    return any(isinstance(n := (audit or {}).get(key), int) and n > 0 for key in ("doubled", "lost", "phantom"))


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
