"""Admission against an oracle: one sorted list, every rule spelled out."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tradingbot_engine.bus.admission import Admission, Gone, Permit, ReleasedTwice

DEADLINE_S = 10
RANKS = 5
PERISHABLE = (False, False, True, True, True)


class AdmissionMachine(RuleBasedStateMachine):
    """Offers, takes, sheds, releases, time."""

    @initialize(size=st.integers(1, 8), low=st.floats(0.1, 1), normal=st.floats(0.1, 1))
    def begin(self, size: int, low: float, normal: float) -> None:
        self.now, self.n, self.size = 0, 0, size
        self.limits = [size, size, size, max(1, round(normal * size)), max(1, round(low * size))]
        self.waiting: list[tuple[int, int, int]] = []
        """(rank, number of arrival, since when)."""
        self.out: list[Permit[int]] = []
        self.done: list[Permit[int]] = []
        self.told = 0
        self.admission: Admission[int] = Admission(
            max_size=size,
            limits=self.limits,
            perishable=PERISHABLE,
            deadline_s=DEADLINE_S,
            now=lambda: float(self.now),
            on_work=self.count,
        )

    def count(self, change: int) -> None:
        self.told += change

    def dead(self) -> list[tuple[int, int, int]]:
        return [w for w in self.waiting if PERISHABLE[w[0]] and self.now - w[2] > DEADLINE_S]

    @rule(rank=st.integers(0, RANKS - 1))
    def offer(self, rank: int) -> None:
        self.n += 1
        item = (rank, self.n, self.now)
        gone = self.admission.offer(self.n, rank)
        if len(self.waiting) < self.limits[rank]:
            assert gone is None
        else:
            assert gone is not None
            number, why = gone
            if self.dead():
                assert why is Gone.LATE
                victim = next(w for w in self.dead() if w[1] == number)
                assert not [w for w in self.dead() if w[0] == victim[0] and w[1] < number], (
                    "an older one was passed over"
                )
            elif len(self.waiting) < self.size:
                assert gone == (self.n, Gone.OVERLOADED)
                return
            else:
                worst = max(self.waiting)
                assert why is Gone.QUEUE_FULL
                if worst[0] <= rank:
                    assert number == self.n
                    return
                assert number == worst[1], "not the youngest of the least urgent"
                victim = worst
            self.waiting.remove(victim)
        self.waiting.append(item)

    @rule()
    def take(self) -> None:
        permit = self.admission.take()
        if not self.waiting:
            assert permit is None
            return
        first = min(self.waiting)
        assert permit is not None
        assert permit.item == first[1]
        assert permit.late == (first in self.dead())
        self.waiting.remove(first)
        self.out.append(permit)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        permit.release()
        self.done.append(permit)

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def release_again(self, data: st.DataObject) -> None:
        with pytest.raises(ReleasedTwice):
            data.draw(st.sampled_from(self.done)).release()

    @rule()
    def shed(self) -> None:
        dead = self.dead()
        assert sorted(self.admission.shed()) == sorted(w[1] for w in dead)
        self.waiting = [w for w in self.waiting if w not in dead]

    @rule(step=st.integers(1, 8))
    def pass_time(self, step: int) -> None:
        self.now += step

    @invariant()
    def numbers_agree(self) -> None:
        admission = self.admission
        assert len(admission) == len(self.waiting) <= self.size
        assert admission.working == len(self.out) == self.told
        oldest = min((w[2] for w in self.waiting), default=self.now)
        assert admission.oldest_wait_s == self.now - oldest
        mortal = [w[2] for w in self.waiting if PERISHABLE[w[0]]]
        assert admission.next_deadline_s == (min(mortal) + DEADLINE_S if mortal else None)


AdmissionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAdmission = AdmissionMachine.TestCase
