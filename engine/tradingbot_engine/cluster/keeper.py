"""Keeps this process a member: looks, claims, renews, and lets go, by what `Membership` decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from tradingbot_engine.clock import Clock
from tradingbot_engine.cluster.membership import Act, Claim, Membership, Release, Renew
from tradingbot_engine.cluster.port import MemberStore
from tradingbot_engine.errors import EngineError, TemporaryError

_log = structlog.get_logger(__name__)

LOOK_S = 1.0
"""How often the records are read: that somebody leaves or died is seen so much later at most."""
RELEASE_TRIES = 3
"""A label, or a renewal that arrives late, may come between looking and letting go."""
ANSWER_S = 4.0
"""A store that hangs is left, so that the next renewal still comes in time; what was asked for may be done all the same."""


class MemberKeeper:
    """
    Look every second, and write what has to be written.

    Args:
        store: Where the records are.
        membership: What decides; others may ask it at any time.
        ready: Whether this process may be given shards now.
        on_look: Called after each look that succeeded.
        look_s: How often to look; shorter than the time between renewals.
    """

    def __init__(
        self,
        *,
        store: MemberStore,
        membership: Membership,
        clock: Clock,
        ready: Callable[[], bool],
        on_look: Callable[[], None] = lambda: None,
        look_s: float = LOOK_S,
    ) -> None:
        self._store, self._membership, self._clock = store, membership, clock
        self._ready, self._on_look = ready, on_look
        self._look_s = look_s
        self._trouble = ""

    async def run(self) -> None:
        """Stay a member until cancelled; what the store refuses or does not answer is asked again."""
        while True:
            try:
                await self.step()
                self._tell("")
            except EngineError as error:
                self._tell(str(error))
            await self._clock.sleep(self._look_s)

    async def step(self) -> None:
        """
        Look once, and write once if that is due.

        Raises:
            TemporaryError: There was no answer, maybe to a write that was done.
            PermanentError: We are refused.
        """
        try:
            async with asyncio.timeout(ANSWER_S):
                asked_s = self._clock.monotonic_s()
                records = await self._store.members()
                act = self._membership.looked(
                    records, asked_s=asked_s, now_s=self._clock.monotonic_s(), takes_shards=self._ready()
                )
                if act is not None:
                    await self._write(act)
        except TimeoutError as error:
            raise TemporaryError(f"the store of members did not answer within {ANSWER_S:.0f} s") from error
        self._on_look()

    async def release(self) -> None:
        """Let every record go that shows this process, so that a successor begins at once; a failure only makes it wait."""
        self._membership.release()
        try:
            async with asyncio.timeout(ANSWER_S):
                for _ in range(RELEASE_TRIES):
                    ours = [r for r in await self._store.members() if self._membership.is_ours(r)]
                    # Not all of a list: each is told on its own whether somebody wrote it meanwhile.
                    if all([await self._store.release(record) for record in ours]):
                        return
        except (EngineError, TimeoutError) as error:
            _log.warning("member record not released", why=str(error))

    async def _write(self, act: Act) -> None:
        membership, asked_s = self._membership, self._clock.monotonic_s()
        match act:
            case Claim(record):
                written = await self._store.claim(
                    record,
                    holder=membership.holder,
                    incarnation=membership.incarnation,
                    takes_shards=membership.takes_shards,
                )
            case Renew(record):
                written = await self._store.renew(record, takes_shards=membership.takes_shards)
            case Release(record):
                await self._store.release(record)
                return
        if written is not None:  # else somebody was faster: the next look tells who
            membership.written(written, asked_s=asked_s)
            if isinstance(act, Claim):
                _log.info("member", record=written.name, instead_of=record.holder)

    def _tell(self, trouble: str) -> None:
        """Log the beginning and the end of a trouble, not every second of it."""
        if bool(trouble) != bool(self._trouble):
            _log.warning("members out of reach", why=trouble) if trouble else _log.info("members in reach again")
        self._trouble = trouble
