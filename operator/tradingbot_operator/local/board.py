"""What the runner knows at a moment; the view and the summary read it, nobody else writes it."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

ENDED = ("DONE", "FAILED", "ABANDONED")
"""States in which nothing happens to an intent any more."""


@dataclass
class Board:
    """The bot as its runner sees it."""

    bot: str
    mode: str
    cluster: str
    quote: str
    speed: float | None
    scenario: str | None
    state_dir: str
    started: float = field(default_factory=time.monotonic)
    status: dict[str, Any] = field(default_factory=dict)
    """The engine's last status document; empty until it first answered."""
    answers: bool = False
    """Whether the engine answered the last question."""
    restarts: int = 0
    """How often a crashed engine was started again."""
    stopping: str = ""
    """Why the bot is draining; empty while it trades."""
    news: deque[str] = field(default_factory=lambda: deque(maxlen=200))
    """What happened, oldest first."""
    told: int = 0
    """How many news there were in all."""
    signals_before: int = 0
    """Signals of engines that have ended since the start."""
    expired_before: int = 0
    """Attempts that expired under engines that have ended since the start."""
    latency: dict[str, Any] = field(default_factory=dict)
    """The last latencies that an engine measured."""
    before: dict[str, Any] | None = None
    """What the bot had behind it when the first engine of this run started; None until an engine told."""

    def say(self, text: str) -> None:
        """Add to the news."""
        self.news.append(text)
        self.told += 1

    def take(self, status: dict[str, Any]) -> None:
        """Keep a status document; one of an engine without its ledger tells less, and leaves the numbers as last known."""
        self.status, self.answers = {**self.status, **status}, True
        if self.before is None and isinstance(before := status.get("atStart"), dict):
            self.before = before
        latency = status.get("latency")
        if isinstance(latency, dict) and latency.get("p50SignalToSendMs") is not None:
            self.latency = latency

    def engine_ended(self) -> None:
        """Keep what only the ended engine counted."""
        self.signals_before += self._own_signals()
        self.expired_before += self._own_expired()
        self.status = {k: v for k, v in self.status.items() if k not in ("signals", "attemptsExpired")}
        self.answers = False

    @property
    def signals(self) -> int:
        """Signals since the start."""
        return self.signals_before + self._own_signals()

    @property
    def expired(self) -> int:
        """Attempts of this run that were proven never to land."""
        return self.expired_before + self._own_expired()

    @property
    def intents(self) -> dict[str, int]:
        """
        Intents of this run by state; one that an earlier run left open counts where it ended.

        Those still open are all there are, whoever began them.
        """
        before = _counts((self.before or {}).get("intents"))
        now = _counts(self.status.get("intents"))
        own = {state: n - before.get(state, 0) if state in ENDED else n for state, n in now.items()}
        return {state: n for state, n in own.items() if n > 0}

    @property
    def intents_begun(self) -> int:
        """How many intents this run began."""
        before = _counts((self.before or {}).get("intents"))
        return max(0, sum(_counts(self.status.get("intents")).values()) - sum(before.values()))

    @property
    def equity_start(self) -> int | None:
        """Equity at the start of this run, in base units of the quote; what the bot was born with while that is unknown."""
        equity = self.status.get("equity")
        born_with = equity.get("start") if isinstance(equity, dict) else None
        start = (self.before or {}).get("equity", born_with)
        return start if isinstance(start, int) else None

    @property
    def equity_now(self) -> int | None:
        """Equity as the engine last told it, in base units of the quote."""
        equity = self.status.get("equity")
        now = equity.get("now") if isinstance(equity, dict) else None
        return now if isinstance(now, int) else None

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self.started

    def _own_signals(self) -> int:
        signals = self.status.get("signals")
        total = signals.get("total") if isinstance(signals, dict) else 0
        return total if isinstance(total, int) else 0

    def _own_expired(self) -> int:
        expired = self.status.get("attemptsExpired")
        return expired if isinstance(expired, int) else 0


def _counts(value: Any) -> dict[str, int]:
    """Return counts by name; whatever is no count is left out."""
    entries = value.items() if isinstance(value, dict) else ()
    return {str(k): v for k, v in entries if isinstance(v, int) and not isinstance(v, bool)}
