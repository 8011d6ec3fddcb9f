"""
What to do next for an intent, from its record alone. Pure; recovery and normal work ask the same question.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tradingbot_engine.core.intents import LIVE, TERMINAL
from tradingbot_engine.core.proof import Case
from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import UnixMs

EXIT_MAX_AGE_MS = 60_000
"""An exit without an attempt alive is abandoned after this: the next event makes a new one, with more slippage and fee."""
EXIT_MAX_ATTEMPTS = 3
UNTRIED = "Untried"
"""
Begins the reason of an exit that was given up before anything of it was signed: no quote, no node, a drain.

The market was not asked, so it counts as no failure: the next one need not rest as after a fee that was paid for nothing.
"""


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """Quote, sign, journal."""


@dataclass(frozen=True, slots=True)
class Follow:
    """An attempt may be alive: resend its bytes, look, move by what the chain says."""


@dataclass(frozen=True, slots=True)
class Abandon:
    """No attempt is alive, and none will be made; `reason` is CamelCase."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is left to do."""


Step: TypeAlias = NewAttempt | Follow | Abandon | Finished


def next_step(
    record: IntentRecord,
    *,
    now_ms: UnixMs,
    entry_max_age_ms: int,
    entry_max_attempts: int,
    may_attempt: bool,
    held_until_ms: UnixMs = 0,
) -> Step:
    """
    Return what to do next.

    Args:
        record: As the ledger holds it.
        now_ms: Wall time.
        entry_max_age_ms: An entry whose decision is older gets no (further) attempt.
        entry_max_attempts: An entry gets at most so many.
        may_attempt: False while draining, or when trading must stop.
        held_until_ms: Until when no attempt could be made, whoever wanted one; an exit has not grown older meanwhile.
    """
    if record.state in TERMINAL:
        return Finished()
    if record.state in LIVE:
        return Follow()
    entry = record.intent.purpose is Purpose.ENTRY
    untried = "" if entry or record.attempts else f"{UNTRIED}: "
    if not may_attempt:
        return Abandon(f"{untried}Draining")
    if record.attempt >= (entry_max_attempts if entry else EXIT_MAX_ATTEMPTS):
        return Abandon("AttemptsExhausted")
    # An exit's age counts from its last change: while an attempt is alive it is not the exit that is slow. Nor is it while
    # no node or no ledger is there: given up for that, it would count as failed, and rest when it should be the first to go.
    changed_ms = max(record.intent.created_at_ms, record.updated_at_ms, held_until_ms)
    since_ms = record.intent.created_at_ms if entry else changed_ms
    if now_ms - since_ms > (entry_max_age_ms if entry else EXIT_MAX_AGE_MS):
        return Abandon(f"{untried}TooOld")
    return NewAttempt()


def resend_is_due(*, now_s: float, last_send_s: float | None, interval_s: float) -> bool:
    """Return whether the stored bytes should go out (again)."""
    return last_send_s is None or now_s - last_send_s >= interval_s


def case_of(
    record: IntentRecord, attempt: Attempt, *, genesis_hash: str, providers_needed: int = 1, guarded: bool = False
) -> Case:
    """Return what evidence about `attempt` is to be judged against."""
    return Case(
        blockhash_slot=attempt.blockhash_slot,
        last_valid_block_height=attempt.last_valid_block_height,
        genesis_hash=genesis_hash,
        providers_needed=providers_needed,
        confirmed_slot=record.confirmed_slot,
        blockhash=attempt.blockhash,
        guarded=guarded,
    )


def went_back(known: IntentRecord, now: IntentRecord) -> str | None:
    """
    Return what `known` held and `now`, read later, does not; None if nothing is missing.

    A ledger never undoes a commit, so something missing means another, older copy. Only what could lead to a second
    signature counts: a state that fell back with its attempts kept is merely found out again.
    """
    missing = {a.signature for a in known.attempts} - {a.signature for a in now.attempts}
    if missing:
        return f"attempt {', '.join(sorted(missing))}"
    if now.attempt < known.attempt:
        return f"attempt {known.attempt}"
    if now.state is IntentState.INTENT and known.state is not IntentState.INTENT:
        return f"state {known.state}"
    return None
