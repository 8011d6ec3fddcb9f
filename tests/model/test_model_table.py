"""Every row of the engine's state table is there for a reason, and every missing row is missing for one."""

from __future__ import annotations

from functools import cache

import pytest
from model.model_explore import Exploration, explore
from model.model_state import Configuration
from model.model_steps import NoSuchRow

from tradingbot_engine.core.intents import OPEN, TABLE, IntentEvent
from tradingbot_engine.domain.intents import IntentState as S

E = IntentEvent
WORLD = Configuration(pods=1)
USUAL_TARGET = {
    E.SIGN: S.SIGNED, E.SEND: S.SUBMITTED, E.CONFIRM: S.CONFIRMED, E.FORK: S.SUBMITTED,
    E.FINALIZE: S.DONE, E.FAIL: S.FAILED, E.EXPIRE: S.EXPIRED, E.ABANDON: S.ABANDONED,
}  # fmt: skip
DISPENSABLE = {
    (S.SIGNED, E.SEND),  # a hint only
    (S.SIGNED, E.EXPIRE),  # by way of SUBMITTED, if some node takes the dead bytes
}
"""Rows without which nothing is lost, stuck or out of reach; they spare time."""
FACTS = (E.CONFIRM, E.FORK, E.FINALIZE, E.FAIL)
"""Events that the chain establishes by itself; the driver does not choose them."""
DANGEROUS = {(state, event) for state in (S.SIGNED, S.SUBMITTED, S.CONFIRMED) for event in (E.SIGN, E.ABANDON)}
"""Rows that must never be added: they start or end something beside a living attempt."""
MISSING = [(state, event) for state in S if state in OPEN for event in E if (state, event) not in TABLE]


@cache
def _whole() -> Exploration:
    """Explore with the table as it stands; call it first with nothing patched."""
    return explore(WORLD)


@pytest.fixture(autouse=True)
def _whole_table() -> None:
    """The table as it stands is sound, and every outcome of every attempt can be reached."""
    whole = _whole()
    assert whole.complete
    assert not whole.traces, whole.told()
    wanted = {(s, n) for s in (S.DONE, S.FAILED) for n in (1, 2)} | {(S.ABANDONED, n) for n in (0, 1, 2)}
    assert whole.outcomes == wanted


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r[0]}-{r[1]}")
def test_a_row_that_is_removed_is_missed(row: tuple[S, E], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the row an intent is stuck, an outcome cannot be reached, or evidence asks for the row in vain; hints apart."""
    monkeypatch.delitem(TABLE, row)
    if row[1] in FACTS:
        with pytest.raises(NoSuchRow):
            explore(WORLD)
        return
    found = explore(WORLD)
    assert found.complete
    missed = bool(found.traces) or found.outcomes != _whole().outcomes
    assert missed == (row not in DISPENSABLE), found.told()
    assert not set(found.traces) - {"P5"}, found.told()


@pytest.mark.slow
@pytest.mark.parametrize("row", MISSING, ids=lambda r: f"{r[0]}-{r[1]}")
def test_a_row_that_is_added_breaks_something_or_is_never_asked_for(
    row: tuple[S, E], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second attempt beside a living one doubles, giving up a living one loses; no other missing row can be reached harmfully."""
    monkeypatch.setitem(TABLE, row, USUAL_TARGET[row[1]])
    found = explore(WORLD)
    assert bool(set(found.traces) & {"P1", "P2", "P3"}) == (row in DANGEROUS), found.told()


@pytest.mark.parametrize("row", [r for r in TABLE if TABLE[r] is not S.EXPIRED], ids=lambda r: f"{r[0]}-{r[1]}")
def test_a_row_that_leads_to_expired_instead_is_unsafe_or_dead(
    row: tuple[S, E], monkeypatch: pytest.MonkeyPatch
) -> None:
    """EXPIRED is reached by rule E alone: any other way into it loses or doubles a trade, unless no attempt is alive."""
    monkeypatch.setitem(TABLE, row, S.EXPIRED)
    found = explore(WORLD, until=["P2"])
    harmless = {(S.INTENT, E.ABANDON), (S.EXPIRED, E.ABANDON)}
    harmless |= {r for r in TABLE if r[1] in (E.FAIL, E.SIGN)}  # nothing more can land; nothing has left yet
    assert bool(set(found.traces) & {"P1", "P2", "P3"}) == (row not in harmless), found.told()
