"""
What is known of every pool, and what has to be read to know it again; pure.

`PoolBook` takes what a stream of notifications says and returns market events. It does no I/O: what has to be read stands
in `repairs`, what has to be asked from the history in `refills`, and the feed does both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tradingbot_engine.domain.events import BAR_MS, ClockTick, FeedStatus, MarketEvent, PriceTick
from tradingbot_engine.domain.units import BaseUnits, Mint, QuoteUnits, Slot, UnixMs
from tradingbot_engine.market.discovery import Pool
from tradingbot_engine.market.event_time import EventTime
from tradingbot_engine.market.normalise import Malformed, slot_seen, vault_write
from tradingbot_engine.market.port import FeedHealth, TokenHealth
from tradingbot_engine.market.repairs import Repair, Repairs
from tradingbot_engine.market.reserves import Pair, Reserves, Vault
from tradingbot_engine.market.staleness import Staleness
from tradingbot_engine.rpc.websocket import (
    Acknowledged,
    Connected,
    Garbage,
    Heartbeat,
    Lost,
    Message,
    Notification,
    Subscription,
)

SLOTS = "slots"
"""Key of the slot subscription, the feed's pulse."""
WALL_TICK_MS = 1000
UNREADABLE_PAUSE_S = 5.0
MAX_JUMP_SLOTS = 1_000_000
"""About five days: a number further ahead is nonsense, and believing it would move event time for good."""
MAX_AHEAD_SLOTS = 1000
"""About seven minutes: no write or read is so far ahead of the newest slot told; believed, it would make all that follow late."""
FIRST_REFILL_MS = 10 * BAR_MS
"""How far back the first refill reaches: over the time between the loading of old bars and the first live price."""


@dataclass(slots=True)
class _Watched:
    pool: Pool
    reserves: Reserves = field(default_factory=Reserves)
    acknowledged: set[Vault] = field(default_factory=set)
    told: Pair | None = None
    told_at_ms: UnixMs = 0
    price: float | None = None
    gap_from_ms: UnixMs | None = None
    """Event time since which something may have been missed."""


class PoolBook:
    """All pools of one feed."""

    def __init__(
        self, mints: Sequence[Mint], *, time: EventTime, commitment: str, max_staleness_ms: int, now_s: float
    ) -> None:
        self.time, self._commitment = time, commitment
        self._mints = tuple(mints)
        self._staleness = Staleness(mints, max_staleness_ms=max_staleness_ms)
        self._born_s = now_s
        self._watched: dict[Mint, _Watched] = {}
        self._problems: dict[Mint, str] = {}
        self._slot: Slot | None = None
        """Newest slot of the present connection."""
        self.root: Slot | None = None
        """Newest finalized slot that the present connection told."""
        self._last_slot: Slot = 0
        self._clock_ms: UnixMs = 0
        self._endpoint = ""
        self._lone: set[Mint] = set()
        self._fresh: set[Mint] = set()
        self._unreadable: dict[Mint, float] = {}
        """When to read again what could not be understood."""
        self.repairs = Repairs()
        self.refills: dict[Mint, UnixMs] = {}
        """Event time since which bars may be missing, by token."""
        self.counts: Counter[str] = Counter()

    # --- what is watched
    def add(self, pool: Pool) -> list[Subscription]:
        """Watch a pool; return what has to be subscribed to for it."""
        self._watched[pool.mint] = _Watched(pool)
        self._problems.pop(pool.mint, None)
        self._staleness.unsound(pool.mint, "NotReadYet")
        self.repairs[pool.mint] = None
        config = {"encoding": "base64", "commitment": self._commitment}
        return [
            Subscription(_key(pool.mint, vault), "accountSubscribe", (address, config))
            for vault, address in ((Vault.BASE, pool.base_vault), (Vault.QUOTE, pool.quote_vault))
        ]

    def pool(self, mint: Mint) -> Pool | None:
        """Return the token's pool, if it was found."""
        watched = self._watched.get(mint)
        return watched.pool if watched is not None else None

    def now_of(self, mint: Mint) -> tuple[float, QuoteUnits] | None:
        """Return the price and quote reserve told last."""
        watched = self._watched.get(mint)
        if watched is None or watched.price is None or watched.told is None:
            return None
        return watched.price, watched.told.quote

    def problem(self, mint: Mint, text: str) -> None:
        """Say why a token has no pool or cannot be read."""
        self._problems[mint] = text

    @property
    def slot(self) -> Slot:
        """Newest slot seen on any connection."""
        return self._last_slot

    @property
    def connected(self) -> bool:
        """Whether the present connection has told a slot."""
        return self._slot is not None

    @property
    def event_ms(self) -> UnixMs:
        """Event time that is over."""
        return self._clock_ms

    # --- what the stream says
    def take(self, message: Message, now_s: float) -> list[MarketEvent]:
        """Take one message of the stream; never fails, whatever it holds."""
        try:
            match message:
                case Notification(key, result):
                    return self._notified(key, result, now_s)
                case Heartbeat():
                    if self._slot is not None:  # a node that tells no slots may be alive, its chain is not
                        self._staleness.proof(now_s)
                case Connected(provider):
                    self._endpoint, self._slot, self.root = provider, None, None
                case Acknowledged(key):
                    self._acknowledged(key)
                case Garbage(what):
                    raise Malformed(what)
                case Lost():
                    self._lost()
        except Malformed:
            self.counts["malformed"] += 1
        return []

    def _acknowledged(self, key: str) -> None:
        mint, vault = _unkey(key)
        watched = self._watched.get(mint)
        if watched is None or vault is None:
            return
        watched.acknowledged.add(vault)
        if len(watched.acknowledged) == len(Vault):
            self._fresh.add(mint)

    def _lost(self) -> None:
        self._endpoint, self._slot = "", None
        self.counts["reconnects"] += 1
        self._fresh.clear()
        self.repairs.begin_anew()
        for mint, watched in self._watched.items():
            watched.acknowledged.clear()
            self._doubt(mint, watched, "Reconnecting")

    def _notified(self, key: str, result: Any, now_s: float) -> list[MarketEvent]:
        if key == SLOTS:
            return self._slot_seen(result, now_s)
        mint, vault = _unkey(key)
        watched = self._watched.get(mint)
        if watched is None or vault is None:
            return []
        try:
            write = vault_write(result, mint if vault is Vault.BASE else watched.pool.quote_mint)
            self.believe(write.slot)
        except Malformed:
            # Whatever it was, this vault was written, and we do not know what is in it now.
            self._doubt(mint, watched, "Malformed")
            self.repairs.want(mint, self._slot)
            raise
        self._staleness.proof(now_s)
        late = watched.reserves.late
        pair = watched.reserves.write(vault, write.slot, write.amount)
        self.counts["late"] += watched.reserves.late - late
        if watched.reserves.lone:
            self._lone.add(mint)
        else:
            self._lone.discard(mint)
        return self._tell(mint, watched, pair)

    def _slot_seen(self, result: Any, now_s: float) -> list[MarketEvent]:
        seen = slot_seen(result)
        self._plausible(seen.slot)
        self._staleness.proof(now_s)
        last, self._slot, self._last_slot = self._slot, seen.slot, seen.slot
        self.root = seen.root
        if last is None:
            self._fork(seen.slot, seen.slot)  # what is ahead of this node's newest slot is not of its chain
        elif seen.parent > last:
            self._hole(seen.parent)
        elif seen.parent < last:
            self._fork(seen.slot, seen.parent)
            self.repairs.return_to(seen.slot)
        events: list[MarketEvent] = list(self._clock(self.time.passed_ms(seen.slot, self._commitment)))
        for mint in self._fresh:
            # Subscribed before this slot was told: what the node told nothing about is at most as old as its parent.
            self.repairs.want(mint, seen.parent)
            if self._watched[mint].gap_from_ms is None:
                self._watched[mint].gap_from_ms = max(0, self._clock_ms - FIRST_REFILL_MS)
        self._fresh.clear()
        for mint in list(self._lone):
            watched = self._watched[mint]
            at_slot = watched.reserves.wants_read(seen.slot)
            if at_slot is not None:
                self._lone.discard(mint)
                self.counts["lone"] += 1
                self._doubt(mint, watched, "OneVaultTold")
                self.repairs.want(mint, at_slot)
        return events

    def believe(self, slot: Slot) -> None:
        """Raise Malformed if something cannot be of `slot`, since the chain is far from there."""
        self._plausible(slot)
        if self._slot is not None and slot > self._slot + MAX_AHEAD_SLOTS:
            raise Malformed("far ahead of the newest slot")

    def _plausible(self, slot: Slot) -> None:
        if self._last_slot and slot > self._last_slot + MAX_JUMP_SLOTS:
            raise Malformed("a slot from nowhere")

    def _hole(self, parent: Slot) -> None:
        self.counts["holes"] += 1
        for mint, watched in self._watched.items():
            self._doubt(mint, watched, "Hole")
            self.repairs.want(mint, parent)

    def _fork(self, slot: Slot, parent: Slot) -> None:
        """What is known of slots above `parent` was undone; `slot` is on the chain that is left."""
        undone = [(m, w) for m, w in self._watched.items() if w.reserves.newest > parent]
        if not undone:
            return
        self.counts["forks"] += 1
        self.repairs.generation += 1
        for mint, watched in undone:
            watched.reserves.forget()
            self._lone.discard(mint)
            self._doubt(mint, watched, "Fork")
            self.repairs[mint] = slot

    def _doubt(self, mint: Mint, watched: _Watched, why: str) -> None:
        if self._staleness.is_sound(mint):
            watched.gap_from_ms = self._clock_ms
        self._staleness.unsound(mint, why)

    # --- what reading says
    def next_repair(self, limit: int) -> Repair | None:
        """Take up to `limit` pools off `repairs`."""
        return self.repairs.next(limit, lambda mint: self._watched[mint].pool)

    def repaired(self, repair: Repair, mint: Mint, slot: Slot, base: BaseUnits, quote: QuoteUnits) -> list[MarketEvent]:
        """Take both vaults of a pool as one bank held them at `slot`."""
        watched = self._watched[mint]
        if not self.repairs.holds(repair):
            # Asked before a fork or a lost connection: it may speak of a chain that is no more.
            self.repairs.setdefault(mint, None)
            return []
        self.counts["repairs"] += 1
        self._problems.pop(mint, None)
        pair = watched.reserves.read(slot, base, quote)
        if not watched.reserves.lone:
            self._lone.discard(mint)
        events = self._tell(mint, watched, pair)
        if base <= 0 or quote <= 0:
            self._staleness.unsound(mint, "EmptyPool")
        elif repair.min_slot is not None and mint not in self.repairs and len(watched.acknowledged) == len(Vault):
            self._make_sound(mint, watched)
        return events

    def unreadable(self, mint: Mint, why: str, now_s: float) -> None:
        """A pool's vaults are not what they must be: it goes stale, and is read again after a while."""
        self.counts["malformed"] += 1
        self._problems[mint] = why
        self._doubt(mint, self._watched[mint], "Unreadable")
        self._unreadable[mint] = now_s + UNREADABLE_PAUSE_S

    def _make_sound(self, mint: Mint, watched: _Watched) -> None:
        self._staleness.sound(mint)
        since, watched.gap_from_ms = watched.gap_from_ms, None
        if since is not None and since // BAR_MS < self._clock_ms // BAR_MS:
            self.refills[mint] = min(since, self.refills.get(mint, since))

    def _tell(self, mint: Mint, watched: _Watched, pair: Pair | None) -> list[MarketEvent]:
        if pair is None:
            return []
        if pair.base <= 0 or pair.quote <= 0:
            self.counts["unpriced"] += 1
            self._doubt(mint, watched, "EmptyPool")
            return []
        if self._staleness.why_unsound(mint) == "EmptyPool":
            self._make_sound(mint, watched)
        before = watched.told
        price = pair.quote / pair.base * watched.pool.scale
        at_ms = max(self.time.at_ms(pair.slot), self._clock_ms, watched.told_at_ms)
        volume = abs(pair.quote - before.quote) if before is not None else 0
        watched.told, watched.told_at_ms, watched.price = pair, at_ms, price
        return [PriceTick(mint, pair.slot, at_ms, price, pair.quote, volume)]

    # --- time
    def check(self, now_s: float) -> list[MarketEvent]:
        """Return what the passing of time alone changes; to be called several times per `max_staleness_ms`."""
        events: list[MarketEvent] = []
        if not self.time.by_slot and self.time.at_ms(0) - self._clock_ms >= WALL_TICK_MS:
            events += self._clock(self.time.at_ms(0))
        for mint in [m for m, due_s in self._unreadable.items() if due_s <= now_s]:
            del self._unreadable[mint]
            self.repairs.want(mint, self._last_slot)
        changes: list[FeedStatus] = self._staleness.changes(now_s, self._clock_ms)
        return events + changes

    def _clock(self, passed_ms: UnixMs) -> Iterator[ClockTick]:
        if passed_ms > self._clock_ms:
            self._clock_ms = passed_ms
            yield ClockTick(passed_ms)

    # --- what people see
    def health(self, now_s: float) -> FeedHealth:
        """Return what is known now."""
        tokens = {mint: self._token(mint, now_s) for mint in self._mints}
        return FeedHealth(
            event_time_ms=self._clock_ms,
            slot=self._last_slot,
            stale=all(t.stale for t in tokens.values()),
            endpoint=self._endpoint,
            tokens=tokens,
            counts=dict(self.counts),
        )

    def _token(self, mint: Mint, now_s: float) -> TokenHealth:
        stale = self._staleness.is_stale(mint, now_s)
        age_s = min(self._staleness.age_s(mint, now_s), now_s - self._born_s)
        problem = (
            ": ".join(filter(None, (self._staleness.why(mint, now_s), self._problems.get(mint, "")))) if stale else ""
        )
        watched = self._watched.get(mint)
        if watched is None:
            return TokenHealth(mint, stale=stale, stale_ms=round(age_s * 1000) if stale else 0, problem=problem)
        told = watched.told
        return TokenHealth(
            mint,
            price=watched.price,
            slot=told.slot if told else None,
            at_ms=watched.told_at_ms if told else None,
            base_reserve=told.base if told else None,
            quote_reserve=told.quote if told else None,
            pool=watched.pool.address,
            fee_bps=watched.pool.fee_bps,
            stale=stale,
            stale_ms=round(age_s * 1000) if stale else 0,
            problem=problem,
        )


def _key(mint: Mint, vault: Vault) -> str:
    return f"{mint}/{vault.name}"


def _unkey(key: str) -> tuple[Mint, Vault | None]:
    mint, _, name = key.partition("/")
    return mint, Vault.__members__.get(name)
