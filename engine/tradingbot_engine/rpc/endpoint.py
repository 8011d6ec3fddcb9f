"""One provider, as the pool sees it: what it was asked, what it answered, and whether it should be asked now."""

from __future__ import annotations

from dataclasses import dataclass, field

from yarl import URL

from tradingbot_engine.domain.units import Slot

SUSPECT_S = 1.0
"""After a fault an endpoint is asked last for this long, times the number of faults in a row."""
MAX_SUSPECT_S = 10.0
OBSERVATION_S = 5.0
"""How long an observed slot says something about where a node stands."""
LAG_SLOTS = 64
"""Behind the best by more than this: asked last. Finalized answers are 31 slots old by nature."""
LATENCY_WEIGHT = 0.2


@dataclass(slots=True)
class Endpoint:
    """
    State of one provider; only the pool changes it.

    The later issue's breaker, hedge and rate limit each get their own object beside this one; `usable` and `rank` are
    where they will be asked.
    """

    name: str
    url: URL = field(repr=False)
    priority: int
    asked: int = 0
    answered: int = 0
    faults: int = 0
    throttled: int = 0
    faults_in_a_row: int = 0
    in_flight: int = 0
    disabled: str = ""
    """Why it is not asked any more; empty if it is."""
    wrong_chain: bool = False
    """Whether that is because it serves another chain."""
    cool_until_s: float = 0.0
    suspect_until_s: float = 0.0
    slot: Slot = 0
    slot_at_s: float = float("-inf")
    latency_ms: float = 0.0
    error: str = ""
    """The last complaint; empty once it answers again."""
    on_our_chain: bool = False
    """Its genesis hash was compared since the pool was told one, and since it was last away."""

    def usable(self, now_s: float) -> bool:
        """Return whether it may be asked at all."""
        return not self.disabled and self.cool_until_s <= now_s

    def lags(self, best_slot: Slot, now_s: float) -> bool:
        """Return whether it was seen lately, far behind."""
        return now_s - self.slot_at_s <= OBSERVATION_S and self.slot < best_slot - LAG_SLOTS

    def rank(self, best_slot: Slot, now_s: float) -> tuple[bool, bool, int]:
        """Return its place in the order of asking: sound before suspect before lagging, then by priority."""
        return self.lags(best_slot, now_s), self.suspect_until_s > now_s, self.priority

    def answer(self, *, slot: Slot | None, latency_ms: float, now_s: float) -> None:
        """Note that it answered."""
        self.answered += 1
        self.faults_in_a_row = 0
        self.suspect_until_s = 0.0
        self.error = ""
        self.latency_ms += (latency_ms - self.latency_ms) * (LATENCY_WEIGHT if self.latency_ms else 1.0)
        if slot is not None:
            self.saw(slot, now_s)

    def saw(self, slot: Slot, now_s: float) -> None:
        """Note where it stands. Answers at different commitments mix, so an older slot replaces a newer one only with age."""
        if slot >= self.slot or now_s - self.slot_at_s > OBSERVATION_S:
            self.slot, self.slot_at_s = slot, now_s

    def blame(self, error: str, now_s: float) -> None:
        """Note a fault."""
        self.faults += 1
        self.faults_in_a_row += 1
        self.on_our_chain = False  # who answers under this name when it is back may be somebody else
        self.error = error
        self.suspect_until_s = now_s + min(MAX_SUSPECT_S, SUSPECT_S * self.faults_in_a_row)

    def cool(self, error: str, until_s: float) -> None:
        """Leave it alone until `until_s`."""
        self.throttled += 1
        self.error = error
        self.cool_until_s = max(self.cool_until_s, until_s)


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """What status shows of a provider; `slot` 0 and `latency_ms` 0 mean that it has not answered yet."""

    name: str
    healthy: bool
    slot: Slot
    latency_ms: float
    error: str
