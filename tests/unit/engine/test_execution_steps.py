"""What to do next, from the record alone."""

from typing import Any

import pytest
from execution_cases import intent, record
from hypothesis import given
from hypothesis import strategies as st

from tradingbot_engine.core.intents import LIVE, TERMINAL
from tradingbot_engine.core.steps import Abandon, Finished, Follow, NewAttempt, Step, next_step
from tradingbot_engine.domain.intents import IntentRecord, IntentState
from tradingbot_engine.domain.signals import Purpose

BORN = 1_700_000_000_000


def after(seconds: float, r: IntentRecord, *, may_attempt: bool = True, held_until: float = 0.0) -> Step:
    return next_step(
        r,
        now_ms=BORN + round(seconds * 1000),
        entry_max_age_ms=30_000,
        entry_max_attempts=2,
        may_attempt=may_attempt,
        held_until_ms=BORN + round(held_until * 1000),
    )


@pytest.mark.parametrize("state", sorted(LIVE))
@pytest.mark.parametrize("may_attempt", [True, False])
@pytest.mark.parametrize("seconds", [0, 10**6])
def test_an_attempt_that_may_be_alive_is_followed_whatever_happens(
    state: IntentState, may_attempt: bool, seconds: int
) -> None:
    """Neither age nor a drain may end what may still land."""
    assert Follow() == after(seconds, record(state, 1), may_attempt=may_attempt)


@given(state=st.sampled_from(sorted(TERMINAL)), n=st.integers(0, 3), age=st.integers(0, 10**7), may=st.booleans())
def test_terminal_is_terminal(state: IntentState, n: int, age: int, may: bool) -> None:
    """Nothing leaves a terminal state."""
    assert Finished() == after(age, record(state, n), may_attempt=may)


def test_a_fresh_entry_is_attempted_and_an_old_one_is_not() -> None:
    """A signal older than 30 s is not what the strategy meant any more."""
    assert NewAttempt() == after(30, record())
    assert Abandon("TooOld") == after(30.001, record())


def test_an_expired_entry_gets_a_second_attempt_while_fresh_and_never_a_third() -> None:
    """Entries: at most two attempts."""
    assert NewAttempt() == after(20, record(IntentState.EXPIRED, 1))
    assert Abandon("TooOld") == after(40, record(IntentState.EXPIRED, 1))
    assert Abandon("AttemptsExhausted") == after(1, record(IntentState.EXPIRED, 2))


def test_a_drain_makes_no_new_attempt() -> None:
    """Nothing is alive, so giving up loses nothing; the strategy will wish again."""
    for r in (record(), record(IntentState.EXPIRED, 1)):
        assert Abandon("Draining") == after(0, r, may_attempt=False)


def test_an_exit_of_which_nothing_was_signed_is_given_up_as_untried() -> None:
    """The ledger counts it as no failure; once something was signed, and for entries, the reason stands alone."""
    never, once = record(intent=intent(purpose=Purpose.EXIT)), {"intent": intent(purpose=Purpose.EXIT)}
    assert Abandon("Untried: Draining") == after(0, never, may_attempt=False)
    assert Abandon("Untried: TooOld") == after(61, never)
    assert Abandon("Draining") == after(0, record(IntentState.EXPIRED, 1, **once), may_attempt=False)
    assert Abandon("TooOld") == after(61, record(IntentState.EXPIRED, 1, **once))


def test_an_exit_that_was_held_back_has_not_grown_older_and_an_entry_has() -> None:
    """No node, or no ledger: the position is still held, but the entry's signal is past."""
    waiting = record(intent=intent(purpose=Purpose.EXIT))
    assert Abandon("Untried: TooOld") == after(600, waiting)
    assert NewAttempt() == after(600, waiting, held_until=599)
    assert Abandon("Untried: TooOld") == after(660, waiting, held_until=599)
    assert Abandon("TooOld") == after(600, record(), held_until=599)


def test_an_exits_age_counts_from_its_last_change() -> None:
    """An exit that waited a minute for rule E is not itself old: the position is still held."""
    exit_intent = intent(purpose=Purpose.EXIT)
    waited: dict[str, Any] = {"intent": exit_intent, "updated_at_ms": BORN + 90_000}
    assert NewAttempt() == after(91, record(IntentState.EXPIRED, 1, **waited))
    assert Abandon("TooOld") == after(151, record(IntentState.EXPIRED, 1, **waited))
    assert Abandon("AttemptsExhausted") == after(91, record(IntentState.EXPIRED, 3, **waited))
