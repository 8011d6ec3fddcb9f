"""
Where a bot's members are kept: Leases of a Kubernetes cluster, or rows of the ledger's database on a laptop.

Records are made beforehand, one per possible process; a process claims one of them and renews it. No record is a fence: who may write
is what the ledger's `shards` table says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Member:
    """One record as it was read; free if `holder` is ""."""

    name: str
    """The record's own name, for ever: shards are dealt out to names, so that a successor gets its predecessor's."""
    version: str
    """Differs after every write, by whomever; means nothing else."""
    holder: str = ""
    """Which pod (or process of a runner) holds it: the same after a restart of its container."""
    incarnation: str = ""
    """The process's random id, under which it takes shards in the ledger."""
    takes_shards: bool = False
    """Whether it is ready and does not drain: one that isn't lives, but gets no shards."""


class MemberStore(Protocol):
    """
    Writes compare the record with what was seen, and change nothing if anybody has written meanwhile.

    Raises, everywhere: TemporaryError (no answer: a write may have been done all the same; look again), PermanentError (we are
    refused, and trying again will not help).
    """

    async def members(self) -> Sequence[Member]:
        """Return all records of the bot by name, as they stand: never from a cache that may be behind."""

    async def claim(self, seen: Member, *, holder: str, incarnation: str, takes_shards: bool) -> Member | None:
        """Take a record for this process, whoever held it; None if it was written since it was seen, or is gone."""

    async def renew(self, held: Member, *, takes_shards: bool) -> Member | None:
        """Write a record that we hold once more, so that others see it change; None as in `claim`."""

    async def release(self, held: Member) -> bool:
        """Free a record that we hold; False if it was written since it was seen, or is gone."""
