"""What the runner knows at a moment; the view and the summary read it, nobody else writes it."""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any


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
    latency: dict[str, Any] = field(default_factory=dict)
    """The last latencies that an engine measured."""

    def say(self, text: str) -> None:
        """Add to the news."""
        self.news.append(text)
        self.told += 1

    def take(self, status: dict[str, Any]) -> None:
        """Keep a status document; one of an engine without its ledger tells less, and leaves the numbers as last known."""
        self.status, self.answers = {**self.status, **status}, True
        latency = status.get("latency")
        if isinstance(latency, dict) and latency.get("p50SignalToSendMs") is not None:
            self.latency = latency

    def engine_ended(self) -> None:
        """Keep what only the ended engine counted."""
        self.signals_before += self._own_signals()
        if "signals" in self.status:
            self.status = {**self.status, "signals": {}}
        self.answers = False

    @property
    def signals(self) -> int:
        """Signals since the start."""
        return self.signals_before + self._own_signals()

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self.started

    def _own_signals(self) -> int:
        signals = self.status.get("signals")
        total = signals.get("total") if isinstance(signals, dict) else 0
        return total if isinstance(total, int) else 0
