"""
What a position is, as a pure function of its intents, its transactions' fees, its fills and its adjustments.

Nothing is added up along the way: after every move the position is worked out anew, so that what was confirmed, forked away and
finalized again gives exactly the numbers that a fresh reading would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tradingbot_engine.core.intents import OPEN
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.domain.portfolio import PositionState
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.domain.units import BaseUnits, Lamports, QuoteUnits, UnixMs


@dataclass(frozen=True, slots=True)
class IntentView:
    """One intent of a position, with the fill of its newest attempt if that succeeded (provisionally or finally)."""

    purpose: Purpose
    state: IntentState
    reserve_quote: QuoteUnits
    fee_lamports: Lamports = 0
    """What its finalized transactions paid: base fee, priority fee, tip."""
    base_delta: BaseUnits = 0
    quote_delta: QuoteUnits = 0
    filled: bool = False
    finalized: bool = False
    slipped: bool = False
    """It failed because the price had run away (program error 6001)."""
    untried: bool = False
    """It was given up before anything was signed, for no reason of the market's."""
    signal_at_ms: UnixMs = 0
    """Event time."""
    created_at_ms: UnixMs = 0
    """Wall time, as the next."""
    updated_at_ms: UnixMs = 0


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What a position holds more (less) than its own fills say, and what it was paid for that; or the sum of such. Always final."""

    base_delta: BaseUnits = 0
    quote_delta: QuoteUnits = 0


NONE = Adjustment()


@dataclass(frozen=True, slots=True)
class PositionView:
    """The part of a position's row that follows from its intents; amounts as in `Position`."""

    state: PositionState
    bought: BaseUnits
    sold: BaseUnits
    cost: QuoteUnits
    proceeds: QuoteUnits
    realized: QuoteUnits
    """Proceeds of finalized exits, less the cost of what they sold and, if the quote is SOL, less all fees paid."""
    exposure: QuoteUnits
    """What it counts towards its strategy's limit: the reserve while its entry is open, then the cost of what is not finally sold."""
    exit_open: bool
    exit_failures: int
    exit_slips: int
    exit_failed_at_ms: UnixMs


def cost_share(cost: QuoteUnits, part: BaseUnits, whole: BaseUnits) -> QuoteUnits:
    """Return the cost of `part` of what was bought; exactly `cost` for the whole."""
    return cost * min(part, whole) // whole if whole > 0 else 0


def position_view(intents: Sequence[IntentView], *, quote_is_sol: bool, adjusted: Adjustment = NONE) -> PositionView:
    """
    Return what a position is.

    Args:
        intents: Its entry and all its exits.
        quote_is_sol: Fees are paid in SOL; where the quote is another currency they are no part of its results.
        adjusted: The sum of its adjustments; they count as sales, of fewer tokens or of more.
    """
    entry = next(i for i in intents if i.purpose is Purpose.ENTRY)
    exits = [i for i in intents if i.purpose is Purpose.EXIT]
    bought, cost = (entry.base_delta, -entry.quote_delta) if entry.filled else (0, 0)
    sold = -sum(i.base_delta for i in exits if i.filled) - adjusted.base_delta
    proceeds = sum(i.quote_delta for i in exits if i.filled) + adjusted.quote_delta
    finally_sold = -sum(i.base_delta for i in exits if i.finalized) - adjusted.base_delta
    final_proceeds = sum(i.quote_delta for i in exits if i.finalized) + adjusted.quote_delta
    fees = sum(i.fee_lamports for i in intents) if quote_is_sol else 0

    failed = [i for i in exits if i.state in (IntentState.FAILED, IntentState.ABANDONED) and not i.untried]
    entry_open = entry.state in OPEN
    exit_open = any(i.state in OPEN for i in exits)
    over = not entry_open and not exit_open and sold >= bought
    if over:
        state = PositionState.CLOSED
    elif entry.filled:
        state = PositionState.OPEN
    else:
        state = PositionState.PENDING
    if entry_open:
        exposure = entry.reserve_quote
    else:
        exposure = 0 if over else cost - cost_share(cost, finally_sold, bought)
    return PositionView(
        state=state,
        bought=bought,
        sold=sold,
        cost=cost,
        proceeds=proceeds,
        realized=final_proceeds - cost_share(cost, finally_sold, bought) - fees,
        exposure=exposure,
        exit_open=exit_open,
        exit_failures=len(failed),
        exit_slips=_slips(exits),
        # The ledger has the event time of the signal; from then on event time went as fast as the clock on the wall, or faster.
        exit_failed_at_ms=max((i.signal_at_ms + max(0, i.updated_at_ms - i.created_at_ms) for i in failed), default=0),
    )


def _slips(exits: Sequence[IntentView]) -> int:
    """Return how many exits slipped after the last one that sold something; at most one is under way at a time."""
    count = 0
    for intent in sorted(exits, key=lambda i: (i.created_at_ms, i.updated_at_ms)):
        count = 0 if intent.filled else count + intent.slipped
    return count
