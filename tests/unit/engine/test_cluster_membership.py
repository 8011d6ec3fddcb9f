"""A member's life, step by step: what it writes when, what it may do meanwhile, and whom it takes for gone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from mutants.mutate import mutated

from tradingbot_engine.cluster import membership as module
from tradingbot_engine.cluster.membership import (
    ALLOWED,
    Act,
    Claim,
    Deed,
    Membership,
    Release,
    Renew,
    Standing,
    Terms,
)
from tradingbot_engine.cluster.port import Member
from tradingbot_engine.errors import PermanentError


@dataclass
class Records:
    """A store in memory, as plain as can be."""

    rows: dict[str, Member] = field(default_factory=dict)
    writes: int = 0

    def add(self, *names: str) -> Records:
        for name in names:
            self.put(Member(name, ""))
        return self

    def put(self, row: Member) -> Member:
        self.writes += 1
        self.rows[row.name] = replace(row, version=str(self.writes))
        return self.rows[row.name]

    def do(self, act: Act, me: Membership) -> Member | None:
        if self.rows.get(act.record.name) != act.record:
            return None
        match act:
            case Claim(record):
                return self.put(
                    replace(record, holder=me.holder, incarnation=me.incarnation, takes_shards=me.takes_shards)
                )
            case Renew(record):
                return self.put(replace(record, takes_shards=me.takes_shards))
            case Release(record):
                return self.put(replace(record, holder="", incarnation="", takes_shards=False))


def a_process(name: str = "one", *, run: int = 1) -> Membership:
    return Membership(holder=name, incarnation=f"{name}-run-{run}")


def look(me: Membership, records: Records, at_s: float, *, ready: bool = True) -> Act | None:
    return me.looked(list(records.rows.values()), asked_s=at_s, now_s=at_s, takes_shards=ready)


def step(me: Membership, records: Records, at_s: float, *, ready: bool = True) -> Act | None:
    """Look, and do what is to be done, at one moment."""
    act = look(me, records, at_s, ready=ready)
    if act is not None:
        written = records.do(act, me)
        if written is not None and not isinstance(act, Release):
            me.written(written, asked_s=at_s)
    return act


def test_a_free_record_is_taken_at_once_and_renewed_every_five_seconds() -> None:
    """12 writes a minute, and none in between."""
    records, me = Records().add("a"), a_process()
    assert me.standing(0) is Standing.OUTSIDE
    acts = [(at, type(act)) for at in range(21) if (act := step(me, records, at)) is not None]
    assert acts == [(0, Claim), (5, Renew), (10, Renew), (15, Renew), (20, Renew)]
    assert records.rows["a"].holder == "one"
    assert me.sharers() == {"a"}
    assert me.incarnations() == {"one-run-1"}


def test_a_member_whose_renewal_does_not_come_back_begins_nothing_after_ten_seconds() -> None:
    """Exits and what is in flight go on: the ledger fences them if there is a successor at all."""
    records, me = Records().add("a"), a_process()
    step(me, records, 100)
    for at, standing in (
        (100, Standing.MEMBER),
        (109.9, Standing.MEMBER),
        (110, Standing.DOUBTFUL),
        (500, Standing.DOUBTFUL),
    ):
        assert me.standing(at) is standing
    allowed = {deed for deed in Deed if me.may(deed, 110)}
    assert allowed == {Deed.CLOSE, Deed.FOLLOW}
    assert {deed for deed in Deed if me.may(deed, 109.9)} == set(Deed)
    step(me, records, 500)  # it answers again, and nobody had taken the record
    assert me.standing(500) is Standing.MEMBER


def test_time_counts_from_when_a_renewal_was_sent_not_from_its_answer() -> None:
    """Others may have seen the record as early as that."""
    records, me = Records().add("a"), a_process()
    act = look(me, records, 0)
    assert act is not None
    written = records.do(act, me)
    assert written is not None
    me.written(written, asked_s=1.0)  # the answer took until 9
    assert me.standing(10.9) is Standing.MEMBER
    assert me.standing(11) is Standing.DOUBTFUL


def test_a_record_expires_only_after_it_was_seen_unchanged_for_its_whole_duration() -> None:
    """However old it was when it was seen first, and however long nobody looked."""
    records = Records().add("a")
    step(a_process("gone"), records, 0)
    me = a_process()
    assert look(me, records, 1000) is None
    assert set(me.live()) == {"a"}
    assert look(me, records, 1015) is None
    act = look(me, records, 1015.1)
    assert act == Claim(records.rows["a"])
    assert me.live() == {}
    assert me.sharers() == frozenset()


def test_a_look_that_did_not_come_back_counts_for_nothing() -> None:
    """What is not seen is not seen unchanged."""
    records = Records().add("a")
    step(a_process("gone"), records, 0)
    me = a_process()
    look(me, records, 0)
    rows = list(records.rows.values())
    assert me.looked(rows, asked_s=14, now_s=90, takes_shards=True) is None  # asked at 14, answered at 90
    assert set(me.live()) == {"a"}


def test_a_record_that_changes_at_all_lives() -> None:
    """Whatever was written, and whoever wrote it."""
    records, me, other = Records().add("a"), a_process(), a_process("other")
    step(other, records, 0)
    for at in range(60):
        if at % 14 == 0:
            step(other, records, at)
        assert look(me, records, at) is None
    assert set(me.live()) == {"a"}


def test_a_restarted_container_takes_its_own_record_again_at_once_under_a_new_id() -> None:
    """The shards of the one before are then nobody's, and taken under new epochs."""
    records = Records().add("a", "b")
    step(a_process(run=1), records, 0)
    (held,) = (r for r in records.rows.values() if r.holder)
    again = a_process(run=2)
    assert step(again, records, 1) == Claim(held)
    assert again.incarnations() == {"one-run-2"}
    assert again.standing(1) is Standing.MEMBER


def test_a_claim_whose_answer_was_lost_is_made_again_and_of_two_records_one_is_let_go() -> None:
    """No record is held that nobody renews."""
    records, me = Records().add("a", "b"), a_process()
    first = look(me, records, 0)
    assert first is not None
    held = records.do(first, me)
    assert held is not None  # nobody is told
    assert me.standing(0) is Standing.OUTSIDE
    assert step(me, records, 1) == Claim(held)
    assert me.standing(1) is Standing.MEMBER
    other = next(name for name in records.rows if name != held.name)
    late = records.put(replace(records.rows[other], holder="one", incarnation="one-run-1"))
    assert step(me, records, 2) == Release(late)
    assert records.rows[other].holder == ""
    assert step(me, records, 3) is None


@pytest.mark.parametrize("how", ["deleted", "taken", "freed"])
def test_a_member_whose_record_is_taken_away_starts_nothing_and_claims_another(how: str) -> None:
    """It sees so at its next look, whatever its own clock says."""
    records, me = Records().add("a", "b"), a_process()
    step(me, records, 0)
    assert me.record is not None
    name = me.record.name
    if how == "deleted":
        del records.rows[name]
    else:
        holder = "thief" if how == "taken" else ""
        records.put(replace(records.rows[name], holder=holder, incarnation=holder, takes_shards=False))
    act = look(me, records, 1)
    assert me.standing(1) is Standing.OUTSIDE
    assert {deed for deed in Deed if me.may(deed, 1)} == {Deed.FOLLOW}
    assert {"deleted": "gone", "taken": "held by thief", "freed": "free"}[how] in me.lost
    assert isinstance(act, Claim)
    step(me, records, 2)
    assert (me.standing(2), me.lost) == (Standing.MEMBER, "")


def test_a_label_that_somebody_puts_on_our_record_costs_one_write() -> None:
    """The version has changed, the holder has not."""
    records, me = Records().add("a"), a_process()
    step(me, records, 0)
    records.put(records.rows["a"])
    assert step(me, records, 1) is None
    assert step(me, records, 5) == Renew(replace(records.rows["a"], version="3"))
    assert me.standing(14) is Standing.MEMBER


def test_who_is_not_ready_or_leaves_lives_without_shards() -> None:
    """The record says so at once, and is kept until it is let go."""
    records, me = Records().add("a"), a_process()
    step(me, records, 0, ready=False)
    assert (me.sharers(), set(me.live()), me.standing(0)) == (frozenset(), {"a"}, Standing.LEAVING)
    assert isinstance(step(me, records, 1), Renew)
    assert (me.sharers(), me.standing(1)) == ({"a"}, Standing.MEMBER)
    me.leave()
    assert me.standing(1.5) is Standing.LEAVING
    assert not me.may(Deed.TAKE, 1.5)
    assert isinstance(step(me, records, 2), Renew)
    assert (me.sharers(), set(me.live())) == (frozenset(), {"a"})
    me.release()
    assert me.standing(3) is Standing.OUTSIDE
    assert step(me, records, 3) is None  # who has left claims nothing
    me.written(records.rows["a"], asked_s=3)  # an answer that was on its way
    assert me.standing(3) is Standing.OUTSIDE


def test_pods_that_start_at_one_moment_do_not_all_want_the_same_record() -> None:
    """Else one a look would get in."""
    names = [f"bot-member-{n}" for n in range(6)]
    wanted = []
    for n in range(6):
        act = look(a_process(f"pod-{n}"), Records().add(*names), 0)
        assert isinstance(act, Claim)
        wanted.append(act.record.name)
    assert len(set(wanted)) >= 3


def test_a_free_record_goes_before_an_expired_one() -> None:
    """The expired one's holder may only be slow."""
    records = Records().add("a")
    step(a_process("gone"), records, 0)
    records.add("b")
    for n in range(8):
        me = Membership(holder=f"pod-{n}", incarnation="x")
        me.looked([records.rows["a"]], asked_s=0, now_s=0, takes_shards=True)
        assert look(me, records, 20) == Claim(records.rows["b"])


def test_every_standing_says_what_is_allowed_and_less_where_less_is_known() -> None:
    """The table is whole, and what is in flight is always followed."""
    assert set(ALLOWED) == set(Standing)
    assert ALLOWED[Standing.OUTSIDE] < ALLOWED[Standing.DOUBTFUL] < ALLOWED[Standing.MEMBER]
    assert all(Deed.FOLLOW in deeds for deeds in ALLOWED.values())


@pytest.mark.parametrize("terms", [(15, 10, 10), (10, 10, 5), (15, 10, 0), (15, 20, 5)])
def test_terms_by_which_two_could_act_at_once_are_refused(terms: tuple[float, float, float]) -> None:
    """Who gives up must do so before another may begin, and renew before it gives up."""
    lease_s, give_up_s, renew_s = terms
    with pytest.raises(PermanentError, match="renew"):
        Terms(lease_s=lease_s, give_up_s=give_up_s, renew_s=renew_s)


@pytest.mark.parametrize(("holder", "incarnation"), [("", "x"), ("x", "")])
def test_a_member_without_a_name_is_refused(holder: str, incarnation: str) -> None:
    """A free record would look like its own."""
    with pytest.raises(PermanentError):
        Membership(holder=holder, incarnation=incarnation)


@pytest.mark.parametrize(
    ("method", "old", "new", "test"),
    [
        ("_expired", "sight.last_s - sight.first_s", "sight.last_s - 0", test_a_record_expires_only_after_it_was_seen_unchanged_for_its_whole_duration),
        ("_sight", "_Sight(record, first_s, asked_s)", "_Sight(record, first_s, now_s)", test_a_look_that_did_not_come_back_counts_for_nothing),
        ("_sight", "known.record == record", "True", test_a_record_that_changes_at_all_lives),
        ("written", "asked_s, \"\"", "asked_s + 8, \"\"", test_time_counts_from_when_a_renewal_was_sent_not_from_its_answer),
        ("standing", "now_s - self._renewed_s >= self.terms.give_up_s", "False", test_a_member_whose_renewal_does_not_come_back_begins_nothing_after_ten_seconds),
        ("is_ours", "(record.holder, record.incarnation) == (self.holder, self.incarnation)", "True", lambda: test_a_member_whose_record_is_taken_away_starts_nothing_and_claims_another("taken")),
        ("_order", "0 if record.holder == self.holder else 1", "1", test_a_claim_whose_answer_was_lost_is_made_again_and_of_two_records_one_is_let_go),
    ],
)  # fmt: skip
def test_each_rule_that_is_broken_is_noticed(method: str, old: str, new: str, test, monkeypatch) -> None:
    """The test of the rule fails without it."""
    test()
    monkeypatch.setattr(module.Membership, method, mutated(getattr(module.Membership, method), (old, new)))
    with pytest.raises(AssertionError):
        test()
