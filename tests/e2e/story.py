"""What a test broke, what it measured, and what the audit said: told in one table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from e2e.audit import Verdict


@dataclass
class Story:
    """One test's."""

    test: str
    broke: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)
    leaves_open: bool = False
    """The bot was let go whatever was open, as somebody asked: the audit counts it, and the next owner of the ledger follows it."""
    outcome: str = "?"
    began_s: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def breaks(self, what: str) -> None:
        """Note what was broken, just before or after it was."""
        self.broke.append(what)
        print(f"{time.monotonic() - self.began_s:6.1f} s  broke: {what}", flush=True)

    def says(self, what: str) -> None:
        """Print a step."""
        print(f"{time.monotonic() - self.began_s:6.1f} s  {what}", flush=True)

    def figure(self, name: str, value: float) -> None:
        """Note a figure; seconds unless the name says otherwise."""
        self.figures[name] = value
        self.says(f"{name}: {value:.2f}")

    @contextmanager
    def measured(self, name: str) -> Iterator[None]:
        """Note how long something took, in seconds."""
        began_s = time.monotonic()
        yield
        self.figure(name, time.monotonic() - began_s)

    def judged(self, bot: str, verdict: Verdict) -> None:
        """Note an audit's verdict, and hold it to the promise."""
        self.verdicts.append(str(verdict))
        self.says(f"audit of {bot}: {verdict}")
        assert verdict.sound, f"the audit of {bot} found: {verdict}\n{verdict.report}"

    def lines(self) -> list[str]:
        """Return it in words."""
        figures = "; ".join(f"{name} {value:.2f}" for name, value in self.figures.items())
        return [
            f"{self.outcome:7} {self.seconds:5.0f} s  {self.test}",
            *(f"            broke: {what}" for what in self.broke),
            *(f"            audit: {verdict}" for verdict in self.verdicts),
            *([f"            measured: {figures}"] if figures else []),
        ]
