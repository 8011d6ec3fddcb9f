"""Shards change hands one at a time, as they become idle, and nobody takes what somebody who lives still serves."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from mutants.mutate import mutated

from tradingbot_engine.cluster import hand_over as module
from tradingbot_engine.cluster.hand_over import Forget, HandOver, Held, LetGo, Stop, Take
from tradingbot_engine.cluster.membership import Claim, Membership, Release
from tradingbot_engine.cluster.port import Member
from tradingbot_engine.cluster.shares import moved, owners
from tradingbot_engine.ledger.records import Ownership, ShardRow

BOT = "b" * 32
SHARDS = 16


class Bot:
    """Records, shard rows, and processes that act one after the other; no time passes but by `pass_s`."""

    def __init__(self, records: int = 4, shards: int = SHARDS) -> None:
        self.records = {n: Member(n, "0") for n in (f"bot-member-{k}" for k in range(records))}
        self.rows = {n: ShardRow(n, "", 0, 0) for n in range(shards)}
        self.now_s, self.writes, self.takes = 100.0, 0, 0
        self.processes: list[Process] = []

    def start(self, name: str) -> Process:
        part = Membership(holder=name, incarnation=f"{name}-run")
        self.processes.append(Process(self, part, HandOver(bot_id=BOT, membership=part)))
        return self.processes[-1]

    def rounds(self, count: int, *, pass_s: float = 1.0) -> None:
        for _ in range(count):
            self.now_s += pass_s
            for process in self.processes:
                process.look()
                process.act()

    def owned(self) -> dict[int, str]:
        """Return each shard's owner by the name of its record, "" if it is nobody's who has one."""
        names = {record.incarnation: record.name for record in self.records.values() if record.incarnation}
        return {row.shard: names.get(row.holder, "") for row in self.rows.values()}

    def choice(self) -> dict[int, str]:
        return owners(BOT, set(self.rows), {r.name for r in self.records.values() if r.takes_shards})


@dataclass
class Process:
    bot: Bot
    part: Membership
    plan: HandOver
    held: dict[int, Held] = field(default_factory=dict)
    busy: set[int] = field(default_factory=set)
    in_use: set[int] | None = None

    def look(self) -> None:
        bot = self.bot
        records = list(bot.records.values())
        act = self.part.looked(records, asked_s=bot.now_s, now_s=bot.now_s, takes_shards=True)
        if act is None or bot.records[act.record.name] != act.record:
            return
        bot.writes += 1
        row = replace(act.record, version=str(bot.writes), takes_shards=self.part.takes_shards)
        if isinstance(act, Claim):
            row = replace(row, holder=self.part.holder, incarnation=self.part.incarnation)
        bot.records[row.name] = row
        assert not isinstance(act, Release)
        self.part.written(row, asked_s=bot.now_s)

    def steps(self) -> list[object]:
        bot = self.bot
        held = {n: replace(h, idle=n not in self.busy) for n, h in self.held.items()}
        in_use = set(bot.rows) if self.in_use is None else self.in_use
        return list(self.plan.steps(list(bot.rows.values()), now_s=bot.now_s, in_use=in_use, held=held))

    def act(self) -> None:
        bot = self.bot
        for step in self.steps():
            match step:
                case Take(row):
                    assert bot.rows[row.shard] == row
                    bot.takes += 1
                    bot.rows[row.shard] = ShardRow(row.shard, self.part.incarnation, row.epoch + 1, 0)
                    self.held[row.shard] = Held(Ownership(row.shard, self.part.incarnation, row.epoch + 1))
                case Stop(shard):
                    self.held[shard] = replace(self.held[shard], stopping=True)
                case LetGo(ownership):
                    assert ownership.shard not in self.busy
                    row = bot.rows[ownership.shard]
                    assert (row.holder, row.epoch) == (ownership.holder, ownership.epoch)
                    bot.rows[ownership.shard] = replace(row, holder="")
                    self.held.pop(ownership.shard, None)
                case Forget(ownership):
                    del self.held[ownership.shard]


def a_bot_of(count: int) -> Bot:
    bot = Bot()
    for n in range(count):
        bot.start(f"pod-{n}")
    bot.rounds(6)
    return bot


def test_shards_come_to_their_owners_of_choice_and_stay_there() -> None:
    """Three processes that start at once share them within a shard; then nobody takes anything any more."""
    bot = a_bot_of(3)
    assert bot.owned() == bot.choice()
    assert sorted(Counter(bot.owned().values()).values()) == [5, 5, 6]
    before = bot.takes
    bot.rounds(20)
    assert bot.takes == before


def test_a_newcomer_takes_only_what_is_let_go_to_it() -> None:
    """Exactly the shards that the hashing moves change hands, each once."""
    bot = a_bot_of(2)
    before, takes = bot.owned(), bot.takes
    bot.start("newcomer")
    bot.rounds(6)
    assert bot.owned() == bot.choice()
    assert bot.takes - takes == len(moved(before, bot.owned()))


def test_a_shard_is_let_go_only_when_nothing_of_it_is_under_way() -> None:
    """It takes no more signals meanwhile, and nobody else takes it."""
    bot = a_bot_of(1)
    (old,) = bot.processes
    old.busy = set(bot.rows)
    new = bot.start("newcomer")
    bot.rounds(6)
    assert not new.held
    assert {n for n, h in old.held.items() if h.stopping} == {
        n for n, name in bot.choice().items() if name != bot.owned()[n]
    }
    shard = next(n for n, h in old.held.items() if h.stopping)
    old.busy.remove(shard)
    bot.rounds(2)
    assert set(new.held) == {shard}


def test_shards_of_one_that_left_are_taken_at_once_and_of_one_that_died_after_its_lease() -> None:
    """Until then they are nobody else's, however long the process has not been heard of."""
    bot = a_bot_of(3)
    dead = bot.processes.pop(0)
    bot.rounds(14)
    assert all(bot.rows[n].holder == dead.part.incarnation for n in dead.held)
    bot.rounds(4)
    living = {p.part.incarnation for p in bot.processes}
    assert {row.holder for row in bot.rows.values()} == living
    leaver = bot.processes[0]
    leaver.part.leave()
    bot.rounds(3)
    assert not leaver.held
    assert {row.holder for row in bot.rows.values()} == {bot.processes[1].part.incarnation}


def test_one_that_became_a_member_since_the_last_look_is_not_taken_for_gone() -> None:
    """Its shards are not taken from it only because we have not heard of it yet."""
    bot = a_bot_of(1)
    (one,) = bot.processes
    shard = next(iter(one.held))
    stranger = ShardRow(shard, "stranger-run", one.held[shard].ownership.epoch + 1, 0)
    bot.rows[shard] = stranger
    bot.now_s += 0.25
    one.act()  # forgets what was its own
    bot.now_s += 0.25
    one.act()
    assert bot.rows[shard] == stranger
    bot.now_s += 1
    one.look()  # it isn't among the records, although it stood in the row before they were asked for
    one.act()
    assert bot.rows[shard].holder == one.part.incarnation


def test_what_the_ledger_shows_as_anothers_is_forgotten_and_a_lost_take_is_made_again() -> None:
    """Also the same holder under a newer epoch: the answer to that take was lost."""
    bot = a_bot_of(1)
    (one,) = bot.processes
    held = one.held[3].ownership
    bot.rows[3] = replace(bot.rows[3], epoch=held.epoch + 1)
    assert one.steps() == [Forget(held)]
    one.act()
    assert one.steps() == [Take(bot.rows[3])]


def test_a_lost_take_of_a_shard_that_is_anothers_by_now_is_let_go() -> None:
    """Its holder lives, so nobody else would ever take it."""
    bot = a_bot_of(2)
    one, two = bot.processes
    shard = next(iter(two.held))
    del two.held[shard]
    bot.rows[shard] = ShardRow(shard, one.part.incarnation, 9, 0)
    bot.rounds(3)
    assert bot.owned() == bot.choice()
    assert shard in two.held


def test_who_gave_up_or_is_no_member_takes_nothing_and_keeps_what_it_has() -> None:
    """The store of members may be away for everybody; what it holds it holds by the ledger."""
    bot = a_bot_of(1)
    (one,) = bot.processes
    bot.rows[3] = replace(bot.rows[3], holder="")
    del one.held[3]
    bot.now_s += 10
    assert one.steps() == []
    one.look()
    assert one.steps() == [Take(bot.rows[3])]
    outsider = bot.start("outsider")
    assert outsider.steps() == []


def test_shards_without_tokens_are_nobodys() -> None:
    """They are neither taken nor kept."""
    bot = Bot()
    one = bot.start("one")
    one.in_use = {1, 2, 3}
    bot.rounds(3)
    assert set(one.held) == {1, 2, 3}
    one.in_use = {3}
    bot.rounds(3)
    assert set(one.held) == {3}


@pytest.mark.parametrize(
    ("owner", "name", "old", "new", "test"),
    [
        (module, "_of_ours", "if mine.idle else []", "if True else []", test_a_shard_is_let_go_only_when_nothing_of_it_is_under_way),
        (module, "_of_ours", "(row.holder, row.epoch) != (mine.ownership.holder, mine.ownership.epoch)", "row.holder != mine.ownership.holder", test_what_the_ledger_shows_as_anothers_is_forgotten_and_a_lost_take_is_made_again),
        (HandOver, "_may_be_taken", "return before and", "return", test_one_that_became_a_member_since_the_last_look_is_not_taken_for_gone),
        (HandOver, "_may_be_taken", "row.holder not in self._membership.incarnations()", "True", test_a_shard_is_let_go_only_when_nothing_of_it_is_under_way),
        (HandOver, "steps", " and self._membership.may(Deed.TAKE, now_s)", "", test_who_gave_up_or_is_no_member_takes_nothing_and_keeps_what_it_has),
        (HandOver, "steps", "not wanted and row.holder ==", "False and row.holder ==", test_a_lost_take_of_a_shard_that_is_anothers_by_now_is_let_go),
        (HandOver, "steps", "known.get(key, now_s)", "now_s", test_shards_of_one_that_left_are_taken_at_once_and_of_one_that_died_after_its_lease),
    ],
)  # fmt: skip
def test_each_rule_of_a_hand_over_that_is_broken_is_noticed(owner, name, old, new, test, monkeypatch) -> None:
    """The test of the rule fails without it."""
    monkeypatch.setattr(owner, name, mutated(getattr(owner, name), (old, new)))
    with pytest.raises((AssertionError, KeyError)):
        test()
