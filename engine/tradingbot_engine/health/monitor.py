"""
The engine's health over time: what the checks find, without flapping.

A check gets worse only after it found the same or worse `worsen_after` times in a row, and better only after `recover_after`
readings that were better throughout; to the best of what it found meanwhile, when worsening, and to the worst, when recovering.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tradingbot_engine.domain.units import UnixMs
from tradingbot_engine.health.checks import CHECKS, Finding, Health


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a check stands, and since when (wall time)."""

    check: str
    health: Health
    since_ms: UnixMs
    message: str


@dataclass(slots=True)
class _Track:
    standing: Standing
    streak: int = 0
    """Readings in a row on one side of the standing: worse is positive, better negative."""
    mildest: Finding | None = None
    """Of a streak of worse readings, the least bad."""
    gravest: Finding | None = None
    """Of a streak of better readings, the worst; None while they were all content."""


class HealthMonitor:
    """Keeps one standing per check; not told of time but through `observe`."""

    def __init__(self, *, worsen_after: int = 2, recover_after: int = 3, now_ms: UnixMs) -> None:
        self._worsen_after, self._recover_after = worsen_after, recover_after
        self._tracks = {name: _Track(Standing(name, Health.HEALTHY, now_ms, "")) for name in CHECKS}
        self._overall = Standing("", Health.HEALTHY, now_ms, "")

    @property
    def overall(self) -> Standing:
        """The worst of all checks, since when it is that bad, and what is wrong in words."""
        return self._overall

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Every check, in the order of `CHECKS`."""
        return tuple(track.standing for track in self._tracks.values())

    def observe(self, findings: Iterable[Finding], *, now_ms: UnixMs) -> tuple[Standing, ...]:
        """Take one reading; return the checks whose health changed by it."""
        found = {f.check: f for f in findings}
        changed = tuple(
            track.standing for name, track in self._tracks.items() if self._follow(track, found.get(name), now_ms)
        )
        bad = [s for s in self.standings if s.health is not Health.HEALTHY]
        health = max((s.health for s in bad), default=Health.HEALTHY)
        since_ms = self._overall.since_ms if health is self._overall.health else now_ms
        self._overall = Standing("", health, since_ms, "; ".join(s.message for s in bad))
        return changed

    def _follow(self, track: _Track, finding: Finding | None, now_ms: UnixMs) -> bool:
        """Move one track by its newest finding; return whether its health changed."""
        standing = track.standing
        health = finding.health if finding is not None else Health.HEALTHY
        if health == standing.health:
            track.streak, track.mildest, track.gravest = 0, None, None
            if finding is not None and finding.message != standing.message:  # the same trouble, in newer numbers
                track.standing = Standing(standing.check, health, standing.since_ms, finding.message)
            return False
        if health > standing.health:
            assert finding is not None
            track.streak, track.gravest = max(track.streak, 0) + 1, None
            if track.mildest is None or finding.health <= track.mildest.health:
                track.mildest = finding
            if track.streak < self._worsen_after:
                return False
            new: Finding | None = track.mildest
        else:
            track.streak, track.mildest = min(track.streak, 0) - 1, None
            if finding is not None and (track.gravest is None or finding.health >= track.gravest.health):
                track.gravest = finding
            if -track.streak < self._recover_after:
                return False
            new = track.gravest
        track.standing = Standing(
            standing.check, new.health if new else Health.HEALTHY, now_ms, new.message if new else ""
        )
        track.streak, track.mildest, track.gravest = 0, None, None
        return True
