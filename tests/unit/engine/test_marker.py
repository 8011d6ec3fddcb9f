"""What the open positions are worth, for the tiers, also when not every price is known."""

from dataclasses import replace
from types import SimpleNamespace

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.core.risk.limits import RiskLimits
from tradingbot_engine.domain.portfolio import Position, PositionState, RiskState, Tier
from tradingbot_engine.ledger.port import Ownership
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.settings import ExecutionSettings, RiskSettings
from tradingbot_engine.upkeep import Marker

SOL = 10**9
RISK = RiskState(
    capital=100 * SOL, equity_start=100 * SOL, equity=100 * SOL, peak=100 * SOL, day="2023-11-14", day_start=100 * SOL
)


class Rows:
    """The ledger's risk row and marks."""

    def __init__(self) -> None:
        self.row, self.marks = RISK, []

    async def mark(self, *, ownership: Ownership, unrealized: int, at_ms: int) -> int:
        self.marks.append((unrealized, at_ms))
        return unrealized

    async def update_risk(self, change, *, ownership, actor) -> RiskState:
        self.row = change(self.row)
        return self.row


def position(name: str, *, cost: int, sold: int = 0) -> Position:
    return Position(name, "m", name, PositionState.OPEN, 1000, sold, cost, 0, 0, 1.0)


def marker(prices: dict[str, int | None], *positions: Position) -> tuple[Marker, Rows, Lifecycle, ManualClock]:
    rows, clock = Rows(), ManualClock()
    lifecycle = Lifecycle(clock=clock)
    book = SimpleNamespace(positions={p.id: p for p in positions}, take_risk=lambda risk: None)

    async def no_faults() -> tuple[str, ...]:
        return ()

    made = Marker(
        ledger=rows,  # type: ignore[arg-type]
        book=book,  # type: ignore[arg-type]
        ownership=lambda: Ownership(0, "h", 1),
        sale_value=lambda p: prices[p.mint],
        limits=lambda risk: RiskLimits.from_settings(RiskSettings(), ExecutionSettings(), capital=risk.capital),
        faults=no_faults,
        lifecycle=lifecycle,
        clock=clock,
    )
    return made, rows, lifecycle, clock


async def test_a_position_that_was_never_priced_is_no_loss():
    """After every restart prices come a moment later than positions: that must not raise a tier."""
    made, rows, lifecycle, _ = marker({"A": None}, position("A", cost=20 * SOL))
    await made.mark()
    assert rows.row.equity == 100 * SOL
    assert rows.row.tier is Tier.NORMAL
    assert lifecycle.has("StaleEquity")


async def test_an_unpriced_position_keeps_its_last_value_and_its_mark_grows_old():
    """The tiers go on for the rest of the book; entries stop by the age of the mark."""
    prices: dict[str, int | None] = {"A": 18 * SOL, "B": 5 * SOL}
    made, rows, lifecycle, clock = marker(prices, position("A", cost=20 * SOL), position("B", cost=5 * SOL))
    await made.mark()
    fresh_ms = clock.now_ms()
    prices["A"], prices["B"] = None, 1 * SOL
    await clock.advance(10)
    await made.mark()
    assert rows.marks == [(-2 * SOL, fresh_ms), (-6 * SOL, fresh_ms)]
    assert rows.row.tier is Tier.HALT
    prices["A"] = 20 * SOL
    await made.mark()
    assert not lifecycle.has("StaleEquity")
    assert rows.marks[-1] == (-4 * SOL, clock.now_ms())


async def test_what_was_sold_already_has_no_cost_any_more():
    half = replace(position("A", cost=20 * SOL), sold=500)
    made, rows, _, _ = marker({"A": 11 * SOL}, half)
    await made.mark()
    assert rows.marks[0][0] == 1 * SOL
