"""
Who may wait, who goes when there is no room, and who has waited too long; pure.

Ranks are lanes, 0 the most urgent. A lane is refused from its own depth on (the thresholds); at full the youngest of the
least urgent waiting is displaced, never a more urgent one. Since all perishable items wait equally long, every lane is in
the order of its deadlines: the earliest is at some lane's head, and every operation takes O(number of lanes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Gone(StrEnum):
    """Why an item does not wait (any more)."""

    QUEUE_FULL = "QueueFull"
    OVERLOADED = "Overloaded"
    LATE = "Late"


QUEUE_FULL, OVERLOADED, LATE = Gone


class ReleasedTwice(RuntimeError):
    """A permit was given back again: somebody would count another's room as free. A fault of the program."""


class Permit(Generic[T]):
    """
    The right to work on one item; given back exactly once, by `with` or by `release`.

    `late` says that the item is past its deadline: it is to be refused, not worked on.
    """

    __slots__ = ("_admission", "item", "late")

    def __init__(self, admission: Admission[T], item: T, late: bool) -> None:
        self._admission: Admission[T] | None = admission
        self.item, self.late = item, late

    def release(self) -> None:
        """
        Give the permit back.

        Raises:
            ReleasedTwice: It was given back before.
        """
        admission, self._admission = self._admission, None
        if admission is None:
            raise ReleasedTwice(f"the permit of {self.item!r} was released before")
        admission._work(-1)

    def __enter__(self) -> T:
        return self.item

    def __exit__(self, *_: object) -> None:
        self.release()


class Admission(Generic[T]):
    """
    Bounded lanes.

    Args:
        max_size: Items that wait at most, over all lanes.
        limits: Per lane, most urgent first: the number of waiting items from which on the lane is refused.
        perishable: Per lane: whether its items are shed at the deadline.
        deadline_s: How long a perishable item may wait, in seconds; None for ever.
        displace: Whether a full queue gives way to what is more urgent.
        on_work: Told +1 when a permit goes out and -1 when it comes back.
        now: Monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_size: int,
        limits: Sequence[int],
        perishable: Sequence[bool],
        deadline_s: float | None,
        now: Callable[[], float],
        displace: bool = True,
        on_work: Callable[[int], None] | None = None,
    ) -> None:
        if max_size < 1 or len(limits) != len(perishable):
            raise ValueError("max_size must be positive, and every lane needs a limit")
        self._max_size, self._now, self._displace, self._on_work = max_size, now, displace, on_work
        self._deadline_s = deadline_s if deadline_s is not None else float("inf")
        self._limits = [min(limit, max_size) for limit in limits]
        self._lanes: list[deque[tuple[float, T]]] = [deque() for _ in limits]
        self._least_urgent_first = list(reversed(list(enumerate(self._lanes))))
        self._mortal = [lane for lane, dies in zip(self._lanes, perishable, strict=True) if dies]
        self._perishable = list(perishable)
        self._size = 0
        self._no_death_before_s = 0.0
        """Until then nobody's deadline passes: heads of lanes only grow younger."""
        self.working = 0
        """Permits that are out."""

    def __len__(self) -> int:
        return self._size

    @property
    def max_size(self) -> int:
        """Items that wait at most."""
        return self._max_size

    def offer(self, item: T, rank: int) -> tuple[T, Gone] | None:
        """Let an item wait in lane `rank`; return what had to go for it (perhaps itself) and why, or None."""
        if self._size < self._limits[rank]:
            self._lanes[rank].append((self._now(), item))
            self._size += 1
            return None
        now = self._now()
        if now > self._no_death_before_s and (dead := self._bury(now)) is not None:
            self._lanes[rank].append((now, item))  # the dead make room before the living
            return dead, LATE
        if self._size < self._max_size:
            return item, OVERLOADED
        if self._displace:
            for worst, lane in self._least_urgent_first:
                if worst <= rank:
                    break
                if lane:
                    displaced = lane.pop()[1]  # the youngest has waited for least
                    self._lanes[rank].append((now, item))
                    return displaced, QUEUE_FULL
        return item, QUEUE_FULL

    def _bury(self, now: float) -> T | None:
        """Remove and return one item that is past its deadline, if there is any."""
        born_s = now - self._deadline_s
        for lane in self._mortal:
            if lane and lane[0][0] < born_s:
                return lane.popleft()[1]
        due_s = self.next_deadline_s
        self._no_death_before_s = now + self._deadline_s if due_s is None else due_s
        return None

    def take(self) -> Permit[T] | None:
        """Return a permit for the most urgent item, the oldest of its lane; None if nothing waits."""
        for rank, lane in enumerate(self._lanes):
            if lane:
                since_s, item = lane.popleft()
                self._size -= 1
                self._work(+1)
                late = self._perishable[rank] and self._now() - since_s > self._deadline_s
                return Permit(self, item, late)
        return None

    def shed(self) -> list[T]:
        """Remove and return what is past its deadline, before it costs anything."""
        born_s = self._now() - self._deadline_s
        dead: list[T] = []
        for lane in self._mortal:
            while lane and lane[0][0] < born_s:
                dead.append(lane.popleft()[1])
        self._size -= len(dead)
        return dead

    @property
    def next_deadline_s(self) -> float | None:
        """When the next item is past its deadline; None if none can be."""
        born_s = min((lane[0][0] for lane in self._mortal if lane), default=None)
        return None if born_s is None or self._deadline_s == float("inf") else born_s + self._deadline_s

    @property
    def oldest_wait_s(self) -> float:
        """How long the oldest item has waited, in seconds; 0 if nothing waits."""
        oldest_s = min((lane[0][0] for lane in self._lanes if lane), default=None)
        return 0.0 if oldest_s is None else self._now() - oldest_s

    def clear(self) -> list[T]:
        """Remove and return all that waits, most urgent first."""
        rest = [item for lane in self._lanes for _, item in lane]
        for lane in self._lanes:
            lane.clear()
        self._size = 0
        return rest

    def _work(self, change: int) -> None:
        self.working += change
        if self._on_work is not None:
            self._on_work(change)
