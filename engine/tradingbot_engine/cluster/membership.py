"""
The life of a member: claim a record, renew it, lose it, let it go.

Pure: it is told what was read and written and when, by this process's own monotonic clock, and answers what to do next. Clocks of others
are never compared with ours: another's record has expired once we have ourselves seen it unchanged for its whole duration.

A process that was stopped and wakes up still believes what it believed. That is harmless because of the ledger's epochs, not because
of anything here.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from tradingbot_engine.cluster.port import Member
from tradingbot_engine.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds, as operator and engine agree on them."""

    lease_s: float = 15.0
    """A record that was seen unchanged for longer has expired."""
    give_up_s: float = 10.0
    """A holder whose renewal did not come back for so long begins nothing any more: well before anybody else may take its shards."""
    renew_s: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.renew_s < self.give_up_s < self.lease_s:
            raise PermanentError(
                f"terms of members: 0 < renew ({self.renew_s} s) < give up ({self.give_up_s} s) < lease ({self.lease_s} s) must hold"
            )


class Standing(StrEnum):
    """What a process is to the others, as far as it can tell."""

    OUTSIDE = "OUTSIDE"
    """It holds no record: never had one, gave it back, or saw that it was taken away."""
    MEMBER = "MEMBER"
    """It holds a record, and the others have seen so lately."""
    DOUBTFUL = "DOUBTFUL"
    """No renewal came back for `give_up_s`: soon, others may think that it is gone."""
    LEAVING = "LEAVING"
    """It holds a record that says that it wants no shards: not ready yet, or draining."""


class Deed(StrEnum):
    """What a process does for its shards."""

    TAKE = "TAKE"
    """Take a shard."""
    OPEN = "OPEN"
    """Claim an entry."""
    CLOSE = "CLOSE"
    """Claim an exit, or make a new attempt of what is open."""
    FOLLOW = "FOLLOW"
    """Resend the stored bytes of what is in flight, look where it stands, journal it."""


ALLOWED = {
    Standing.MEMBER: frozenset(Deed),
    Standing.LEAVING: frozenset({Deed.CLOSE, Deed.FOLLOW}),
    # The store may be away for everybody. To stop exits would be the greater risk: a successor's epoch fences them, if there is one.
    Standing.DOUBTFUL: frozenset({Deed.CLOSE, Deed.FOLLOW}),
    # Somebody else lives and takes our shards: nothing new is sent, and what was sent may as well be followed until the fence.
    Standing.OUTSIDE: frozenset({Deed.FOLLOW}),
}
"""Every deed is fenced by the ledger besides; this only keeps two processes out of each other's way."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim this record."""

    record: Member


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew this record, which is ours."""

    record: Member


@dataclass(frozen=True, slots=True)
class Release:
    """Let this record go, which is ours: we leave, or hold another one."""

    record: Member


Act = Claim | Renew | Release


@dataclass(frozen=True, slots=True)
class _Sight:
    """
    A record as it was read last.

    It was the same from `first_s`, when it had come for the first time, to `last_s`, when it was asked for the last time, at least.
    """

    record: Member
    first_s: float
    last_s: float


class Membership:
    """
    One process's part in its bot.

    Args:
        holder: Which pod this is: the same after a restart of its container, different for every pod.
        incarnation: Random id of this process.
    """

    def __init__(self, *, holder: str, incarnation: str, terms: Terms | None = None) -> None:
        if not holder or not incarnation:
            raise PermanentError("a member needs the name of its pod and an id of its own")
        self.holder, self.incarnation = holder, incarnation
        self.terms = terms or Terms()
        self._sights: dict[str, _Sight] = {}
        self._mine: Member | None = None
        self._renewed_s = 0.0
        self.looked_s = -math.inf
        """When the records were asked for that are known now."""
        self._wants_shards = False
        self._leaving = False
        self.lost = ""
        """How the last record went that was ours, "" if none was taken away since."""

    # --- what it is
    @property
    def record(self) -> Member | None:
        """The record that is ours, as far as we know."""
        return self._mine

    @property
    def takes_shards(self) -> bool:
        """What the next claim or renewal is to say."""
        return self._wants_shards

    def standing(self, now_s: float) -> Standing:
        """Return what this process is at `now_s` of its monotonic clock."""
        if self._mine is None:
            return Standing.OUTSIDE
        if now_s - self._renewed_s >= self.terms.give_up_s:
            return Standing.DOUBTFUL
        return Standing.MEMBER if self._mine.takes_shards and self._wants_shards else Standing.LEAVING

    def may(self, deed: Deed, now_s: float) -> bool:
        """Tell whether this process should do that now; the ledger has the last word."""
        return deed in ALLOWED[self.standing(now_s)]

    def is_ours(self, record: Member) -> bool:
        """Tell whether a record shows this process."""
        return (record.holder, record.incarnation) == (self.holder, self.incarnation)

    # --- what the others are
    def live(self) -> dict[str, Member]:
        """Return the members that lived at the newest look, by their records' names; ours as long as it is ours."""
        return {name: s.record for name, s in sorted(self._sights.items()) if s.record.holder and not self._expired(s)}

    def seen(self, name: str) -> Member | None:
        """Return a record as it was read last, None if there is none."""
        sight = self._sights.get(name)
        return sight.record if sight is not None else None

    def sharers(self) -> frozenset[str]:
        """Return the names of the members that shards are dealt out to."""
        return frozenset(name for name, record in self.live().items() if record.takes_shards)

    def incarnations(self) -> frozenset[str]:
        """Return the processes that live: a shard whose holder is none of them may be taken."""
        return frozenset(record.incarnation for record in self.live().values())

    # --- what happens
    def leave(self) -> None:
        """Want no shards from now on; the record is let go by `release`."""
        self._leaving, self._wants_shards = True, False

    def looked(self, records: Iterable[Member], *, asked_s: float, now_s: float, takes_shards: bool) -> Act | None:
        """
        Take in what all records are, and return what is to be written, if anything.

        Args:
            asked_s: When they were asked for: what was answered is no older.
            now_s: When the answer came.
            takes_shards: Whether this process is ready for shards.
        """
        self._wants_shards = takes_shards and not self._leaving
        self.looked_s = asked_s
        self._sights = {record.name: self._sight(record, asked_s, now_s) for record in records}
        self._find_ours()
        if self._mine is None:
            return None if self._leaving else self._claim()
        if now_s - self._renewed_s >= self.terms.renew_s or self._mine.takes_shards != self._wants_shards:
            return Renew(self._mine)
        # A claim that was believed lost arrived late, or the container before us held another one.
        others = (sight.record for name, sight in self._sights.items() if name != self._mine.name)
        return next((Release(record) for record in others if record.holder == self.holder), None)

    def release(self) -> None:
        """Be outside from now on; what shows us in the store is to be let go."""
        self.leave()
        self._mine = None

    def written(self, record: Member, *, asked_s: float) -> None:
        """Take in that a claim or renewal succeeded; `asked_s` is when it was sent, the earliest that others may count from."""
        if self._leaving and self._mine is None:
            return
        self._mine, self._renewed_s, self.lost = record, asked_s, ""
        self._sights[record.name] = _Sight(record, asked_s, asked_s)

    # --- parts
    def _sight(self, record: Member, asked_s: float, now_s: float) -> _Sight:
        known = self._sights.get(record.name)
        first_s = known.first_s if known is not None and known.record == record else now_s
        return _Sight(record, first_s, asked_s)

    def _expired(self, sight: _Sight) -> bool:
        ours = self._mine is not None and sight.record.name == self._mine.name
        return not ours and sight.last_s - sight.first_s > self.terms.lease_s

    def _find_ours(self) -> None:
        """Follow our record. One that shows us although we do not know of it is of a claim whose answer was lost: it is claimed anew."""
        if self._mine is None:
            return
        sight = self._sights.get(self._mine.name)
        if sight is not None and self.is_ours(sight.record):
            self._mine = sight.record  # somebody may have put a label on it
            return
        now = "gone" if sight is None else f"held by {sight.record.holder}" if sight.record.holder else "free"
        self.lost = f"the record {self._mine.name} is {now}"
        self._mine = None

    def _claim(self) -> Claim | None:
        """Our own record at once, then a free one, then one that has expired."""
        sights = self._sights.values()
        candidates = [s.record for s in sights if s.record.holder in ("", self.holder) or self._expired(s)]
        return Claim(min(candidates, key=self._order)) if candidates else None

    def _order(self, record: Member) -> tuple[int, bytes]:
        """Pods that start at one moment do not all want the same record."""
        rank = 0 if record.holder == self.holder else 1 if not record.holder else 2
        return rank, hashlib.blake2b(f"{self.holder}/{record.name}".encode(), digest_size=8).digest()
