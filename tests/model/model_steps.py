"""
Everything that can happen next in a world: blocks, forks, take-overs, crashes, and the tasks' reads, sends and writes.

A task asks the engine: which event an answer establishes (`read_status`), whether evidence proves expiry (`prove_expiry`),
and where an event leads (`next_state`). Only the chain, the ledger's compares and the order of calls are the model's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from model.model_evidence import NULLS, RuleE
from model.model_state import CURRENT, NOBODY, OLD, UNBORN, Attempt, Configuration, Intent, Shard, Task, World

from tradingbot_engine.core import intents as table
from tradingbot_engine.core.intents import TERMINAL, IntentEvent
from tradingbot_engine.domain.intents import IntentState as S

E = IntentEvent
RESOLVED = (S.FAILED, S.ABANDONED, UNBORN)
"""States in which an exit no longer blocks another one of the same position."""


class Step(NamedTuple):
    """One transition; `fair` tells that progress may count on it, `breaks` names a property that the step itself violates."""

    label: str
    world: World
    fair: bool = True
    breaks: str | None = None


class NoSuchRow(Exception):
    """A task asked for a row that the state table lacks: in production a PermanentError, here a bug in table or evidence."""


class Steps:
    """The transition relation of one configuration."""

    def __init__(self, config: Configuration) -> None:
        self.config = config
        self.rule_e = RuleE(told_too_low=config.told_too_low)

    def after(self, world: World) -> list[Step]:
        """Return every transition that leaves `world`."""
        out: list[Step] = []
        self._chain(world, out)
        self._shards(world, out)
        for pod in range(self.config.pods):
            for index in range(len(world.intents)):
                self._task(world, pod, index, out)
        return out

    # --- chain
    def _chain(self, world: World, out: list[Step]) -> None:
        tip, intents = world.tip, world.intents
        if tip < self.config.finality:
            out.append(Step("a block is made", World(tip + 1, world.ghost, world.shards, intents)))
        else:
            out.append(
                Step(
                    "a block is made and one finalized",
                    World(tip, world.ghost, world.shards, _each_attempt(intents, _older)),
                )
            )
        if tip == 0:
            return
        for index, intent in enumerate(intents):
            for kind, attempts in (("attempts", intent.attempts), ("loose", intent.loose)):
                for k, attempt in enumerate(attempts):
                    if not attempt.sent or attempt.landed or tip > attempt.last:
                        continue
                    for sign in (1, -1) if self.config.errors else (1,):
                        landed = (*attempts[:k], attempt._replace(landed=sign * (tip + 1)), *attempts[k + 1 :])
                        label = (
                            f"attempt {k + 1} of intent {index}{' (loose)' if kind == 'loose' else ''} lands at f+{tip}"
                        )
                        after = _put(world, index, intent._replace(**{kind: landed}))
                        out.append(Step(label + ("" if sign > 0 else " with an error"), after))
        for height in range(1, tip + 1):

            def drop(a: Attempt, height: int = height) -> Attempt:
                return a if abs(a.landed) - 1 < height else a._replace(landed=0)

            out.append(
                Step(
                    f"fork: f+{height} and above are replaced",
                    World(height, world.ghost, world.shards, _each_attempt(intents, drop)),
                    False,
                )
            )
            if self.config.ghosts:

                def snapshot(a: Attempt, height: int = height) -> Attempt:
                    shown = (a.landed > 0) - (a.landed < 0)
                    return drop(a, height)._replace(ghost=shown)

                label = f"fork: f+{height} and above are replaced, and a node stays behind on the old ones"
                out.append(Step(label, World(height, 1, world.shards, _each_attempt(intents, snapshot)), False))

    # --- shards
    def _shards(self, world: World, out: list[Step]) -> None:
        config = self.config
        for pod in range(config.pods):
            for j, (holder, beliefs) in enumerate(world.shards):
                if config.one_process:
                    if holder < 0 or not all(beliefs):
                        shard = Shard(0, (CURRENT,) * config.pods)
                        out.append(Step(f"the process takes shard {j}", _put_shard(world, j, shard)))
                    continue
                if holder != pod or beliefs[pod] != CURRENT:
                    others = tuple(CURRENT if q == pod else (OLD if b else NOBODY) for q, b in enumerate(beliefs))
                    after = _put_shard(world, j, Shard(pod, others))
                    mine = {i for i in range(len(world.intents)) if i % config.shards == j}
                    out.append(
                        Step(f"pod {pod} takes shard {j}", after._replace(intents=_forget(after.intents, pod, mine)))
                    )
                if config.releases and beliefs[pod] == CURRENT:
                    free = tuple(OLD if b else NOBODY for b in beliefs)
                    out.append(Step(f"pod {pod} releases shard {j}", _put_shard(world, j, Shard(-1, free))))
            if config.crashes and (
                any(s.beliefs[pod] for s in world.shards) or any(i.tasks[pod] for i in world.intents)
            ):
                shards = tuple(
                    Shard(s.holder, tuple(NOBODY if q == pod else b for q, b in enumerate(s.beliefs)))
                    for s in world.shards
                )
                intents = _forget(world.intents, pod, set(range(len(world.intents))))
                out.append(Step(f"pod {pod} crashes", World(world.tip, world.ghost, shards, intents), False))

    # --- tasks
    def _task(self, world: World, pod: int, index: int, out: list[Step]) -> None:
        shard = index % self.config.shards
        belief = world.shards[shard].beliefs[pod]
        if belief == NOBODY:
            return
        intent = world.intents[index]
        task = intent.tasks[pod]
        who = f"pod {pod}{' (old epoch)' if belief == OLD else ''}: intent {index}:"
        fenced = self.config.compare_epoch and belief != CURRENT
        if not isinstance(task, Task):
            self._start(world, pod, index, who, fenced, belief, out)
            return
        if task.evidence and task.evidence[0] == "event":
            _, event, checked = task.evidence
            if not self.config.lock_shard and self.config.compare_epoch and not fenced and not checked:
                later = task._replace(evidence=("event", event, True))
                out.append(
                    Step(f"{who} compares the epoch, without the row's lock", _put_task(world, pod, index, later))
                )
            self._write(world, pod, index, who, E(event), fenced and not checked, belief, out)
            return
        if table.next_state(S(task.state), E.SIGN) is not None:
            self._sign(world, pod, index, who, fenced, belief, out)
        if not task.evidence and table.next_state(S(task.state), E.ABANDON) is not None:
            self._write(world, pod, index, who, E.ABANDON, fenced, belief, out)
        if task.state in table.LIVE and 0 < task.n <= len(intent.attempts):
            self._follow(world, pod, index, who, fenced, belief, out)
        if not task.evidence and (task.state, task.n) != (intent.state, intent.n):
            fresh: Task | tuple[()] = () if intent.state in TERMINAL else Task(intent.state, intent.n)
            out.append(
                Step(f"{who} reads the row again: {intent.state} {intent.n}", _put_task(world, pod, index, fresh))
            )

    def _start(self, world: World, pod: int, index: int, who: str, fenced: bool, belief: int, out: list[Step]) -> None:
        intent = world.intents[index]
        if intent.state == UNBORN:
            others = (i for k, i in enumerate(world.intents) if k != index)
            blocked = self.config.exits_of_one_position and any(i.state not in RESOLVED for i in others)
            if fenced or (blocked and self.config.claim_checks_open_exit):
                return
            born = intent._replace(state=S.INTENT, tasks=_with(intent.tasks, pod, Task(S.INTENT, 0)))
            out.append(Step(f"{who} claims", _put(world, index, born), True, "P4" if belief == OLD else None))
        elif intent.state not in TERMINAL:
            out.append(
                Step(
                    f"{who} loads {intent.state} {intent.n}", _put_task(world, pod, index, Task(intent.state, intent.n))
                )
            )

    def _sign(self, world: World, pod: int, index: int, who: str, fenced: bool, belief: int, out: list[Step]) -> None:
        intent = world.intents[index]
        task = intent.tasks[pod]
        assert isinstance(task, Task)
        if task.n >= self.config.attempts or len(intent.attempts) > self.config.attempts:
            return
        if task.evidence == ("sent",) and intent.loose:
            self._write(world, pod, index, who, E.SIGN, fenced, belief, out, new=intent.loose[-1], stray=True)
            return
        for base in sorted({0, world.tip}):
            new = Attempt(base + self.config.validity + 1, 0, 0, 0)
            if self.config.journal_before_send:
                self._write(world, pod, index, who, E.SIGN, fenced, belief, out, new=new)
            elif not task.evidence and len(intent.loose) < self.config.attempts:
                eager = intent._replace(
                    loose=(*intent.loose, new._replace(sent=1)),
                    tasks=_with(intent.tasks, pod, task._replace(evidence=("sent",))),
                )
                out.append(Step(f"{who} signs and sends, nothing is journalled", _put(world, index, eager)))

    def _follow(self, world: World, pod: int, index: int, who: str, fenced: bool, belief: int, out: list[Step]) -> None:
        intent = world.intents[index]
        task = intent.tasks[pod]
        assert isinstance(task, Task)
        attempt = intent.attempts[task.n - 1]
        state = S(task.state)
        if not attempt.sent and not attempt.dead:
            sent = (*intent.attempts[: task.n - 1], attempt._replace(sent=1), *intent.attempts[task.n :])
            out.append(Step(f"{who} sends attempt {task.n}", _put(world, index, intent._replace(attempts=sent))))
        if not task.evidence and self.config.submitted and attempt.sent and table.next_state(state, E.SEND) is not None:
            self._write(world, pod, index, who, E.SEND, fenced, belief, out)

        above = 1 - attempt.last  # the finalized height minus L
        past_final, past_tip = above > 0, world.tip - 1 + above > 0
        expirable = table.next_state(state, E.EXPIRE) is not None

        def hold(evidence: tuple[object, ...], label: str, fair: bool) -> None:
            out.append(Step(f"{who} {label}", _put_task(world, pod, index, Task(task.state, task.n, evidence)), fair))

        expired = ("event", E.EXPIRE.value, False)
        readings = (("finalized", min(above, 2)), ("processed", min(world.tip - 1 + above, 2)))
        if not task.evidence and expirable:
            if self.rule_e.gives_up():
                hold(expired, "stops waiting and calls the attempt expired", False)
            for reading in readings:
                if self.rule_e.useful_height(reading):
                    hold(("height", *reading), f"reads {reading[0]} height L{reading[1]:+d}", reading[0] == "finalized")
        if task.evidence and task.evidence[0] == "null":
            _, kind, was_final, was_tip = task.evidence
            for reading in readings:
                if self.rule_e.proves(
                    reading, str(kind), past_final=bool(was_final), past_tip=bool(was_tip), after=False
                ):
                    hold(
                        expired,
                        f"reads {reading[0]} height L{reading[1]:+d} after the status: proven expired",
                        reading[0] == "finalized",
                    )
            hold((), f"asks again about attempt {task.n}", True)
            return
        for answer, fair in _answers(world, attempt):
            event = self.rule_e.establishes(state, answer)
            if event is not None:
                hold(("event", event.value, False), f"is told '{answer}' about attempt {task.n}: {event.value}", fair)
            if not expirable:
                continue
            kind = answer if answer in NULLS else "shown"
            facts = {"past_final": past_final, "past_tip": past_tip}
            if task.evidence:
                _, commitment, distance = task.evidence
                if self.rule_e.proves((commitment, distance), kind, after=True, **facts):  # type: ignore[arg-type]
                    hold(expired, f"is told '{answer}' about attempt {task.n}: proven expired", fair)
            elif self.rule_e.useful_null(kind, **facts):
                hold(
                    ("null", kind, past_final, past_tip),
                    f"is told '{answer}' about attempt {task.n}, before any height",
                    False,
                )

    def _write(
        self, world: World, pod: int, index: int, who: str, event: IntentEvent, fenced: bool, belief: int, out: list[Step],
        *, new: Attempt | None = None, stray: bool = False,
    ) -> None:  # fmt: skip
        """The ledger's transaction: fence, compare, then the engine's own table says where the row goes."""
        intent = world.intents[index]
        task = intent.tasks[pod]
        assert isinstance(task, Task)
        if fenced:
            shard = index % self.config.shards
            row = world.shards[shard]
            beliefs = tuple(NOBODY if q == pod else b for q, b in enumerate(row.beliefs))
            stopped = _put_shard(_put_task(world, pod, index, ()), shard, Shard(row.holder, beliefs))
            out.append(Step(f"{who} {event.value}: fenced", stopped))
            return
        same = (not self.config.compare_state or intent.state == task.state) and (
            not self.config.compare_attempt or intent.n == task.n
        )
        if not same:
            out.append(Step(f"{who} {event.value}: 0 rows, reads again", _put_task(world, pod, index, ())))
            return
        after = table.next_state(S(task.state), event)
        if after is None:
            raise NoSuchRow(f"{task.state} has no row for {event}")
        attempts, n = intent.attempts, intent.n
        if new is not None:
            attempts, n = (*attempts, new), len(attempts) + 1
        written = Intent(
            after,
            n,
            attempts,
            _with(intent.tasks, pod, () if after in TERMINAL else Task(after, n)),
            intent.loose[:-1] if stray else intent.loose,
        )
        label = f"{who} {event.value}: {intent.state} {intent.n} -> {after} {n}"
        out.append(Step(label, _put(world, index, written), True, "P4" if belief == OLD else None))


def _answers(world: World, attempt: Attempt) -> list[tuple[str, bool]]:
    """Return (answer, whether progress may count on it) for what nodes may say about an attempt now."""
    outcome = "ok" if attempt.landed > 0 else "error"
    height = abs(attempt.landed) - 1
    if height in (-1, world.tip):  # the newest block that any node has is the one before the tip
        out = [("tip", True)]
    elif attempt.final:
        out = [(f"finalized {outcome}", True), (f"confirmed {outcome}", False)]
    else:
        out = [(f"confirmed {outcome}", True), (f"processed {outcome}", False)]
    out.append(("old", False))
    if world.ghost:
        shown = {0: "ghost", 1: "confirmed ok", -1: "confirmed error"}[attempt.ghost]
        out.append((shown, False))
    if attempt.last < 1:
        out += [("forgot", False), ("short", False), ("hole", False), ("lost", False)]
    out.append(("foreign", False))
    return out


def _older(attempt: Attempt) -> Attempt:
    """One more block became final, so every height is one lower."""
    landed = attempt.landed
    if landed and not attempt.final:
        landed += -1 if landed > 0 else 1
    return Attempt(max(attempt.last - 1, -1), attempt.sent, landed, attempt.ghost)


def _each_attempt(intents: tuple[Intent, ...], change: Callable[[Attempt], Attempt]) -> tuple[Intent, ...]:
    return tuple(
        Intent(i.state, i.n, tuple(map(change, i.attempts)), i.tasks, tuple(map(change, i.loose)) if i.loose else ())
        for i in intents
    )


def _forget(intents: tuple[Intent, ...], pod: int, which: set[int]) -> tuple[Intent, ...]:
    return tuple(
        Intent(i.state, i.n, i.attempts, _with(i.tasks, pod, ()), i.loose) if k in which and i.tasks[pod] else i
        for k, i in enumerate(intents)
    )


def _with(tasks: tuple[Task | tuple[()], ...], pod: int, task: Task | tuple[()]) -> tuple[Task | tuple[()], ...]:
    return (*tasks[:pod], task, *tasks[pod + 1 :])


def _put(world: World, index: int, intent: Intent) -> World:
    return World(world.tip, world.ghost, world.shards, (*world.intents[:index], intent, *world.intents[index + 1 :]))


def _put_task(world: World, pod: int, index: int, task: Task | tuple[()]) -> World:
    intent = world.intents[index]
    tasks = _with(intent.tasks, pod, task)
    return _put(world, index, Intent(intent.state, intent.n, intent.attempts, tasks, intent.loose))


def _put_shard(world: World, index: int, shard: Shard) -> World:
    shards = (*world.shards[:index], shard, *world.shards[index + 1 :])
    return World(world.tip, world.ghost, shards, world.intents)
