"""Carry a plan out; what fails is told as trouble with a reason, and holds up only what must come after it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tradingbot_operator.drift import mark
from tradingbot_operator.engine_port import EnginePort, EngineRefused, EngineUnreachable
from tradingbot_operator.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    KubeError,
    NamespaceTerminating,
    QuotaExceeded,
    Refused,
)
from tradingbot_operator.kube.gateway import Gateway, Object
from tradingbot_operator.kube.kinds import TRADING_BOT
from tradingbot_operator.observed import FINALIZER, Observed
from tradingbot_operator.ports import put_right
from tradingbot_operator.rollout import Trouble
from tradingbot_operator.steps import Apply, CloseOut, Drain, Hold, Make, Prune, PutLive, Release, Reopen, Step, id_of

ToEngine = PutLive | CloseOut | Reopen | Drain
"""Steps that an engine is told."""


@dataclass
class Outcome:
    """
    What became of a plan.

    Attributes:
        failures: What did not succeed, and a person should know.
        again: Why the same will be tried again at once: an object was another one than we thought.
        passing: What did not succeed and passes by itself; trouble only if it lasts.
        namespace_ends: Whether the namespace turned out to be going.
        made: Secrets that were made, with what stands in them.
        written: Objects as the API server holds them now.
        marks: `drift.mark` of each applied object, by kind and name.
        released: Whether the bot was let go.
    """

    failures: list[Trouble] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    passing: list[str] = field(default_factory=list)
    namespace_ends: bool = False
    made: list[Object] = field(default_factory=list)
    written: list[Object] = field(default_factory=list)
    marks: dict[tuple[str, str], tuple[str, str] | None] = field(default_factory=dict)
    released: bool = False

    @property
    def clean(self) -> bool:
        return not (self.failures or self.again or self.passing)


async def carry_out(
    steps: Sequence[Step],
    observed: Observed,
    *,
    gateway: Gateway,
    port: EnginePort,
    token: str,
    idle: Callable[[], None],
) -> Outcome:
    """
    Take every step.

    Engines are told first and beside everything else: a pause must not wait for objects. Objects go at once but the last
    (the Deployment), which needs all others; the finalizer comes before all of them and goes after all of them. `idle` is
    called when nothing but engines is waited for.
    """
    work = _Work(observed, gateway, port, token)
    telling = asyncio.gather(*(work.tell(step) for step in steps if isinstance(step, ToEngine)))
    if not any([not await work.hold(step) for step in steps if isinstance(step, Hold)]):
        await asyncio.gather(*(work.make(step) for step in steps if isinstance(step, Make)))
        await asyncio.gather(*(work.apply(step) for step in steps if isinstance(step, Apply) and not step.last))
        for step in steps:
            if isinstance(step, Apply) and step.last and work.outcome.clean:
                await work.apply(step)
        await asyncio.gather(*(work.prune(step) for step in steps if isinstance(step, Prune)))
    if not telling.done():
        idle()
    await telling
    for step in steps:
        if isinstance(step, Release) and work.outcome.clean:
            await work.release()
    return work.outcome


class _Work:
    def __init__(self, observed: Observed, gateway: Gateway, port: EnginePort, token: str) -> None:
        self._observed, self._gateway, self._port, self._token = observed, gateway, port, token
        self.outcome = Outcome()

    async def hold(self, _: Hold) -> bool:
        finalizers = [*(self._observed.metadata.get("finalizers") or ()), FINALIZER]
        return await self._try(self._finalize(finalizers))

    async def release(self) -> None:
        left = [name for name in self._observed.metadata.get("finalizers") or () if name != FINALIZER]
        self.outcome.released = await self._try(self._finalize(left))

    async def _finalize(self, finalizers: list[str]) -> None:
        self.outcome.written.append(await self._gateway.set_finalizers(TRADING_BOT, self._observed.bot, finalizers))

    async def make(self, step: Make) -> None:
        async def create() -> None:
            try:
                self.outcome.made.append(await self._gateway.create(step.body()))
            except AlreadyExists:
                return  # the next pass reads it

        await self._try(create())

    async def apply(self, step: Apply) -> None:
        async def apply() -> None:
            try:
                applied = await self._gateway.apply(step.body)
            except Refused:
                if not await self._make_way(step.body):
                    raise
                applied = await self._gateway.apply(step.body)
            self.outcome.written.append(applied)
            self.outcome.marks[id_of(step.body)] = mark(step.body, applied)

        await self._try(apply())

    async def _make_way(self, body: Object) -> bool:
        """Put right the ports of somebody else that keep ours from being applied; return whether there were any."""
        child = self._observed.children.get(id_of(body)) or self._observed.localnet.get(id_of(body))
        changes = put_right(body, child.body) if child is not None else {}
        if child is None or not changes:
            return False
        await self._gateway.set_fields(child.stored.kind, child.body, changes)
        return True

    async def prune(self, step: Prune) -> None:
        await self._try(self._gateway.delete(step.kind, self._observed.metadata["namespace"], step.name, uid=step.uid))

    async def tell(self, step: ToEngine) -> None:
        address = step.pod.address
        assert address is not None
        try:
            match step:
                case PutLive():
                    await self._port.put_live(address, self._token, step.live)
                case CloseOut():
                    await self._port.close_out(address, self._token, step.by)
                case Reopen():
                    await self._port.reopen(address, self._token)
                case Drain():
                    await self._port.drain(address, self._token)
        except EngineUnreachable as error:
            self.outcome.passing.append(f"Pod {step.pod.name}: {error}")
        except EngineRefused as error:
            if error.status in (401, 503):  # the token is read anew; or it still starts
                self.outcome.passing.append(f"Pod {step.pod.name}: {error}")
            elif isinstance(step, PutLive):
                self.outcome.failures.append(Trouble("LiveRefused", f"Pod {step.pod.name}: {error}"))
            elif isinstance(step, CloseOut | Reopen):
                self.outcome.failures.append(Trouble("CloseOutRefused", f"Pod {step.pod.name}: {error}"))

    async def _try(self, request: Awaitable[None]) -> bool:
        try:
            await request
        except NamespaceTerminating:
            self.outcome.namespace_ends = True
            self.outcome.again.append("the namespace is being deleted")
        except QuotaExceeded as error:
            self.outcome.failures.append(Trouble("QuotaExceeded", str(error)))
        except Forbidden as error:
            self.outcome.failures.append(Trouble("Forbidden", str(error)))
        except Refused as error:
            self.outcome.failures.append(Trouble("ObjectRefused", str(error)))
        except Conflict as error:
            self.outcome.again.append(str(error))
        except KubeError as error:
            self.outcome.passing.append(str(error))
        else:
            return True
        return False
