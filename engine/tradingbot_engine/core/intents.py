"""
The life of an intent, as one table.

The ledger executes this table, the model check explores it, and `docs/` draws it. A pair that is missing cannot happen on
purpose: asking for it is a bug, and nothing is written.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from enum import StrEnum

from tradingbot_engine.domain.intents import IntentState as S


class IntentEvent(StrEnum):
    """What can happen to an intent; each is a fact that was established, never a guess."""

    SIGN = "SIGN"
    """A new attempt's signature, bytes and last valid height are being journalled; nothing of it has left yet."""
    SEND = "SEND"
    """Some node took the bytes: a hint only."""
    CONFIRM = "CONFIRM"
    """The attempt succeeded in a confirmed block; forks can still undo it."""
    FORK = "FORK"
    """A confirmed block was abandoned, and the attempt with it; its bytes are still valid."""
    FINALIZE = "FINALIZE"
    """The attempt succeeded in a finalized block."""
    FAIL = "FAIL"
    """The attempt landed with an error in a finalized block; the fee was paid."""
    EXPIRE = "EXPIRE"
    """Rule E proved that the attempt can never land."""
    ABANDON = "ABANDON"
    """No attempt is alive, and no further one will be made."""


E = IntentEvent

TABLE: dict[tuple[S, E], S] = {
    (S.INTENT, E.SIGN): S.SIGNED,
    (S.INTENT, E.ABANDON): S.ABANDONED,
    (S.SIGNED, E.SEND): S.SUBMITTED,
    (S.SIGNED, E.CONFIRM): S.CONFIRMED,
    (S.SIGNED, E.FINALIZE): S.DONE,
    (S.SIGNED, E.FAIL): S.FAILED,
    (S.SIGNED, E.EXPIRE): S.EXPIRED,
    (S.SUBMITTED, E.CONFIRM): S.CONFIRMED,
    (S.SUBMITTED, E.FINALIZE): S.DONE,
    (S.SUBMITTED, E.FAIL): S.FAILED,
    (S.SUBMITTED, E.EXPIRE): S.EXPIRED,
    (S.CONFIRMED, E.FINALIZE): S.DONE,
    (S.CONFIRMED, E.FAIL): S.FAILED,  # after a fork the same bytes may land again, this time with an error
    (S.CONFIRMED, E.FORK): S.SUBMITTED,  # never EXPIRED: the bytes may still land on the surviving fork
    (S.EXPIRED, E.SIGN): S.SIGNED,
    (S.EXPIRED, E.ABANDON): S.ABANDONED,
}
"""(state, event) → next state."""

TERMINAL = frozenset({S.DONE, S.FAILED, S.ABANDONED})
"""Nothing leaves these."""

OPEN = frozenset(S) - TERMINAL
"""States that hold a reserve and must be resolved at a take-over."""

LIVE = frozenset({S.SIGNED, S.SUBMITTED, S.CONFIRMED})
"""States in which an attempt may still land or has landed: no second attempt may exist beside it."""


def next_state(state: S, event: IntentEvent) -> S | None:
    """Return the state after `event`, or None if the table has no such row."""
    return TABLE.get((state, event))
