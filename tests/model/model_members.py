"""
A second world beside the chain's: members that come and go, shards that change hands, claims under limits of the whole bot.

Here the chain tells the truth and an intent has one attempt; what nodes may lie about is `model_steps`' matter. There is no clock: a
lease that ends too early or too late is a take-over at any time, a stopped process is one that is not scheduled. The engine's own
state table says where an event leads, and its own hashing whose a shard should be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from model.model_state import UNBORN
from model.model_steps import Step

from tradingbot_engine.cluster.shares import owners
from tradingbot_engine.core import intents as table
from tradingbot_engine.core.intents import TERMINAL, IntentEvent
from tradingbot_engine.domain.intents import IntentState as S

E = IntentEvent
BOT = "0" * 32
FREE, DEAD = -1, -2
"""Holders that are no process: nobody, and one that has crashed."""
CURRENT, OLD, ALIKE = 0, 1, 2
"""What an epoch that was read is now: the newest one's, an older one, or (a mutant) the same number, but of an earlier owner."""
OUT, IN, LEAVING = 0, 1, 2
TAKEN, LOADED, SERVING, STOPPING = 0, 1, 2, 3
"""A shard's way through its owner: open intents not read yet, being resolved, signals taken, none taken any more."""
UNKNOWN, LANDED, EXPIRED = 0, 1, 2
EPOCHS, OUTCOMES = ("", " (old epoch)", " (an epoch of the same number)"), ("?", "landed", "expired")

MEANING = {
    "P4": "a row was written by a task whose epoch or holder was no longer the shard's",
    "P5": "stuck: no fair continuation settles every intent and gives every shard to its owner of choice",
    "P6": "a signal was taken before what the owner before had left open was resolved",
    "P8": "a shard was handed over although something of it was under way",
    "P9": "more open intents than the bot may have",
}


class Hold(NamedTuple):
    """What a pod believes of a shard that it took."""

    epoch: int
    phase: int


class Task(NamedTuple):
    """What a task read, under which epoch, and whether it knows by now what became of the attempt."""

    state: str
    epoch: int
    knows: bool = False


class Intent(NamedTuple):
    """The ledger's row, what the chain made of its attempt, and who works on it."""

    shard: int = -1
    state: str = UNBORN
    outcome: int = UNKNOWN
    inherited: bool = False
    """Claimed by an owner before the present one."""
    listed: tuple[bool, ...] = ()
    """Which pods have it on their list of what is to be resolved before the first signal."""
    tasks: tuple[Task | tuple[()], ...] = ()

    @property
    def open(self) -> bool:
        return self.state != UNBORN and self.state not in TERMINAL


class World(NamedTuple):
    """Members by pod, holders by shard (the ledger's rows), holds by pod and shard, intents."""

    members: tuple[int, ...]
    holders: tuple[int, ...]
    holds: tuple[tuple[Hold | tuple[()], ...], ...]
    taking: tuple[int, ...]
    """The shard whose open intents each pod has listed before it took it (a mutant); -1: none."""
    intents: tuple[Intent, ...]


@dataclass(frozen=True)
class MembersWorld:
    """How large the world is, and which rules are in force; see `model_explore.Model`."""

    pods: int = 2
    shards: int = 2
    intents: int = 2
    most_open: int = 1
    """Limit of the whole bot."""
    crashes: bool = True
    zombies: bool = True
    """Records expire of processes that only sleep, and believe on waking up what they believed."""
    early: bool = True
    """Pods may believe too early that another one is gone, or that a shard is theirs."""
    # --- rules, each removable
    raise_epoch: bool = True
    compare_epoch: bool = True
    compare_holder: bool = True
    claim_compares_epoch: bool = True
    retake_ends_tasks: bool = True
    tasks_carry_their_epoch: bool = True
    release_ends_tasks: bool = True
    hand_over_when_idle: bool = True
    load_after_take: bool = True
    resolve_first: bool = True
    limits_of_the_bot: bool = True
    restart_takes_anew: bool = True
    dead_holders_are_followed: bool = True
    stray_rows_are_freed: bool = True

    def born(self) -> World:
        """Return the first world: nobody is a member, all shards are free, no signal was seen."""
        nothing: tuple[tuple[()], ...] = ((),) * self.shards
        intent = Intent(listed=(False,) * self.pods, tasks=((),) * self.pods)
        return World(
            (OUT,) * self.pods,
            (FREE,) * self.shards,
            (nothing,) * self.pods,
            (-1,) * self.pods,
            (intent,) * self.intents,
        )

    def broken(self, world: World) -> list[str]:
        """Return the properties that this world violates by itself."""
        return ["P9"] if sum(i.open for i in world.intents) > self.most_open else []

    def settled(self, world: World) -> bool:
        """Tell whether nothing is open and every shard's owner of choice serves it."""
        if any(i.open for i in world.intents) or IN not in world.members:
            return False
        choice = self.choice(world)
        return all(
            holder == choice[j] and world.holds[holder][j] == (CURRENT, SERVING)
            for j, holder in enumerate(world.holders)
        )

    def outcomes(self, world: World) -> set[tuple[str, int]]:
        """Return the ends that intents have come to."""
        return {(i.state, 1) for i in world.intents if i.state in TERMINAL}

    def choice(self, world: World) -> tuple[int, ...]:
        """Return each shard's owner of choice; -1 where there is no member."""
        return _choice(self.shards, tuple(p for p, m in enumerate(world.members) if m == IN))

    def canonical(self, world: World) -> World:
        """Return the representative of worlds that differ only in names, or in what cannot matter any more."""
        found = self._ordered(world)
        # Two shards of two members are dealt out one each, so that both may change names together.
        if self.pods == self.shards == 2:
            found = min(found, self._ordered(_flipped(found)))
        return found

    def _ordered(self, world: World) -> World:
        listing = tuple(
            tuple(world.taking[p] == j or (bool(h) and h == (CURRENT, LOADED)) for p, h in enumerate(column))
            for j, column in enumerate(zip(*world.holds, strict=True))
        )
        intents = tuple(sorted(_plain(i, listing[i.shard] if i.shard >= 0 else ()) for i in world.intents))
        return world._replace(intents=intents)

    # --- steps
    def after(self, world: World) -> list[Step]:
        """Return every transition that leaves `world`."""
        out: list[Step] = []
        for k, intent in enumerate(world.intents):
            if intent.state == S.SIGNED and intent.outcome == UNKNOWN:
                out += [
                    _step(f"intent {k} {OUTCOMES[outcome]}", _put(world, k, intent._replace(outcome=outcome)))
                    for outcome in (LANDED, EXPIRED)
                ]
        for pod in range(self.pods):
            self._member(world, pod, out)
            for shard in range(self.shards):
                self._ownership(world, pod, shard, out)
                if world.holds[pod][shard]:
                    self._serve(world, pod, shard, out)
            for k, intent in enumerate(world.intents):
                if intent.tasks[pod]:
                    self._task(world, pod, k, out)
        return out

    def _member(self, world: World, pod: int, out: list[Step]) -> None:
        def become(what: int) -> World:
            return world._replace(members=_with(world.members, pod, what))

        match world.members[pod]:
            case 0:  # OUT
                out.append(_step(f"pod {pod} becomes a member", become(IN)))
            case 1:  # IN
                out.append(_step(f"pod {pod} drains", become(LEAVING), fair=False))
                if self.zombies:
                    out.append(_step(f"pod {pod} loses its record", become(OUT), fair=False))
            case _ if not any(world.holds[pod]):
                out.append(_step(f"pod {pod} lets its record go", become(OUT)))
        if self.crashes and (any(world.holds[pod]) or any(i.tasks[pod] for i in world.intents)):
            holders = tuple(DEAD if h == pod and self.restart_takes_anew else h for h in world.holders)
            gone = become(OUT)._replace(
                holders=holders,
                holds=_with(world.holds, pod, ((),) * self.shards),
                taking=_with(world.taking, pod, -1),
                intents=tuple(
                    i._replace(tasks=_with(i.tasks, pod, ()), listed=_with(i.listed, pod, False)) for i in world.intents
                ),
            )
            out.append(_step(f"pod {pod} crashes", gone, fair=False))

    def _ownership(self, world: World, pod: int, shard: int, out: list[Step]) -> None:
        holder, hold = world.holders[shard], world.holds[pod][shard]
        ours = self.choice(world)[shard] == pod
        gone = holder == DEAD or (holder >= 0 and holder != pod and world.members[holder] == OUT)
        fair = ours and (holder in (FREE, pod) or (gone and self.dead_holders_are_followed))
        if (fair or self.early) and not (holder == pod and hold and hold.epoch == CURRENT):
            if self.load_after_take:
                out.append(_step(f"pod {pod} takes shard {shard}", self._taken(world, pod, shard), fair=fair))
            elif world.taking[pod] == shard:
                taken = self._taken(world, pod, shard)._replace(taking=_with(world.taking, pod, -1))
                loaded = _hold(taken, pod, shard, Hold(CURRENT, LOADED))
                out.append(_step(f"pod {pod} takes shard {shard}, with its list", loaded, fair=fair))
            elif world.taking[pod] < 0:
                begun = self._listed(world, pod, shard)._replace(taking=_with(world.taking, pod, shard))
                out.append(_step(f"pod {pod} begins to take shard {shard}: lists what is open", begun, fair=fair))
        if not self.restart_takes_anew and holder >= 0 and not hold:
            adopted = _hold(_aged(world, shard, ALIKE), pod, shard, Hold(CURRENT, TAKEN))
            out.append(_step(f"pod {pod}, by the same name, goes on with shard {shard}", adopted))
        if holder == pod and not hold and self.stray_rows_are_freed:
            free = world._replace(holders=_with(world.holders, shard, FREE))
            out.append(_step(f"pod {pod} frees shard {shard}, which it does not know to be its own", free))
        if hold and (hold.epoch != CURRENT or holder != pod) and self.restart_takes_anew:
            ended = _end_tasks(_hold(world, pod, shard, ()), pod, shard)
            out.append(_step(f"pod {pod} sees that shard {shard} is another's", ended))

    def _taken(self, world: World, pod: int, shard: int) -> World:
        """The compare-and-set: a new epoch, and what others read of the shard is old from now on."""
        if self.retake_ends_tasks:
            world = _end_tasks(world, pod, shard)
        world = _aged(world, shard, OLD if self.raise_epoch else ALIKE)
        world = world._replace(
            holders=_with(world.holders, shard, pod),
            intents=tuple(i._replace(inherited=True) if i.shard == shard and i.open else i for i in world.intents),
        )
        return _hold(world, pod, shard, Hold(CURRENT, TAKEN))

    def _listed(self, world: World, pod: int, shard: int) -> World:
        """Put the shard's open intents on the pod's list."""
        return world._replace(
            intents=tuple(
                i._replace(listed=_with(i.listed, pod, True)) if i.shard == shard and i.open else i
                for i in world.intents
            )
        )

    def _serve(self, world: World, pod: int, shard: int, out: list[Step]) -> None:
        hold = world.holds[pod][shard]
        assert isinstance(hold, Hold)
        mine = [i for i in world.intents if i.shard == shard]
        resolved = not any(i.open and i.listed[pod] for i in mine)
        wanted = self.choice(world)[shard] == pod and world.members[pod] == IN
        match hold.phase:
            case 0:  # TAKEN
                loaded = _hold(self._listed(world, pod, shard), pod, shard, hold._replace(phase=LOADED))
                out.append(_step(f"pod {pod} lists what is open of shard {shard}", loaded))
                return
            case 1:  # LOADED
                if resolved or not self.resolve_first:
                    serving = _hold(world, pod, shard, hold._replace(phase=SERVING))
                    out.append(_step(f"pod {pod} serves shard {shard}", serving))
            case 2:  # SERVING
                self._claim(world, pod, shard, hold, out)
        if hold.phase != STOPPING and (not wanted or self.early):
            stopping = _hold(world, pod, shard, hold._replace(phase=STOPPING))
            out.append(_step(f"pod {pod} takes no more signals of shard {shard}", stopping, fair=not wanted))
        if hold.phase == STOPPING and (hold.epoch, world.holders[shard]) == (CURRENT, pod):
            idle = not any(i.open for i in mine)
            timeout = world.members[pod] == LEAVING  # what is left is the next owner's
            if idle or timeout or not self.hand_over_when_idle:
                free = _hold(world._replace(holders=_with(world.holders, shard, FREE)), pod, shard, ())
                if self.release_ends_tasks:
                    free = _end_tasks(free, pod, shard)
                bad = None if idle or timeout else "P8"
                out.append(_step(f"pod {pod} releases shard {shard}", free, fair=idle, breaks=bad))
        for k, intent in enumerate(world.intents):
            if intent.shard == shard and intent.open and not intent.tasks[pod]:
                task = Task(intent.state, hold.epoch)
                out.append(_step(f"pod {pod} reads intent {k}: {intent.state}", _put_task(world, k, pod, task)))

    def _claim(self, world: World, pod: int, shard: int, hold: Hold, out: list[Step]) -> None:
        unborn = next((k for k, i in enumerate(world.intents) if i.state == UNBORN), None)
        if unborn is None:
            return
        who = f"pod {pod} claims intent {unborn} on shard {shard}"
        if not self._passes(world, pod, shard, hold.epoch) and self.claim_compares_epoch:
            out.append(_step(f"{who}: fenced", _end_tasks(_hold(world, pod, shard, ()), pod, shard)))
            return
        counted = [i for i in world.intents if i.open and (self.limits_of_the_bot or world.holds[pod][i.shard])]
        if len(counted) >= self.most_open:
            return
        born = world.intents[unborn]._replace(
            shard=shard, state=S.INTENT, tasks=_with(born_tasks(self.pods), pod, Task(S.INTENT, hold.epoch))
        )
        left = any(i.open and i.inherited and i.shard == shard for i in world.intents)
        bad = "P4" if (hold.epoch, world.holders[shard]) != (CURRENT, pod) else "P6" if left else None
        if bad == "P4" and not self.restart_takes_anew and hold.epoch == CURRENT:
            bad = "P6" if left else None  # by the same name it is the holder, and the newest to be
        out.append(_step(who, _put(world, unborn, born), breaks=bad, fair=False))

    def _passes(self, world: World, pod: int, shard: int, epoch: int) -> bool:
        """The fence of every write: who holds the shard, and under which epoch."""
        named = not self.restart_takes_anew and world.holders[shard] >= 0
        holder = named or world.holders[shard] == pod or not self.compare_holder
        return holder and (epoch != OLD or not self.compare_epoch)

    def _task(self, world: World, pod: int, k: int, out: list[Step]) -> None:
        intent = world.intents[k]
        task = intent.tasks[pod]
        assert isinstance(task, Task)
        who = f"pod {pod}{EPOCHS[task.epoch]}: intent {k}:"
        if task.state == S.SIGNED and not task.knows:
            if intent.outcome != UNKNOWN:
                out.append(
                    _step(
                        f"{who} is told {OUTCOMES[intent.outcome]}", _put_task(world, k, pod, task._replace(knows=True))
                    )
                )
            return
        told = E.FINALIZE if intent.outcome == LANDED else E.EXPIRE
        events = {S.INTENT: (E.SIGN, E.ABANDON), S.SIGNED: (told,), S.EXPIRED: (E.ABANDON,)}[S(task.state)]
        for event in events:
            self._write(world, pod, k, task, event, who, out)

    def _write(
        self, world: World, pod: int, k: int, task: Task, event: IntentEvent, who: str, out: list[Step]
    ) -> None:  # fmt: skip
        intent = world.intents[k]
        hold = world.holds[pod][intent.shard]
        epoch = task.epoch if self.tasks_carry_their_epoch or not hold else hold.epoch
        if not self._passes(world, pod, intent.shard, epoch):
            ended = _end_tasks(_hold(world, pod, intent.shard, ()), pod, intent.shard)
            out.append(_step(f"{who} {event.value}: fenced", ended))
            return
        if intent.state != task.state:
            out.append(_step(f"{who} {event.value}: 0 rows, reads again", _put_task(world, k, pod, ())))
            return
        after = table.next_state(S(task.state), event)
        assert after is not None, f"{task.state} has no row for {event}"
        held = world.holders[intent.shard] == pod or not self.restart_takes_anew
        bad = None if held and task.epoch == CURRENT else "P4"
        tasks = _with(intent.tasks, pod, () if after in TERMINAL else Task(after, task.epoch))
        written = _put(world, k, intent._replace(state=after, tasks=tasks))
        out.append(_step(f"{who} {event.value}: {intent.state} -> {after}", written, breaks=bad))


@cache
def _choice(shards: int, members: tuple[int, ...]) -> tuple[int, ...]:
    found = owners(BOT, range(shards), [f"member-{pod}" for pod in members])
    return tuple(int(found[j].removeprefix("member-")) if found else -1 for j in range(shards))


def born_tasks(pods: int) -> tuple[Task | tuple[()], ...]:
    """Return that nobody works on it."""
    return ((),) * pods


def _step(label: str, world: World, *, fair: bool = True, breaks: str | None = None) -> Step:
    return Step(label, world, fair, breaks)  # type: ignore[arg-type]


def _with(items: tuple, place: int, item: object) -> tuple:  # type: ignore[type-arg]
    return (*items[:place], item, *items[place + 1 :])


def _put(world: World, k: int, intent: Intent) -> World:
    return world._replace(intents=_with(world.intents, k, intent))


def _put_task(world: World, k: int, pod: int, task: Task | tuple[()]) -> World:
    intent = world.intents[k]
    return _put(world, k, intent._replace(tasks=_with(intent.tasks, pod, task)))


def _hold(world: World, pod: int, shard: int, hold: Hold | tuple[()]) -> World:
    return world._replace(holds=_with(world.holds, pod, _with(world.holds[pod], shard, hold)))


def _end_tasks(world: World, pod: int, shard: int) -> World:
    """A process ends its own tasks of a shard."""
    return world._replace(
        intents=tuple(
            i._replace(tasks=_with(i.tasks, pod, ()), listed=_with(i.listed, pod, False)) if i.shard == shard else i
            for i in world.intents
        )
    )


def _aged(world: World, shard: int, to: int) -> World:
    """What was read of the shard under the epoch that was current is old from now on."""
    return world._replace(
        holds=tuple(
            tuple(_aged_hold(h, to) if j == shard and h else h for j, h in enumerate(holds)) for holds in world.holds
        ),
        intents=tuple(
            i._replace(tasks=tuple(t._replace(epoch=to) if t and t[1] == CURRENT else t for t in i.tasks))  # type: ignore[union-attr]
            if i.shard == shard
            else i
            for i in world.intents
        ),
    )


def _aged_hold(hold: Hold | tuple[()], to: int) -> Hold | tuple[()]:
    """How far an owner came that is none any more makes no difference: it might as well serve, without having been scheduled since."""
    if not isinstance(hold, Hold) or hold.epoch != CURRENT:
        return hold
    return Hold(to, SERVING if to == OLD and hold.phase < SERVING else hold.phase)


@cache
def _plain(intent: Intent, listing: tuple[bool, ...]) -> Intent:
    """
    Return an intent without what cannot matter any more.

    Args:
        listing: Which pods still look at their lists of its shard.
    """
    pods = len(intent.tasks)
    if intent.state in TERMINAL:
        # Who still believes in an older state finds 0 rows, whatever it was: not worth telling apart.
        return Intent(state=S.DONE, listed=(False,) * pods, tasks=((),) * pods)
    listed = tuple(a and b for a, b in zip(intent.listed, listing, strict=True)) if listing else intent.listed
    return intent._replace(listed=listed)


def _flipped(world: World) -> World:
    """Return the world with both pods and both shards renamed."""
    return World(
        world.members[::-1],
        tuple(h if h < 0 else 1 - h for h in world.holders[::-1]),
        tuple(holds[::-1] for holds in world.holds[::-1]),
        tuple(t if t < 0 else 1 - t for t in world.taking[::-1]),
        tuple(
            i._replace(shard=i.shard if i.shard < 0 else 1 - i.shard, listed=i.listed[::-1], tasks=i.tasks[::-1])
            for i in world.intents
        ),
    )
