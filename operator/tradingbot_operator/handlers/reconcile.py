"""
One pass over one bot: observe → plan → carry out → report.

The same function runs when a bot is made, changed or deleted, when one of its children changes, when an engine has something
new to say, when the operator starts, and every now and then. It knows of no event: only of what there is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tradingbot_operator.clock import Clock
from tradingbot_operator.desired.names import Names
from tradingbot_operator.engine_port import EnginePort
from tradingbot_operator.engines import Engines
from tradingbot_operator.handlers.carry_out import Outcome, ToEngine, carry_out
from tradingbot_operator.handlers.events import Events, changes
from tradingbot_operator.handlers.lookups import Lookups
from tradingbot_operator.handlers.wanted import Sound, Wants, localnet_in, shape_of
from tradingbot_operator.handlers.work import Again, Cause
from tradingbot_operator.kube.errors import Conflict, KubeError, NotFound
from tradingbot_operator.kube.gateway import Gateway, Object
from tradingbot_operator.kube.kinds import CLAIM, TRADING_BOT
from tradingbot_operator.kube.store import Key, Store
from tradingbot_operator.metrics import Metrics
from tradingbot_operator.observed import FINALIZER, Observed, Pod, children_of, pods_of
from tradingbot_operator.plan import plan
from tradingbot_operator.rollout import Trouble
from tradingbot_operator.status.numbers import LIVE, numbers
from tradingbot_operator.status.report import conditions, effective, merged, phase
from tradingbot_operator.steps import Invalid, Make, Step, Wait, Wanted, is_settle

LASTING = 3
"""Passes in a row that must fail before trouble that passes by itself is told."""
DRAINING_S = 1.0
"""How often a bot that is being deleted is looked at, beside everything that wakes it."""
MISSING_S = 5.0
"""How often a missing Secret is looked for; Secrets are not watched."""


@dataclass
class _Memory:
    """What is worth remembering of a bot between passes; losing it costs a request or two, and nothing else."""

    marks: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    numbers_at_s: float | None = None
    seen_generation: int = -1
    seen_at_s: float = 0.0
    namespace_ends: bool = False
    """Its namespace refused an object for being deleted. No namespace comes back: one of the same name has other bots in it."""
    uid: str = ""


class Reconciler:
    """Everything a pass needs."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        store: Store,
        wants: Wants,
        lookups: Lookups,
        engines: Engines,
        port: EnginePort,
        events: Events,
        metrics: Metrics,
        clock: Clock,
        leads: Callable[[], bool],
        failures: Callable[[Key], int],
        wake: Callable[[Key], None],
        wrote: Callable[[Key, Cause], None],
        idle: Callable[[Key], None],
        woken_ago_s: Callable[[Key], float],
        numbers_every_s: float,
    ) -> None:
        self._gateway, self._store, self._wants, self._lookups = gateway, store, wants, lookups
        self._engines, self._port, self._events, self._metrics = engines, port, events, metrics
        self._clock, self._leads, self._failures, self._wake = clock, leads, failures, wake
        self._wrote, self._idle, self._woken_ago_s = wrote, idle, woken_ago_s
        self._numbers_every_s = numbers_every_s
        self._memory: dict[Key, _Memory] = {}
        self._shapes: dict[Key, object] = {}

    async def run(self, key: Key) -> float | None:
        """
        Do one pass; return in how many seconds the next is due.

        Raises:
            Again: Something was not as expected, or did not succeed; the same pass soon.
        """
        if not self._leads():
            return None  # another operator acts; a change of that wakes every bot
        began_s = self._clock.monotonic_s()
        outcome = "failed"
        try:
            after_s = await self._pass(key)
            outcome = "done"
        except Again:
            outcome = "again"
            raise
        finally:
            self._metrics.passes.labels(outcome).observe(self._clock.monotonic_s() - began_s)
        return after_s

    async def _pass(self, key: Key) -> float | None:
        stored = self._store.bot(key)
        if stored is None:
            return await self._gone(key)
        memory = self._remembered(key, stored.uid)
        try:
            observed, wanted = await self.observe(key, stored.body, memory)
        except KubeError as error:
            return await self._unobserved(key, stored.body, error)
        if memory.seen_generation != observed.generation:
            memory.seen_generation = observed.generation
            memory.seen_at_s = self._clock.monotonic_s() - self._woken_ago_s(key)
        serving = {pod.uid: pod.address for pod in observed.pods if pod.serves and pod.address}
        self._engines.watch(key, serving, self._lookups.token(key))
        if any(pod.ready and observed.said[pod.uid].error for pod in observed.pods if pod.uid in observed.said):
            self._engines.hurry(key)  # it became ready since it was asked
        steps = plan(observed, wanted)
        outcome = await carry_out(
            steps,
            observed,
            gateway=self._gateway,
            port=self._port,
            token=self._lookups.token(key),
            idle=partial(self._idle, key),
        )
        self._remember(key, memory, steps, outcome, observed.pods)
        if outcome.released:
            return None
        await self._report(key, memory, observed, wanted, steps, self._failed(key, outcome))
        if not outcome.clean:
            raise Again("; ".join([*outcome.again, *outcome.passing, *(str(f) for f in outcome.failures)]))
        return self._next_s(observed, steps)

    def _remembered(self, key: Key, uid: str) -> _Memory:
        """Return what is known of this very bot; of an earlier one of its name nothing holds any more."""
        memory = self._memory.get(key)
        if memory is None or memory.uid != uid:
            if memory is not None:
                self._wants.forget(memory.uid)
                self._lookups.forget(key)
            memory = self._memory[key] = _Memory(uid=uid)
        return memory

    # --- observe
    async def observe(self, key: Key, bot: Object, memory: _Memory | None = None) -> tuple[Observed, Wanted | Invalid]:
        """Return what there is and what should be; raise KubeError if a Secret cannot be looked up."""
        verdict = self._wants.verdict(bot)
        peers = self._peers(key[0], verdict.localnet) if isinstance(verdict, Sound) and verdict.localnet else ()
        wanted = self._wants.wanted(verdict, peers) if isinstance(verdict, Sound) else verdict
        deleting = "deletionTimestamp" in bot["metadata"]
        said = self._engines.said(key)
        if any("HTTP 401" in answer.error for answer in said.values()):
            self._lookups.forget(key)  # the token was made anew
        names = [*wanted.secrets] if isinstance(wanted, Wanted) else [Names(key[1]).admin_token]
        names += [Names(key[1]).settle] if deleting else []
        localnet = verdict.localnet if isinstance(verdict, Sound) else None
        stored = self._store.children(key)
        if not (stored or deleting or FINALIZER in (bot["metadata"].get("finalizers") or ())):
            names = []  # a new bot has none; and one of an earlier bot of its name is found when it is to be made
        return (
            Observed(
                now=self._clock.now(),
                bot=bot,
                children=children_of(stored),
                localnet=children_of(self._store.localnet(key[0], localnet)) if localnet else {},
                localnet_users=self._users(key[0], localnet) if deleting and localnet else frozenset(),
                pods=pods_of(stored),
                said=said,
                secrets=await self._lookups.own(key, names),
                missing=await self._lookups.missing(key, verdict.references)
                if isinstance(verdict, Sound) and not deleting
                else (),
                namespace_ends=memory is not None and memory.namespace_ends,
                confirmed=memory.marks if memory else {},
            ),
            wanted,
        )

    def _peers(self, namespace: str, localnet: str) -> tuple[Sound, ...]:
        """Return the bots of a namespace that trade on a localnet; one that is being deleted needs it to its end."""
        stored = self._store.bots(namespace)
        verdicts = (self._wants.verdict_on(bot) for bot in stored)
        peers = tuple(verdict for verdict in verdicts if isinstance(verdict, Sound) and verdict.localnet == localnet)
        shape = shape_of(peers) if peers else None
        if self._shapes.get((namespace, localnet), shape) != shape:
            for peer in peers:
                self._wake((namespace, peer.bot.name))
        self._shapes[namespace, localnet] = shape
        return peers

    def _users(self, namespace: str, localnet: str) -> frozenset[str]:
        """Return the bots that may have an engine on a localnet, those with a wrong manifest included."""
        return frozenset(bot.name for bot in self._store.bots(namespace) if localnet_in(bot.body) == localnet)

    async def _unobserved(self, key: Key, bot: Object, error: KubeError) -> float | None:
        """Not even the Secrets can be read: say so if it lasts."""
        if not error.passes_by_itself:
            known = (bot.get("status") or {}).get("conditions") or []
            now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            generation = int(bot["metadata"].get("generation") or 0)
            condition = {
                "type": "Degraded", "status": "True", "observedGeneration": generation, "lastTransitionTime": now,
                "reason": "Forbidden", "message": f"{error}\nTo do: install the chart's RBAC",
            }  # fmt: skip
            rest = [c for c in known if c.get("type") != "Degraded"]
            old: dict[str, Any] = next((c for c in known if c.get("type") == "Degraded"), {})
            if old.get("status") == "True":
                condition["lastTransitionTime"] = old.get("lastTransitionTime", now)
            status = {**(bot.get("status") or {}), "observedGeneration": generation, "phase": "Degraded"}
            await self._write(key, bot, {**status, "conditions": [*rest, condition]})
        raise Again(str(error))

    # --- after the steps
    def _remember(
        self, key: Key, memory: _Memory, steps: Sequence[Step], outcome: Outcome, pods: Sequence[Pod]
    ) -> None:
        for step in steps:
            self._metrics.steps.labels(type(step).__name__).inc()
        for body in outcome.written:
            self._keep(key, body)
        for body in outcome.made:
            self._lookups.made(key, body)
        for child, mark in outcome.marks.items():
            memory.marks.pop(child, None)
            if mark is not None:
                memory.marks[child] = mark
        memory.namespace_ends |= outcome.namespace_ends
        if any(isinstance(step, ToEngine) for step in steps):
            self._engines.hurry(key)
        makes = sum(isinstance(step, Make) for step in steps)
        if len(outcome.made) < makes or (makes and pods):
            self._wake(key)  # to read what was there already; to ask engines, whose token is known only now

    def _keep(self, key: Key, body: Object) -> None:
        """Keep an answer to a write of ours; the watch tells of it, too, and that is no reason for another pass."""
        self._store.put(body)
        self._wrote(key, (body["metadata"]["uid"], body["metadata"]["resourceVersion"]))

    def _failed(self, key: Key, outcome: Outcome) -> list[Trouble]:
        lasting = outcome.passing if self._failures(key) + 1 >= LASTING else []
        return [
            *outcome.failures,
            *(Trouble("ApiUnavailable", text) for text in lasting if not text.startswith("Pod ")),
        ]

    async def _report(
        self,
        key: Key,
        memory: _Memory,
        observed: Observed,
        wanted: Wanted | Invalid,
        steps: Sequence[Step],
        failures: Sequence[Trouble],
    ) -> None:
        found = conditions(observed, wanted, steps, failures)
        now = observed.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        status: dict[str, Any] = {
            "observedGeneration": observed.generation,
            "phase": phase(found),
            "conditions": merged(found, observed.status, generation=observed.generation, now=now),
            **numbers(
                observed,
                selector=wanted.selector if isinstance(wanted, Wanted) else str(observed.status.get("selector") or ""),
            ),
        }
        verdict = self._wants.verdict(observed.bot)
        if isinstance(verdict, Sound):
            status["effective"] = effective(verdict.bot.spec)
        elif "effective" in observed.status:
            status["effective"] = observed.status["effective"]
        self._metrics.conditions(key, {c.type: c.status for c in found})
        now_s = self._clock.monotonic_s()
        if memory.numbers_at_s is not None and now_s - memory.numbers_at_s < self._numbers_every_s:
            held = {name: observed.status[name] for name in LIVE if name in observed.status}
            status = {name: value for name, value in status.items() if name not in LIVE} | held
        if status == observed.status:
            return
        if any(status.get(name) != observed.status.get(name) for name in LIVE):
            memory.numbers_at_s = now_s
        await self._write(key, observed.bot, status)
        if observed.status.get("observedGeneration") != observed.generation:
            self._metrics.observed.observe(self._clock.monotonic_s() - memory.seen_at_s)
        for condition in changes(observed.status, status["conditions"]):
            await self._events.post(observed.bot, condition)

    async def _write(self, key: Key, bot: Object, status: Mapping[str, Any]) -> None:
        meta = bot["metadata"]
        body = {
            "apiVersion": TRADING_BOT.api_version,
            "kind": TRADING_BOT.name,
            "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
            "status": status,
        }
        try:
            self._keep(key, await self._gateway.apply_status(body))
        except (NotFound, Conflict):
            return  # it is gone, or another one has taken its name: the watch tells
        except KubeError as error:
            raise Again(str(error)) from None

    def _next_s(self, observed: Observed, steps: Sequence[Step]) -> float | None:
        if observed.deleting:
            return DRAINING_S
        if any(isinstance(step, Wait) and step.reason == "SecretMissing" for step in steps) or observed.missing:
            return MISSING_S
        return self._numbers_every_s if observed.engines else None

    async def _gone(self, key: Key) -> float | None:
        """The bot is gone: forget it, and remove what has no owner to go with and serves nobody."""
        self._engines.forget(key)
        self._lookups.forget(key)
        memory = self._memory.pop(key, None)
        if memory is not None:
            self._wants.forget(memory.uid)
            self._metrics.forget(key)
        left = [child for child in children_of(self._store.children(key)).values() if is_settle(child)]
        for namespace, name in self._store.localnets():
            if namespace != key[0]:
                continue
            users = self._users(namespace, name)
            for user in sorted(users)[:1]:
                self._wake((namespace, user))  # the localnet may play as another bot says from now on
            if not users:
                found = children_of(self._store.localnet(namespace, name)).values()
                left += [child for child in found if child.stored.kind is not CLAIM]
        for child in left:
            if child.deleting:
                continue
            try:
                await self._gateway.delete(child.stored.kind, key[0], child.stored.name, uid=child.stored.uid)
            except KubeError as error:
                raise Again(str(error)) from None
        return None
