"""Where the rent of guards stands is said: in the book that status reads, and as a reason while the day's budget is used up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from solders.keypair import Keypair

from tradingbot_engine import chores
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.execution.signer import KeyFileSigner
from tradingbot_engine.ledger.port import GuardRent
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.settings import ExecutionSettings


def test_a_used_up_budget_for_failed_reclaims_is_a_reason_until_the_next_day() -> None:
    """It names cost, limit and setting, and stops no trade."""
    clock = ManualClock()
    lifecycle, book = Lifecycle(clock=clock), SimpleNamespace(rent=None)
    outside = SimpleNamespace(ledger=None, rpc=None, signer=KeyFileSigner(Keypair()), genesis_hash="g", clock=clock)
    settings = SimpleNamespace(execution=ExecutionSettings(reclaim_fee_budget_lamports=10_000))
    parts: Any = SimpleNamespace(
        outside=outside, settings=settings, lifecycle=lifecycle, book=book, owned={}, guard=SimpleNamespace()
    )
    reclaimer = chores._reclaimer(parts)
    reclaimer._told(GuardRent(3, 0, 10_000), True)
    (reason,) = lifecycle.reasons
    assert (reason.type, reason.fatal) == ("ReclaimFeeBudget", False)
    for part in ("10000 lamports", "execution.reclaim_fee_budget_lamports", "3 guards", "next UTC day"):
        assert part in reason.message
    assert book.rent == GuardRent(3, 0, 10_000)
    reclaimer._told(GuardRent(3, 1, 0), False)
    assert lifecycle.reasons == ()
