"""
Events of each key in the order of their source; pure.

An event carries the source's own sequence (the slot, and the source's order within it) and, where the source knows it, the
sequence of the event before it. Only such a link can prove a hole: most keys change in few slots, so a skipped number alone
means nothing. An event behind a hole waits for what is missing, within a window of count and time; the hole is to be asked
for at the source meanwhile. What comes after its place was passed is late, and handed over as such.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tradingbot_engine.domain.units import Slot

ORDER_BITS = 24
MIN_REMEMBERED = 8
"""Sequences remembered per key, however many keys there are."""


def sequence(slot: Slot, order: int = 0) -> int:
    """
    Return one number that sorts by slot, then by the source's own order within it.

    Raises:
        ValueError: `slot` is negative, or `order` is not in [0, 2**24).
    """
    if slot < 0 or not 0 <= order < 1 << ORDER_BITS:
        raise ValueError(f"slot {slot}, order {order}: out of range")
    return slot << ORDER_BITS | order


def slot_of(number: int) -> Slot:
    """Return the slot of a sequence."""
    return number >> ORDER_BITS


@dataclass(frozen=True, slots=True)
class Late:
    """An event whose place was passed already; `certain` False: so old that it may be one that was handed over."""

    key: Hashable
    sequence: int
    event: Any
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of `key` after the sequence `last` up to and including `until` are missing; the source says they exist."""

    key: Hashable
    last: int
    until: int


Delivery: TypeAlias = Any
"""What a consumer gets: the event itself, a `Late` one, or a `Gap` that was given up at this place."""


@dataclass(slots=True)
class OrderCounts:
    """What was unusual so far."""

    duplicates: int = 0
    late: int = 0
    gaps: int = 0
    """Holes that were noticed."""
    filled: int = 0
    given_up: int = 0
    """Holes that were told to the consumers, since the window was over."""
    undone: int = 0
    """Waiting events of a fork that was left."""


@dataclass(slots=True, eq=False)
class _Key:
    last: int
    remember: Callable[[int], None]
    recent: deque[int]
    late: deque[int]
    held: dict[int, tuple[int | None, float, Any]] = field(default_factory=dict)
    """Waiting events: (the one before, since when, event)."""
    order: list[int] = field(default_factory=list)
    """Heap of the held sequences."""
    gap: Gap | None = None


class Ordering:
    """
    One state machine for all keys; `offer` returns what may be handed over now, in order.

    Args:
        window_s: How long an event waits for a missing one, in seconds.
        window_size: How many events of a key wait at most, >= 1.
        remembered: How many sequences are remembered over all keys, to know a repeated event.
        keys: How many keys are expected; each remembers its share.
        now: Monotonic seconds; read only when something is unusual.
    """

    def __init__(
        self, *, window_s: float, window_size: int, remembered: int, keys: int, now: Callable[[], float]
    ) -> None:
        self._window_s, self._window_size, self._now = window_s, window_size, now
        self._share = max(MIN_REMEMBERED, remembered // max(1, keys))
        self._keys: dict[Hashable, _Key] = {}
        self._due: list[tuple[float, int, Hashable]] = []
        self._n = 0
        self.counts = OrderCounts()
        self.asks: list[Gap] = []
        """Holes to be asked for at the source; cleared by whoever does it."""

    def offer(self, key: Hashable, number: int, event: Any, after: int | None = None) -> Sequence[Delivery]:
        """
        Take an event of the source.

        Args:
            number: Its place, as made by `sequence`.
            after: The place of the event before it, if the source says so; a hole is known by it.
        """
        state = self._keys.get(key)
        if state is None:
            self._start(key, number)
            return (event,)  # nothing is known of what was before the first
        if number > state.last and not state.held and (after is None or after <= state.last):
            state.last = number
            state.remember(number)
            return (event,)
        return self._unusual(key, state, number, event, after)

    def expire(self) -> list[tuple[Hashable, list[Delivery]]]:
        """Give up what was waited for too long; return what may be handed over now, by key."""
        out: list[tuple[Hashable, list[Delivery]]] = []
        now = self._now()
        while self._due and self._due[0][0] <= now:
            _, _, key = heapq.heappop(self._due)
            state = self._keys.get(key)
            if state is None or not state.held:
                continue
            due_s = state.held[state.order[0]][1] + self._window_s
            if due_s <= now:
                out.append((key, self._give_up(key, state)))
            else:
                self._arm(key, due_s)
        return out

    @property
    def next_due_s(self) -> float | None:
        """When `expire` has something to do at the earliest; None if nothing waits."""
        while self._due:
            state = self._keys.get(self._due[0][2])
            if state is not None and state.held:
                return self._due[0][0]
            heapq.heappop(self._due)
        return None

    @property
    def waiting(self) -> int:
        """How many events wait for a missing one."""
        return sum(len(state.held) for state in self._keys.values())

    def open_gap(self, key: Hashable) -> Gap | None:
        """Return the hole that holds `key` up now."""
        state = self._keys.get(key)
        return state.gap if state is not None else None

    def rewind(self, key: Hashable, to: int) -> None:
        """The source's chain returned to `to`: what was after it is undone, and may come again differently."""
        state = self._keys.get(key)
        if state is None:
            return
        undone = [n for n in state.held if n > to]
        for n in undone:
            del state.held[n]
        self.counts.undone += len(undone)
        state.order = list(state.held)
        heapq.heapify(state.order)
        state.last = min(state.last, to)
        for memory in (state.recent, state.late):
            kept = [n for n in memory if n <= to]
            memory.clear()
            memory.extend(kept)
        if not state.held:
            state.gap = None

    def forget(self, key: Hashable) -> None:
        """Drop all that is known of a key that nobody asks about any more."""
        self._keys.pop(key, None)

    # --- the unusual
    def _start(self, key: Hashable, number: int) -> None:
        recent: deque[int] = deque((number,), maxlen=self._share)
        self._keys[key] = _Key(number, recent.append, recent, deque(maxlen=self._share))

    def _unusual(self, key: Hashable, state: _Key, number: int, event: Any, after: int | None) -> list[Delivery]:
        if number <= state.last:
            return self._late(key, state, number, event)
        if number in state.held:
            self.counts.duplicates += 1
            return []
        if (after is None or after <= state.last) and (not state.order or number < state.order[0]):
            return [*self._release(state, number, event), *self._drain(key, state)]
        state.held[number] = (after, self._now(), event)
        heapq.heappush(state.order, number)
        out: list[Delivery] = []
        while len(state.held) > self._window_size:
            out += self._give_up(key, state)
        if state.held:
            self._watch(key, state)
        return out

    def _late(self, key: Hashable, state: _Key, number: int, event: Any) -> list[Delivery]:
        if number in state.recent or number in state.late:
            self.counts.duplicates += 1
            return []
        whole = len(state.recent) < self._share or number > state.recent[0]
        certain = whole and len(state.late) < self._share
        state.late.append(number)
        self.counts.late += 1
        return [Late(key, number, event, certain)]

    def _release(self, state: _Key, number: int, event: Any) -> Iterable[Delivery]:
        state.last = number
        state.remember(number)
        return (event,)

    def _drain(self, key: Hashable, state: _Key) -> list[Delivery]:
        """Hand over what waits no more for anything."""
        out: list[Delivery] = []
        while state.order:
            number = state.order[0]
            after, _, event = state.held[number]
            if after is not None and after > state.last:
                break
            heapq.heappop(state.order)
            del state.held[number]
            out += self._release(state, number, event)
        if state.gap is not None and state.last >= state.gap.until:
            self.counts.filled += 1
            state.gap = None
        if state.held:
            self._watch(key, state)
        return out

    def _give_up(self, key: Hashable, state: _Key) -> list[Delivery]:
        """Pass over the hole before the first waiting event, and say so at its place."""
        number = heapq.heappop(state.order)
        after, _, event = state.held.pop(number)
        gap = _gap(key, state.last, after)
        state.gap = None
        self.counts.given_up += 1
        return [gap, *self._release(state, number, event), *self._drain(key, state)]

    def _watch(self, key: Hashable, state: _Key) -> None:
        """Notice the hole before the first waiting event: ask for it, and see to it when its time is over."""
        after, since_s, _ = state.held[state.order[0]]
        gap = _gap(key, state.last, after)
        if state.gap is None or state.gap.until != gap.until:
            self.counts.gaps += 1
            self.asks.append(gap)
            self._arm(key, since_s + self._window_s)
        state.gap = gap

    def _arm(self, key: Hashable, due_s: float) -> None:
        self._n += 1
        heapq.heappush(self._due, (due_s, self._n, key))


def _gap(key: Hashable, last: int, after: int | None) -> Gap:
    assert after is not None, "an event without a link never waits at the head"
    return Gap(key, last, after)
