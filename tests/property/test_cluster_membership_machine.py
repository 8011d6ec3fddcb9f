"""
Several processes and one store, in any order of events: slow and lost answers, processes that stop, clocks that differ.

Every process has a monotonic clock of its own, with its own beginning and its own speed. Nothing that a process believes may contradict
the store in a way that would let two of them begin something in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from mutants.mutate import mutated

from tradingbot_engine.cluster import membership as module
from tradingbot_engine.cluster.membership import Act, Claim, Deed, Membership, Release, Standing
from tradingbot_engine.cluster.port import Member

PROCESSES = 3
pods = st.integers(0, PROCESSES - 1)


@dataclass
class Process:
    """One process, and the request that it has under way."""

    part: Membership
    began_s: float
    speed: float
    asked_s: float = 0.0
    act: Act | None = None
    answer: list[Member] | Member | None = None
    phase: str = "idle"
    runs: int = 1
    wrote: list[str] = field(default_factory=list)

    def now_s(self, real_s: float) -> float:
        return self.began_s + real_s * self.speed


class Members(RuleBasedStateMachine):
    """Requests and answers are separate events, so that anything may happen between them."""

    @initialize(
        records=st.integers(1, 3),
        clocks=st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.9, 1.1)), min_size=PROCESSES, max_size=PROCESSES),
    )
    def begin(self, records: int, clocks: list[tuple[float, float]]) -> None:
        self.real_s, self.writes = 0.0, 0
        self.store = {name: Member(name, "0") for name in (f"bot-member-{n}" for n in range(records))}
        self.processes = [Process(self.a_part(n, 1), began, speed) for n, (began, speed) in enumerate(clocks)]

    @staticmethod
    def a_part(number: int, run: int) -> Membership:
        return Membership(holder=f"pod-{number}", incarnation=f"pod-{number}/{run}")

    @rule(seconds=st.sampled_from([3.0, 9.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        self.real_s += seconds

    @rule(seconds=st.floats(0.1, 2))
    def a_little_time_passes(self, seconds: float) -> None:
        self.real_s += seconds

    @rule(pod=pods)
    def asks(self, pod: int) -> None:
        """The store answers with what stands there now; the answer is on its way."""
        p = self.processes[pod]
        if p.phase == "idle":
            p.asked_s, p.answer, p.phase = p.now_s(self.real_s), list(self.store.values()), "asked"

    @rule(pod=pods, ready=st.booleans())
    def is_answered(self, pod: int, ready: bool) -> None:
        p = self.processes[pod]
        if p.phase == "asked":
            assert isinstance(p.answer, list)
            act = p.part.looked(p.answer, asked_s=p.asked_s, now_s=p.now_s(self.real_s), takes_shards=ready or pod > 0)
            p.act, p.phase = act, "idle" if act is None else "wants to write"
            p.asked_s = p.now_s(self.real_s)

    @rule(pod=pods)
    def its_write_is_done(self, pod: int) -> None:
        p = self.processes[pod]
        if p.phase == "wants to write":
            assert p.act is not None
            p.answer, p.phase = self.write(p.part, p.act), "written"

    @rule(pod=pods)
    def its_write_is_answered(self, pod: int) -> None:
        p = self.processes[pod]
        if p.phase == "written":
            p.phase = "idle"
            if isinstance(p.answer, Member) and not isinstance(p.act, Release):
                p.part.written(p.answer, asked_s=p.asked_s)

    @rule(pod=pods)
    def whole_step(self, pod: int) -> None:
        """So that members live long enough for something to happen to them."""
        p = self.processes[pod]
        if p.phase == "idle":
            self.asks(pod)
            self.is_answered(pod, True)
            self.its_write_is_done(pod)
            self.its_write_is_answered(pod)

    @rule(pod=pods)
    def loses_its_answer(self, pod: int) -> None:
        """Whether the write was done or not."""
        self.processes[pod].phase = "idle"

    @rule(pod=pods)
    def restarts(self, pod: int) -> None:
        p = self.processes[pod]
        p.runs += 1
        p.part, p.phase = self.a_part(pod, p.runs), "idle"

    @rule(pod=pods)
    def leaves(self, pod: int) -> None:
        """With a request under way, or not; what shows it is let go. Another one starts in its place."""
        p = self.processes[pod]
        p.part.release()
        for record in list(self.store.values()):
            if p.part.is_ours(record):
                self.write(p.part, Release(record))
        self.restarts(pod)

    def write(self, part: Membership, act: Act) -> Member | None:
        if self.store.get(act.record.name) != act.record:
            return None
        self.writes += 1
        row = replace(act.record, version=str(self.writes))
        if isinstance(act, Claim):
            row = replace(row, holder=part.holder, incarnation=part.incarnation, takes_shards=part.takes_shards)
        elif isinstance(act, Release):
            row = replace(row, holder="", incarnation="", takes_shards=False)
        else:
            row = replace(row, takes_shards=part.takes_shards)
        self.store[row.name] = row
        return row

    @invariant()
    def who_may_begin_something_has_its_record(self) -> None:
        """However late its answers came: it gives up before anybody else may begin."""
        for p in getattr(self, "processes", ()):
            if p.part.may(Deed.OPEN, p.now_s(self.real_s)) or p.part.may(Deed.TAKE, p.now_s(self.real_s)):
                assert p.part.record is not None
                assert p.part.is_ours(self.store[p.part.record.name])

    @invariant()
    def no_two_may_begin_something_under_one_record(self) -> None:
        """Shards are dealt out to records."""
        able = [
            p.part.record.name
            for p in getattr(self, "processes", ())
            if p.part.record is not None and p.part.standing(p.now_s(self.real_s)) is Standing.MEMBER
        ]
        assert len(able) == len(set(able))

    @invariant()
    def who_renewed_lately_lives_in_the_eyes_of_all(self) -> None:
        """Nobody takes the shards of one that is well."""
        for p in getattr(self, "processes", ()):
            if p.part.standing(p.now_s(self.real_s)) is Standing.MEMBER:
                assert p.part.record is not None
                for q in self.processes:
                    seen = q.part.seen(p.part.record.name)
                    if seen is not None and q.part.record != seen and p.part.is_ours(seen):
                        assert p.part.incarnation in q.part.incarnations()


def run(examples: int, *, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        Members,
        settings=settings(
            max_examples=examples, stateful_step_count=50, deadline=None, derandomize=True, phases=phases
        ),
    )


def test_no_order_of_events_lets_two_members_begin_something_in_one_place() -> None:
    """See the machine."""
    run(100)


MUTANTS: list[tuple[str, tuple[str, str]]] = [
    ("standing", ("now_s - self._renewed_s >= self.terms.give_up_s", "now_s - self._renewed_s >= 2 * self.terms.lease_s")),
    ("_expired", ("> self.terms.lease_s", "> self.terms.renew_s")),
    ("_expired", ("sight.last_s - sight.first_s", "sight.last_s - 0")),
    ("_sight", ("known.record == record", "True")),
]  # fmt: skip


@pytest.mark.parametrize(("method", "change"), MUTANTS, ids=[f"{m}: {c[1]}" for m, c in MUTANTS])
def test_the_machine_notices_a_member_that_believes_too_long_or_expires_too_early(
    method: str, change: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rule of time is needed."""
    changed: Callable[..., Any] = mutated(getattr(module.Membership, method), change)
    monkeypatch.setattr(module.Membership, method, changed)
    with pytest.raises(AssertionError):
        run(600, phases=(Phase.generate,))  # the shortest way is not asked for
