"""What happened so far, counted: for metrics, the status page and the summary."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import TypeVar

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.events import Event, PriceTick
from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState
from tradingbot_engine.domain.signals import Purpose, Signal
from tradingbot_engine.domain.units import IntentId, Mint
from tradingbot_engine.health.monitor import Standing
from tradingbot_engine.metrics import Metrics

_K = TypeVar("_K")
_V = TypeVar("_V")
_MEMORY = 10_000
"""Latencies and refusals remembered at most."""
_RECURRING = frozenset({"ExitOpen"})
"""Refusals of exits that come at every event for as long as another exit of the position is under way."""
_NO_TROUBLE = _RECURRING | {"Known"}
"""Refusals of exits that say nothing of what holds a sale up."""


class Tally:
    """Counts of one process; totals that must survive a restart come from the ledger instead."""

    def __init__(self, *, metrics: Metrics, clock: Clock) -> None:
        self._metrics, self._clock = metrics, clock
        self.signals = 0
        self.expired = 0
        """Attempts that were proven never to land."""
        self.refusals: Counter[str] = Counter()
        self.last_refusal: dict[Mint, tuple[str, str]] = {}
        """Per token the newest refusal: (reason, message)."""
        self._exit_trouble: OrderedDict[IntentId, str] = OrderedDict()
        """Per position why its last exit came to nothing."""
        self._refusals_told: OrderedDict[tuple[IntentId, str], None] = OrderedDict()
        self._signal_at_s: OrderedDict[tuple[str, Mint, str], float] = OrderedDict()
        """When each signal was emitted that is not approved yet, by what makes it one."""
        self._intent_at_s: OrderedDict[IntentId, float] = OrderedDict()
        self._to_send_ms: deque[float] = deque(maxlen=_MEMORY)
        self.landed: deque[bool] = deque(maxlen=50)
        """The newest transactions that reached finality, oldest first: True if it failed and only paid its fee."""

    def signal(self, signal: Signal) -> None:
        """A strategy emitted it: its stopwatch starts, so that what it waits in the queue counts."""
        self.signals += 1
        _keep(self._signal_at_s, _wish(signal), self._clock.monotonic_s())
        self._metrics.signals.labels(signal.strategy, signal.purpose.value).inc()

    def refused(
        self, strategy: str, mint: Mint, reason: str, message: str, *, position_id: IntentId | None = None
    ) -> bool:
        """Count a refusal; return whether it is worth a line: what a position meets again and again is so once."""
        reason = str(reason)  # status is keyed by it, and JSON takes no member of an enum for a key
        self.refusals[reason] += 1
        self.last_refusal[mint] = (reason, message)
        self._metrics.refused.labels(strategy, reason).inc()
        if position_id is not None and reason not in _NO_TROUBLE:
            _keep(self._exit_trouble, position_id, f"{reason}: {message}" if message else reason)
        if reason not in _RECURRING or position_id is None:
            return True
        told = (position_id, reason)
        first = told not in self._refusals_told
        self._refusals_told[told] = None
        self._refusals_told.move_to_end(told)
        while len(self._refusals_told) > _MEMORY:
            self._refusals_told.popitem(last=False)
        return first

    def approved(self, signal: Signal, intent_id: IntentId) -> None:
        """The signal became an intent, which keeps its stopwatch."""
        began_s = self._signal_at_s.pop(_wish(signal), None)
        _keep(self._intent_at_s, intent_id, self._clock.monotonic_s() if began_s is None else began_s)

    def sending(self, attempt: Attempt) -> None:
        """The first byte of an attempt is about to leave; only an intent's first attempt counts for latency."""
        started = self._intent_at_s.pop(attempt.intent_id, None)
        if started is not None:
            elapsed_s = self._clock.monotonic_s() - started
            self._to_send_ms.append(elapsed_s * 1000)
            self._metrics.signal_to_send.observe(elapsed_s, {"trade_id": attempt.intent_id})

    def moved(self, record: IntentRecord) -> None:
        self._metrics.moves.labels(record.state.value).inc(1, {"trade_id": record.intent.id})
        self.expired += record.state is IntentState.EXPIRED
        if record.state in (IntentState.DONE, IntentState.FAILED):
            self.landed.append(record.state is IntentState.FAILED)
        if record.state is IntentState.CONFIRMED:
            waited_s = (self._clock.now_ms() - record.intent.created_at_ms) / 1000
            self._metrics.signal_to_confirm.observe(max(0.0, waited_s), {"trade_id": record.intent.id})

        if record.intent.purpose is Purpose.EXIT:
            if record.state is IntentState.DONE:
                self._exit_trouble.pop(record.intent.position_id, None)
            elif record.state in (IntentState.FAILED, IntentState.ABANDONED):
                _keep(self._exit_trouble, record.intent.position_id, f"{record.state.value}: {record.reason}")

    def exit_trouble(self, position_id: IntentId) -> str:
        """Return why the last exit of a position came to nothing, "" if none did in this process or one has sold since."""
        return self._exit_trouble.get(position_id, "")

    def standing(self, standing: Standing) -> None:
        """State where a health check stands."""
        self._metrics.health.labels(standing.check).set(standing.health.value)

    def event_dropped(self, event: Event) -> None:
        self._metrics.dropped_events.inc()
        if isinstance(event, PriceTick):
            self.last_refusal[event.mint] = ("EventsDropped", "the core lags behind the market")

    def signal_to_send_ms(self) -> tuple[float | None, float | None]:
        """Return median and 99th percentile, in milliseconds; None before the first."""
        ordered = sorted(self._to_send_ms)
        if not ordered:
            return None, None
        return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def _wish(signal: Signal) -> tuple[str, Mint, str]:
    return signal.strategy, signal.mint, signal.trigger_id


def _keep(items: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    """Remember the newest few; most signals are refused, and nobody asks for theirs."""
    items[key] = value
    while len(items) > _MEMORY:
        items.popitem(last=False)
