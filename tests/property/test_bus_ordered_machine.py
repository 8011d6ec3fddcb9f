"""The ordering of events against an oracle that keeps everything and looks at all of it each time."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tradingbot_engine.bus.ordered import Gap, Late, Ordering

WINDOW_S = 10
KEYS = ("a", "b")


class Oracle:
    """One key, by the rules in words: sorted lists, no shortcuts."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.last: int | None = None
        self.known: set[int] = set()
        """Handed over, in whatever way."""
        self.held: list[tuple[int, int | None, int]] = []
        """(sequence, the one before, since when)."""

    def offer(self, number: int, after: int | None, now: int) -> list[object]:
        if self.last is None:
            return [self._hand(number)]
        if number <= self.last:
            if number in self.known:
                return []
            self.known.add(number)
            return [("late", number)]
        if any(n == number for n, _, _ in self.held):
            return []
        self.held.append((number, after, now))
        out = self._flow()
        while len(self.held) > self.size:
            out += self._give_up()
        return out

    def expire(self, now: int) -> list[object]:
        out: list[object] = []
        while self.held and min(self.held)[2] + WINDOW_S <= now:
            out += self._give_up()
        return out

    def rewind(self, to: int) -> None:
        if self.last is not None:
            self.last = min(self.last, to)
            self.known = {n for n in self.known if n <= to}
            self.held = [h for h in self.held if h[0] <= to]

    def _flow(self) -> list[object]:
        out: list[object] = []
        while self.held:
            first = min(self.held, key=lambda h: h[0])
            if first[1] is not None and self.last is not None and first[1] > self.last:
                break
            self.held.remove(first)
            out.append(self._hand(first[0]))
        return out

    def _give_up(self) -> list[object]:
        first = min(self.held, key=lambda h: h[0])
        self.held.remove(first)
        return [("gap", self.last, first[1]), self._hand(first[0]), *self._flow()]

    def _hand(self, number: int) -> object:
        self.last = number
        self.known.add(number)
        return ("event", number)


def said(items: object) -> list[object]:
    out: list[object] = []
    for item in items:  # type: ignore[attr-defined]
        match item:
            case Late(_, number, event, certain):
                assert event == number
                assert certain
                out.append(("late", number))
            case Gap(_, last, until):
                out.append(("gap", last, until))
            case _:
                out.append(("event", item))
    return out


class OrderingMachine(RuleBasedStateMachine):
    """Events in any order, twice, behind holes; time; forks."""

    @initialize(size=st.integers(1, 5))
    def begin(self, size: int) -> None:
        self.now = 0
        self.size = size
        self.ordering = Ordering(
            window_s=WINDOW_S, window_size=size, remembered=10_000, keys=2, now=lambda: float(self.now)
        )
        self.oracles = {key: Oracle(size) for key in KEYS}

    @rule(key=st.sampled_from(KEYS), number=st.integers(0, 40), back=st.one_of(st.none(), st.integers(1, 6)))
    def offer(self, key: str, number: int, back: int | None) -> None:
        after = None if back is None or back > number else number - back
        got = said(self.ordering.offer(key, number, number, after))
        assert got == self.oracles[key].offer(number, after, self.now)

    @rule(step=st.integers(1, 12))
    def pass_time(self, step: int) -> None:
        self.now += step
        got: dict[object, list[object]] = {key: [] for key in KEYS}
        for key, items in self.ordering.expire():
            got[key] += said(items)
        assert got == {key: oracle.expire(self.now) for key, oracle in self.oracles.items()}

    @rule(key=st.sampled_from(KEYS), to=st.integers(0, 40))
    def rewind(self, key: str, to: int) -> None:
        self.ordering.rewind(key, to)
        self.oracles[key].rewind(to)

    @rule(key=st.sampled_from(KEYS))
    def forget(self, key: str) -> None:
        self.ordering.forget(key)
        self.oracles[key] = Oracle(self.size)

    @invariant()
    def holds_are_bounded_and_on_time(self) -> None:
        held = [h for oracle in self.oracles.values() for h in oracle.held]
        assert self.ordering.waiting == len(held)
        due = self.ordering.next_due_s
        heads = [min(oracle.held) for oracle in self.oracles.values() if oracle.held]
        assert (due is None) == (not heads)
        if due is not None:
            assert due <= min(h[2] for h in heads) + WINDOW_S
        for key, oracle in self.oracles.items():
            gap = self.ordering.open_gap(key)
            if oracle.held:
                head = min(oracle.held)
                assert gap is not None
                assert gap.until == head[1]
            else:
                assert gap is None


OrderingMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestOrdering = OrderingMachine.TestCase
