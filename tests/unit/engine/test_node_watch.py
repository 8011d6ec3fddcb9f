"""When entries stop for want of a node, and when they may begin again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from execution_cases import intent, record

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.lifecycle import EXITS_FIRST, NO_ENDPOINT, Lifecycle, Phase
from tradingbot_engine.nodes import EXITS_FIRST_S, NodeWatch, held_for_exits, problem_of
from tradingbot_engine.rpc.breaker import BreakerState
from tradingbot_engine.rpc.endpoint import EndpointStatus

AWAY = EndpointStatus("n0", False, 100, 5.0, "n0: Unavailable: reset", BreakerState.OPEN)


@dataclass
class Nodes:
    """One node, and a watch over it."""

    seen: EndpointStatus = AWAY
    away: bool = True
    exits_unsent: int = 0
    positions: int = 0
    market_slot: int = 100
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        self.lifecycle = Lifecycle(clock=self.clock)
        self.lifecycle.enter(Phase.READY)
        self.watch = NodeWatch(
            endpoints=lambda: [self.seen],
            away=lambda: self.away,
            exits_unsent=lambda: self.exits_unsent,
            positions=lambda: self.positions,
            market_slot=lambda: self.market_slot,
            lifecycle=self.lifecycle,
            clock=self.clock,
        )

    async def told(self, *, away: bool, **changes: object) -> set[str]:
        """Look at the node as it is now; return the reasons that stand."""
        self.away, self.seen = away, replace(self.seen, **changes)  # type: ignore[arg-type]
        await self.watch.look()
        return {reason.type for reason in self.lifecycle.reasons}


async def test_a_node_that_may_be_tried_again_is_not_yet_a_node_that_answers() -> None:
    """The cooldown is over and over again while the node is away: entries stay held, exits may try."""
    nodes = Nodes()
    assert await nodes.told(away=True)
    assert await nodes.told(away=False, breaker=BreakerState.HALF_OPEN)
    assert await nodes.told(away=True, breaker=BreakerState.OPEN)
    assert nodes.lifecycle.may_exit
    assert not nodes.lifecycle.may_trade


@pytest.mark.parametrize(
    "heard",
    [
        {"breaker": BreakerState.HALF_OPEN, "slot": 101},  # by a good probe
        {"breaker": BreakerState.HALF_OPEN, "slot": 40},  # the same, of a node that was restored from a snapshot
        {"breaker": BreakerState.CLOSED, "error": ""},  # by a good answer
    ],
)
async def test_a_node_is_back_once_it_was_heard(heard: dict[str, object]) -> None:
    """By its slot, or by an answer to a call."""
    nodes = Nodes()
    assert await nodes.told(away=True)
    assert not await nodes.told(away=False, **heard)
    assert nodes.lifecycle.may_trade


async def test_a_node_whose_penalty_is_over_is_back_only_when_it_answers() -> None:
    """A provider that limits us is not asked for a while, with its breaker closed; then it may limit us again."""
    nodes = Nodes(seen=replace(AWAY, breaker=BreakerState.CLOSED, error="n0: Throttled: 429"))
    assert await nodes.told(away=True)
    assert await nodes.told(away=False)
    assert not await nodes.told(away=False, error="")


async def test_no_endpoint_is_over_at_the_probe_and_not_at_the_next_look() -> None:
    """Whoever holds nothing trades on at once."""
    nodes = Nodes()
    assert await nodes.told(away=True) == {NO_ENDPOINT}
    nodes.away, nodes.seen = False, replace(AWAY, breaker=BreakerState.HALF_OPEN, slot=101)
    nodes.watch.read()
    assert nodes.lifecycle.may_trade


async def test_entries_wait_for_exits_that_came_due_but_not_for_ever() -> None:
    """Once a node is back the exits are signed first; one that cannot be does not hold the bot."""
    nodes = Nodes(exits_unsent=1)
    assert await nodes.told(away=True) == {NO_ENDPOINT}
    assert await nodes.told(away=False, breaker=BreakerState.HALF_OPEN, slot=101) == {EXITS_FIRST}
    assert nodes.lifecycle.may_exit
    assert not nodes.lifecycle.may_trade
    nodes.clock.step_wall(60_000)
    assert await nodes.told(away=False) == {EXITS_FIRST}
    await nodes.clock.advance(EXITS_FIRST_S)
    assert not await nodes.told(away=False)


async def test_while_positions_are_held_entries_wait_until_the_market_was_heard() -> None:
    """Exits come due by what the feed tells: an entry must not overtake them because the feed was slower than the node."""
    nodes = Nodes(positions=1)
    assert await nodes.told(away=True) == {NO_ENDPOINT}
    assert await nodes.told(away=False, breaker=BreakerState.CLOSED, error="") == {EXITS_FIRST}
    nodes.market_slot = 150
    for _ in range(3):
        nodes.watch.read()  # probes come in quick succession; what the market brings about takes its time
    assert await nodes.told(away=False) == {EXITS_FIRST}  # heard just now: an exit that it brings about is on its way
    assert not await nodes.told(away=False)


async def test_a_market_that_stays_silent_does_not_hold_entries_for_ever() -> None:
    """Whether its prices are fresh is checked at every entry anyway."""
    nodes = Nodes(positions=1)
    assert await nodes.told(away=True) == {NO_ENDPOINT}
    assert await nodes.told(away=False, breaker=BreakerState.CLOSED, error="") == {EXITS_FIRST}
    await nodes.clock.advance(EXITS_FIRST_S)
    assert not await nodes.told(away=False)


async def test_nodes_that_go_again_while_exits_go_first_are_told_as_such() -> None:
    """And when they are back the wait begins anew."""
    nodes = Nodes(exits_unsent=1)
    assert await nodes.told(away=True) == {NO_ENDPOINT}
    assert await nodes.told(away=False, slot=101, breaker=BreakerState.HALF_OPEN) == {EXITS_FIRST}
    await nodes.clock.advance(EXITS_FIRST_S - 1)
    assert await nodes.told(away=True, breaker=BreakerState.OPEN) == {NO_ENDPOINT}
    assert await nodes.told(away=False, slot=102, breaker=BreakerState.HALF_OPEN) == {EXITS_FIRST}
    await nodes.clock.advance(EXITS_FIRST_S - 1)
    assert await nodes.told(away=False) == {EXITS_FIRST}


@pytest.mark.parametrize("reason", [NO_ENDPOINT, EXITS_FIRST])
def test_an_entry_that_is_claimed_already_waits_for_the_exits_too(reason: str) -> None:
    """It was claimed before the nodes went, and would be signed in the same breath as they."""
    lifecycle = Lifecycle(clock=ManualClock())
    entry, leaving = record(), record(intent=intent(purpose=Purpose.EXIT))
    assert not held_for_exits(lifecycle, entry)
    lifecycle.tell(reason, "nodes")
    assert held_for_exits(lifecycle, entry)
    assert not held_for_exits(lifecycle, leaving)


def test_a_problem_names_its_node_once() -> None:
    """Errors of the pool begin with the name already."""
    assert problem_of(AWAY) == "n0: Unavailable: reset"
    assert problem_of(replace(AWAY, error="150 slots behind")) == "n0: 150 slots behind"
    assert problem_of(replace(AWAY, error="")) == "n0: no answer yet"
