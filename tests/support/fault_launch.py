"""
The engine's own command line with a strategy that trades all the time, a wall clock that a test can set, and floods.

What a test asks for while it runs it writes into files that the environment names; see `fault_stage`.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from chaos.metronome import Metronome

from tradingbot_engine import pipeline
from tradingbot_engine.__main__ import main
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core.state import CoreState
from tradingbot_engine.core.strategies import registry
from tradingbot_engine.domain.effects import Effect, EmitSignal
from tradingbot_engine.domain.events import Event
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal

PRIORITIES = (Priority.HIGH, Priority.NORMAL, Priority.LOW)


class Told:
    """A number in a file, read again every 50 ms; 0 while there is none."""

    def __init__(self, path: Path) -> None:
        self._path, self._value, self._read_s = path, 0.0, 0.0

    def value(self) -> float:
        now = time.monotonic()
        if now - self._read_s >= 0.05:
            self._read_s = now
            try:
                self._value = float(self._path.read_text() or 0)
            except FileNotFoundError:
                self._value = 0.0
        return self._value


def set_clock(path: Path) -> None:
    """Let the wall clock run so many milliseconds ahead (negative: behind) as the file says."""
    offset_ms = Told(path)
    SystemClock.now_ms = lambda self: time.time_ns() // 1_000_000 + round(offset_ms.value())  # type: ignore[method-assign]


def flood(path: Path, *, once: Path) -> None:
    """
    Let every wish of a strategy bring about as many wishes to enter as the file says, as if from other events, just before it.

    What `once` says holds for one wish to leave, which takes the file away and so meets a queue that is full. They come in
    every urgency that an entry can have; exits stay as they are, so that each one stands for a position.
    """
    times, numbers, plain = Told(path), itertools.count(), pipeline.decide

    def repeats(signal: Signal) -> int:
        if signal.purpose is Purpose.EXIT and once.exists():
            told = int(once.read_text())
            once.unlink()
            return told
        return round(times.value())

    def copies(signal: Signal) -> Iterator[Effect]:
        for _ in range(repeats(signal)):
            n = next(numbers)
            entry = replace(signal, side=Side.BUY, purpose=Purpose.ENTRY, position_id=None, reason="Flood")
            yield EmitSignal(replace(entry, trigger_id=f"{signal.trigger_id}/{n}", priority=PRIORITIES[n % 3]))

    def decide(state: CoreState, event: Event) -> list[Effect]:
        flooded: list[Effect] = []
        for effect in plain(state, event):
            if isinstance(effect, EmitSignal):
                flooded += copies(effect.signal)
            flooded.append(effect)
        return flooded

    pipeline.decide = decide


registry.STRATEGIES[Metronome.name] = Metronome  # type: ignore[index]

if __name__ == "__main__":
    if clock_file := os.environ.get("STAGE_CLOCK"):
        set_clock(Path(clock_file))
    if flood_file := os.environ.get("STAGE_FLOOD"):
        flood(Path(flood_file), once=Path(f"{flood_file}.once"))
    main()
