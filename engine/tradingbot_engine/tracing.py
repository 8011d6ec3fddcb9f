"""
Which trade and which request the current work is about: read by logs, error texts and metrics' exemplars.

A trade's id is its intent's id, so one word leads from a log line to the ledger and to the mark on chain. Ids live in
context variables: a task inherits its maker's, and a change of its own is not seen by others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SHOWN_CHARS = 12
"""So much of a trade's id stands in texts for people; log lines carry all of it."""

TRADE: ContextVar[str | None] = ContextVar("trade", default=None)
REQUEST: ContextVar[str | None] = ContextVar("request", default=None)


@contextmanager
def trade(intent_id: str) -> Iterator[None]:
    """Everything inside is about this trade."""
    token = TRADE.set(intent_id)
    try:
        yield
    finally:
        TRADE.reset(token)


@contextmanager
def request(request_id: str) -> Iterator[None]:
    """Everything inside is about this request (`request_id.request_name`)."""
    token = REQUEST.set(request_id)
    try:
        yield
    finally:
        REQUEST.reset(token)


def trace() -> dict[str, str]:
    """Return the ids of the current work: trade, request, both or neither."""
    found = {"trade": TRADE.get(), "request": REQUEST.get()}
    return {name: value for name, value in found.items() if value is not None}


def trace_text() -> str:
    """Return the ids as an error's text ends with them, for example `[trade 1f9c2b7e4d10, request r-9f31c2-17]`, or ""."""
    parts = []
    if (intent_id := TRADE.get()) is not None:
        parts.append(f"trade {intent_id[:SHOWN_CHARS]}")
    if (request_id := REQUEST.get()) is not None:
        parts.append(f"request {request_id}")
    return f"[{', '.join(parts)}]" if parts else ""


def exemplar() -> dict[str, str] | None:
    """Return what a metric's exemplar carries, or None outside of trades and requests."""
    if (intent_id := TRADE.get()) is not None:
        return {"trade_id": intent_id}
    if (request_id := REQUEST.get()) is not None:
        return {"request_id": request_id}
    return None
