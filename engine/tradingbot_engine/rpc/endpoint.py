"""One provider, as the pool sees it: what protects it and us, and whether it should be asked now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from yarl import URL

from tradingbot_engine.domain.units import Slot
from tradingbot_engine.rpc.breaker import Breaker, BreakerState
from tradingbot_engine.rpc.health import Health
from tradingbot_engine.rpc.limiter import TokenBucket
from tradingbot_engine.rpc.permits import Permits
from tradingbot_engine.rpc.score import Score

SUSPECT_S = 1.0
"""After a fault an endpoint is asked last for this long, times the number of faults in a row."""
MAX_SUSPECT_S = 10.0
MAX_LONGER = 64
"""A provider that limits us at every try is left alone at most this many times as long as it asks."""
LOST_RACES = 3
"""After so many hedges in a row that answered while it was silent, an endpoint is suspect too."""


@dataclass(slots=True, eq=False)
class Endpoint:
    """State of one provider; only the dispatch changes it."""

    name: str
    url: URL = field(repr=False)
    priority: int
    place: int
    """Its position in the settings: the last word between equals."""
    bucket: TokenBucket = field(repr=False)
    probes: TokenBucket = field(repr=False)
    permits: Permits
    breaker: Breaker = field(repr=False)
    batch_size: int = 1
    health: Health = field(default_factory=Health)
    score: Score = field(default_factory=Score)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Requests by what came of them: ok, the name of the error table's row, cancelled."""
    faults_in_a_row: int = 0
    races_lost: int = 0
    """In a row, without an answer in between."""
    throttles: int = 0
    """How often it has limited us in a row, each cool-off counted once, without an answer in between."""
    disabled: str = ""
    """Why it is not asked any more; empty if it is."""
    wrong_chain: bool = False
    """Whether that is because it serves another chain."""
    cool_until_s: float = 0.0
    suspect_until_s: float = 0.0
    error: str = ""
    """The last complaint; empty once it answers again."""
    on_our_chain: bool = False
    """Its genesis hash was compared since the pool was told one, and since it was last away."""

    def resting(self, now_s: float) -> bool:
        """Return whether it must not be asked, whoever insists: disabled, or cooling off."""
        return bool(self.disabled) or self.cool_until_s > now_s

    def usable(self, now_s: float) -> bool:
        """Return whether it may be asked at all."""
        return not self.disabled and self.cool_until_s <= now_s and (self.breaker.closed or self.breaker.allows(now_s))

    def ready(self, now_s: float) -> bool:
        """Return whether its concurrency and its rate allow a request now."""
        return self.permits.free and self.bucket.wait_s(now_s) == 0.0

    def answered(self, *, latency_ms: float, trial: int) -> None:
        """Note that it answered."""
        self.faults_in_a_row = 0
        self.races_lost = 0
        self.throttles = 0
        self.suspect_until_s = 0.0
        self.error = ""
        self.score.answered(latency_ms)
        self.breaker.succeeded(trial=trial)

    def blame(self, error: str, now_s: float, *, trial: int) -> None:
        """Note a fault."""
        self.faults_in_a_row += 1
        self.on_our_chain = False  # who answers under this name when it is back may be somebody else
        self.error = error
        self.suspect_until_s = now_s + min(MAX_SUSPECT_S, SUSPECT_S * self.faults_in_a_row)
        self.score.failed()
        self.breaker.failed(now_s, trial=trial)

    def lost_race(self, now_s: float) -> bool:
        """Note that a hedge answered while it was silent; returns whether it should be looked at."""
        self.races_lost += 1
        excess = self.races_lost - LOST_RACES + 1
        if excess < 1:
            return False
        self.suspect_until_s = max(self.suspect_until_s, now_s + min(MAX_SUSPECT_S, SUSPECT_S * excess))
        return True

    def cool(self, error: str, now_s: float, *, for_s: float) -> None:
        """
        Leave it alone for `for_s`, and longer each time in a row, up to `MAX_SUSPECT_S` if it asks for less itself.

        One that says "at once" to every refusal would else be asked, and refuse, as fast as we can.
        """
        self.error = error
        if self.cool_until_s <= now_s:
            self.throttles += 1  # of many requests under way the first refusal counts
        longer_s = min(MAX_SUSPECT_S, for_s * min(MAX_LONGER, 2 ** (self.throttles - 1))) if self.throttles > 1 else 0.0
        self.cool_until_s = max(self.cool_until_s, now_s + max(for_s, longer_s))
        if self.throttles > 1:
            self.suspect_until_s = max(self.suspect_until_s, self.cool_until_s + SUSPECT_S)

    def is_on_our_chain_again(self) -> None:
        """Note that it shows our genesis after it had shown another one."""
        self.disabled, self.wrong_chain, self.error = "", False, ""

    def recovered(self) -> None:
        """Note that a health probe was good: it may be tried again, at its own place unless it is too slow to win."""
        if self.races_lost < LOST_RACES:
            self.suspect_until_s = 0.0
        self.breaker.probe_was_good()


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What status shows of a provider; `slot` 0 and `latency_ms` 0 mean that it has not answered yet."""

    name: str
    healthy: bool
    slot: Slot
    latency_ms: float
    error: str
    breaker: BreakerState = BreakerState.CLOSED
    finalized_slot: Slot = 0
    """As of the last health probe."""
    lag_slots: int = 0
    in_flight: int = 0
    failing: float = 0.0
    """Share of the latest requests that were its fault, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An endpoint, always, and what speaks against it ("" if nothing does): the caller decides."""

    name: str
    degraded: str
