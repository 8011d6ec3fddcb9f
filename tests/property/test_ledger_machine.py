"""
Random trades, forks, take-overs and zombies against both ledgers, beside a model that is written another way.

The model keeps lists of facts and works every number out from them by its own arithmetic; it shares no code with the ledger.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from support.ledgers import FEE, NOW_MS, SOL, a_bot, a_fill, a_risk, an_attempt, an_entry, an_exit, limits, step_of
from support.places import Place, postgres_place, sqlite_place
from support.postgres import Server

from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.domain.intents import Fill, IntentState, OrderIntent
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.errors import Fenced
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import ClaimOutcome, Ledger, Ownership

pytest_plugins = ["support.ledger_fixtures"]
T = TypeVar("T")
STRATEGY_LIMIT = 4 * SOL
OPEN_LIMIT = 4
OVER = ("DONE", "FAILED", "ABANDONED")
WAYS = {
    "INTENT": {"SIGN": "SIGNED", "ABANDON": "ABANDONED"},
    "SIGNED": {"SEND": "SUBMITTED", "CONFIRM": "CONFIRMED", "FINALIZE": "DONE", "FAIL": "FAILED", "EXPIRE": "EXPIRED"},
    "SUBMITTED": {"CONFIRM": "CONFIRMED", "FINALIZE": "DONE", "FAIL": "FAILED", "EXPIRE": "EXPIRED"},
    "CONFIRMED": {"FINALIZE": "DONE", "FAIL": "FAILED", "FORK": "SUBMITTED"},
    "EXPIRED": {"SIGN": "SIGNED", "ABANDON": "ABANDONED"},
}


@dataclass
class Trade:
    """What the model knows of one intent."""

    order: OrderIntent
    state: str = "INTENT"
    attempt: int = 0
    fill: Fill | None = None
    fees: int = 0
    paid: int = 0
    """What the wallet's lamports did for good."""

    @property
    def over(self) -> bool:
        return self.state in OVER


@dataclass
class Model:
    """The whole bot, as facts."""

    epochs: list[int] = field(default_factory=lambda: [0, 0])
    trades: list[Trade] = field(default_factory=list)

    def entry_of(self, position_id: str) -> Trade:
        return next(t for t in self.trades if t.order.id == position_id)

    def exits_of(self, entry: Trade) -> list[Trade]:
        return [t for t in self.trades if t.order.purpose is Purpose.EXIT and t.order.position_id == entry.order.id]

    def entries(self) -> list[Trade]:
        return [t for t in self.trades if t.order.purpose is Purpose.ENTRY]

    def closed(self, entry: Trade) -> bool:
        exits = self.exits_of(entry)
        return entry.over and all(t.over for t in exits) and self.held(entry) <= 0

    def held(self, entry: Trade) -> int:
        return sum(t.fill.base_delta for t in [entry, *self.exits_of(entry)] if t.fill is not None)

    def exposure(self, strategy: str) -> int:
        total = 0
        for entry in self.entries():
            if entry.order.strategy != strategy or self.closed(entry):
                continue
            if not entry.over:
                total += entry.order.reserve_quote
            elif entry.fill is not None:
                gone = -sum(t.fill.base_delta for t in self.exits_of(entry) if t.fill is not None and t.state == "DONE")
                cost = -entry.fill.quote_delta
                total += cost - cost * gone // entry.fill.base_delta
        return total

    def realized(self) -> int:
        total = -sum(t.fees for t in self.trades)
        for entry in self.entries():
            final = [t.fill for t in self.exits_of(entry) if t.state == "DONE" and t.fill is not None]
            total += sum(f.quote_delta for f in final)
            if entry.fill is not None:
                gone = -sum(f.base_delta for f in final)
                total -= -entry.fill.quote_delta * gone // entry.fill.base_delta
        return total

    def open_count(self) -> int:
        return sum(not t.over for t in self.trades)

    def refusal(self, order: OrderIntent) -> str:
        if order.purpose is Purpose.EXIT:
            entry = self.entry_of(order.position_id)
            if entry.fill is None or self.closed(entry):
                return "PositionNotOpen"
            if any(not t.over for t in self.exits_of(entry)):
                return "ExitOpen"
            return "ExitTooLarge" if order.amount_in > self.held(entry) else ""
        for entry in self.entries():
            same = (entry.order.strategy, entry.order.mint) == (order.strategy, order.mint)
            if same and not self.closed(entry):
                return "EntryOpen" if entry.fill is None else "PositionOpen"
        if self.exposure(order.strategy) + order.reserve_quote > STRATEGY_LIMIT:
            return "StrategyLimit"
        return "TooManyOpenIntents" if self.open_count() >= OPEN_LIMIT else ""


class LedgerMachine(RuleBasedStateMachine):
    """Two shards, three mints, two strategies; every answer is compared with the model's."""

    kind: str
    server: Server | None

    trades = Bundle("trades")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.model = Model()
        self.count = 0

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        where = sqlite_place(Path(self.folder.name)) if self.server is None else postgres_place(self.server)
        self.context = where
        self.place: Place = self.do(_enter(where))
        self.ledger: Ledger = self.do(self.place.open())
        self.do(self.ledger.adopt_bot(a_bot(), risk=a_risk()))
        self.owned: list[Ownership | None] = [None, None]
        self.zombies: list[Ownership] = []
        self.take(0)
        self.take(1)

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.do(self.context.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()

    @rule(shard=st.integers(0, 1))
    def take(self, shard: int) -> None:
        """A take-over; what the old owner still holds is a zombie's."""
        old = self.owned[shard]
        seen = self.do(self.ledger.shards())[shard]
        taken = self.do(self.ledger.take(seen, holder=f"h{self.model.epochs[shard]}", now_ms=NOW_MS))
        assert taken is not None
        self.model.epochs[shard] += 1
        assert taken.epoch == self.model.epochs[shard]
        if old is not None:
            self.zombies.append(old)
        self.owned[shard] = taken

    @rule(
        target=trades,
        mint=st.integers(0, 2),
        strategy=st.sampled_from(["momentum", "mean-revert"]),
        size=st.integers(1, 5),
    )
    def enter(self, mint: int, strategy: str, size: int) -> Any:
        self.count += 1
        order = an_entry(
            self.count, mint=f"mint{mint}", strategy=strategy, amount_in=size * SOL // 2, reserve_quote=size * SOL // 2
        )
        return self._claim(order)

    @rule(target=trades, data=st.data(), share=st.integers(1, 5))
    def leave(self, data: st.DataObject, share: int) -> Any:
        entries = self.model.entries()
        if not entries:
            return multiple()
        self.count += 1
        entry = data.draw(st.sampled_from(entries))
        amount = max(1, self.model.held(entry) * share // 4)
        return self._claim(an_exit(entry.order, self.count, amount=amount))

    def _claim(self, order: OrderIntent) -> Any:
        ownership = self.owned[int(order.mint[-1]) % 2]
        assert ownership is not None
        expected = self.model.refusal(order)
        numbers = limits(max_strategy_quote=STRATEGY_LIMIT, max_open_intents=OPEN_LIMIT)
        result = self.do(self.ledger.claim(order, ownership=ownership, limits=numbers))
        assert result.reason == expected, result.message
        if expected:
            return multiple()
        assert result.outcome is ClaimOutcome.CLAIMED
        again = self.do(self.ledger.claim(order, ownership=ownership, limits=numbers))
        assert (again.outcome, again.record) == (ClaimOutcome.KNOWN, result.record)
        trade = Trade(order)
        self.model.trades.append(trade)
        return trade

    @rule(trade=trades, data=st.data(), out=st.integers(1, 3 * SOL), slot=st.integers(100, 999))
    def move(self, trade: Trade, data: st.DataObject, out: int, slot: int) -> None:
        """Something that the table allows happens to a trade, and a zombie and a late task try the same first."""
        ways = WAYS.get(trade.state)
        if not ways:
            return
        event = E(data.draw(st.sampled_from(sorted(ways))))
        record = self.do(self.ledger.intent(trade.order.id))
        assert record is not None
        carried: dict[str, Any] = {}
        fill = self._fill(trade, event, out, slot)
        if event is E.SIGN:
            carried["new_attempt"] = an_attempt(trade.order, trade.attempt + 1)
        if fill is not None:
            carried["fill"] = fill
        if event is E.CONFIRM:
            carried["confirmed_slot"] = slot
        wanted = step_of(record, event, **carried)
        ownership = self.owned[record.shard]
        assert ownership is not None
        for zombie in self.zombies:
            if zombie.shard == record.shard:
                with pytest.raises(Fenced):
                    self.do(self.ledger.move(wanted, ownership=zombie))
        moved = self.do(self.ledger.move(wanted, ownership=ownership))
        assert moved is not None
        assert self.do(self.ledger.move(wanted, ownership=ownership)) is None
        assert moved == self.do(self.ledger.intent(trade.order.id))
        trade.state = ways[event.value]
        trade.attempt += event is E.SIGN
        if event in (E.CONFIRM, E.FINALIZE):
            trade.fill = fill
        elif event in (E.FORK, E.FAIL):
            trade.fill = None
        if event in (E.FINALIZE, E.FAIL):
            assert fill is not None
            trade.fees, trade.paid = FEE, fill.lamport_delta
        assert (moved.state, moved.attempt) == (IntentState(trade.state), trade.attempt)

    @staticmethod
    def _fill(trade: Trade, event: E, out: int, slot: int) -> Fill | None:
        order = trade.order
        if event not in (E.CONFIRM, E.FINALIZE, E.FAIL):
            return None
        if event is E.FAIL:
            return a_fill(order, trade.attempt, base=0, quote=0, slot=slot)
        base, quote = (out, -order.amount_in) if order.purpose is Purpose.ENTRY else (-order.amount_in, out)
        if trade.fill is not None:  # confirmed before: the same transaction
            base, quote = trade.fill.base_delta, trade.fill.quote_delta
        fill = a_fill(order, trade.attempt, base=base, quote=quote, slot=slot)
        return replace(fill, finalized=event is E.FINALIZE)

    @rule(trade=consumes(trades))
    def forget(self, trade: Trade) -> None:
        """Let other trades have their turn."""

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        if not hasattr(self, "place"):
            return
        self.do(self._compare())

    async def _compare(self) -> None:
        ledger, model = self.ledger, self.model
        assert await violations(ledger) == []
        bot, risk = await ledger.bot(), await ledger.risk()
        assert bot.wallet_lamports == a_bot().wallet_lamports + sum(t.paid for t in model.trades)
        assert risk.realized == model.realized()
        assert risk.fees_failed_today == sum(t.fees for t in model.trades if t.state == "FAILED")
        assert {r.intent.id: str(r.state) for r in await ledger.open_intents()} == {
            t.order.id: t.state for t in model.trades if not t.over
        }
        held = {p.id: (p.held, str(p.state), p.exit_open, p.exit_failures) for p in await ledger.positions()}
        assert held == {
            e.order.id: (
                model.held(e),
                "OPEN" if e.fill is not None else "PENDING",
                any(not t.over for t in model.exits_of(e)),
                sum(t.state in ("FAILED", "ABANDONED") for t in model.exits_of(e)),
            )
            for e in model.entries()
            if not model.closed(e)
        }
        assert len(await ledger.outbox(limit=1000)) == sum(t.over for t in model.trades)


async def _enter(where: Any) -> Place:
    place: Place = await where.__aenter__()
    return place


def run(server: Server | None, *, examples: int, steps: int) -> int:
    """Let the machine try so many sequences of steps; return how many it began."""
    begun = 0

    class Machine(LedgerMachine):
        def __init__(self) -> None:
            nonlocal begun
            super().__init__()
            begun += 1

    Machine.server = server
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return begun


def test_sqlite_agrees_with_the_model() -> None:
    """Whatever the order of trades, forks, take-overs and zombies."""
    assert run(None, examples=25, steps=40) >= 25


@pytest.mark.postgres
def test_postgres_agrees_with_the_model(postgres_server: Server) -> None:
    """The same rules, fewer examples: each step is a round trip to a real server."""
    assert run(postgres_server, examples=6, steps=30) >= 6
