"""What a bot's status means in words: a table for many, one sentence with its evidence for one. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tradingbot_operator.kube.gateway import Object
from tradingbot_operator.status.reasons import BY_KEY

HEADINGS = ("NAME", "MODE", "PHASE", "READY", "TRADING", "IN-FLIGHT", "POSITIONS", "TIER", "LAST TRADE", "AGE")


def table(bots: Sequence[Object], *, now: datetime, namespaces: bool) -> str:
    """
    Return one line per bot under headings.

    Args:
        bots: As the API server holds them.
        now: With a time zone.
        namespaces: Whether to name each bot's namespace.
    """
    rows = [("NAMESPACE", *HEADINGS), *((str(bot["metadata"].get("namespace", "")), *_row(bot, now)) for bot in bots)]
    shown = rows if namespaces else [row[1:] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    return "\n".join(lines)


def _row(bot: Object, now: datetime) -> tuple[str, ...]:
    status = _status(bot)
    trading = _condition(bot, "Trading")
    said = "yes" if trading.get("status") == "True" else str(trading.get("reason") or "?")
    ready = f"{_number(status.get('readyReplicas'), '0')}/{_number(status.get('replicas'), '0')}"
    return (
        str(bot["metadata"]["name"]),
        str((bot.get("spec") or {}).get("mode", "Paper")),
        str(status.get("phase") or "?"),
        ready,
        said,
        _number(status.get("inFlightTrades")),
        _number(status.get("openPositions")),
        str(status.get("drawdownTier") or "-"),
        _ago(status.get("lastTradeTime"), now),
        _ago(bot["metadata"].get("creationTimestamp"), now, word=""),
    )


def why(bot: Object, *, now: datetime) -> str:
    """Return in one sentence, with its evidence, why a bot does not trade, or that it does; then what to do, if anything."""
    return " ".join(part for part in _why(bot, now) if part)


def _why(bot: Object, now: datetime) -> Iterable[str]:
    meta, status = bot["metadata"], _status(bot)
    who = f"{meta.get('namespace', 'default')}/{meta['name']}"
    observed, generation = status.get("observedGeneration"), meta.get("generation")
    trading, degraded, ready = (_condition(bot, kind) for kind in ("Trading", "Degraded", "Ready"))
    trades = trading.get("status") == "True"
    if meta.get("deletionTimestamp"):
        yield f"{who} does not trade since it is being deleted{_evidence('Drained', _condition(bot, 'Drained'), now)}"
        return
    if not isinstance(observed, int):
        yield f"{who} does not trade since no operator has looked at it."
        yield "Is the operator running, and does it look after this namespace?"
        return
    if isinstance(generation, int) and observed < generation:
        yield f"The operator has not seen the newest spec yet (generation {generation}, seen {observed}); before that:"
    if trades and degraded.get("status") != "True":
        yield f"{who} trades: {_activity(status, now)}."
    elif degraded.get("status") == "True":
        verb = "trades, and is degraded" if trades else "does not trade since it is degraded"
        yield f"{who} {verb}{_evidence('Degraded', degraded, now)}"
    elif trading.get("status") == "False":
        yield f"{who} does not trade{_evidence('Trading', trading, now)}"
    elif ready.get("status") != "True":
        yield f"{who} does not trade since it is not ready{_evidence('Ready', ready, now)}"
    else:
        yield f"Nobody knows whether {who} trades{_evidence('Trading', trading, now)}"


def _evidence(kind: str, condition: Mapping[str, Any], now: datetime) -> str:
    reason = str(condition.get("reason") or "")
    if not reason:
        return f": it has no condition {kind} yet."
    known = BY_KEY.get((kind, reason))
    message = str(condition.get("message") or (known.meaning if known else "")).strip().rstrip(".")
    since = _ago(condition.get("lastTransitionTime"), now, word="")
    words = f": {reason}{f', {message}' if message else ''}{f' (for {since})' if since != '-' else ''}."
    return f"{words} {known.todo}" if known and known.todo else words


def _activity(status: Mapping[str, Any], now: datetime) -> str:
    last = _ago(status.get("lastTradeTime"), now)
    parts = [f"last trade {last}" if last != "-" else "no trade yet"]
    parts += [
        f"{_number(status.get('inFlightTrades'), '0')} in flight",
        f"{_number(status.get('openPositions'), '0')} positions",
    ]
    return ", ".join(parts)


def _status(bot: Object) -> Mapping[str, Any]:
    found = bot.get("status")
    return found if isinstance(found, Mapping) else {}


def _condition(bot: Object, kind: str) -> Mapping[str, Any]:
    found = _status(bot).get("conditions") or ()
    return next((c for c in found if isinstance(c, Mapping) and c.get("type") == kind), {})


def _number(value: Any, absent: str = "-") -> str:
    return str(value) if isinstance(value, int) else absent


def _ago(stamp: Any, now: datetime, *, word: str = " ago") -> str:
    """Return how long ago a time was, such as `3m ago`; "-" if there is none."""
    try:
        seconds = (now - datetime.fromisoformat(str(stamp))).total_seconds()
    except (ValueError, TypeError):
        return "-"
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}{word}"
    return f"{max(0, int(seconds))}s{word}"
