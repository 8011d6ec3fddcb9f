"""When is a token's price too old to act on; pure, on the monotonic clock."""

from __future__ import annotations

from collections.abc import Iterable

from tradingbot_engine.domain.events import FeedStatus
from tradingbot_engine.domain.units import Mint, UnixMs


class Staleness:
    """
    Judges tokens by the feed's last proof of life.

    A token is sound while its reserves are known without a hole; a sound token lives by the feed's proofs (a price, a slot
    notification, a heartbeat), one that is not lives on from the moment at which it stopped being sound. It is stale when
    its last proof is more than `max_staleness_ms` ago. A quiet pool on a live feed is not stale.
    """

    def __init__(self, mints: Iterable[Mint], *, max_staleness_ms: int) -> None:
        self._max_s = max_staleness_ms / 1000
        self._proof_s = float("-inf")
        self._unsound: dict[Mint, tuple[float, str]] = {m: (float("-inf"), "NotSeenYet") for m in mints}
        self._mints = tuple(self._unsound)
        self._told: dict[Mint, bool] = {}

    def proof(self, now_s: float) -> None:
        """The feed is alive at `now_s`."""
        self._proof_s = max(self._proof_s, now_s)

    def unsound(self, mint: Mint, why: str) -> None:
        """There may be a hole in what is known of a token; its life ends at the feed's last proof."""
        since = self._unsound.get(mint, (self._proof_s, ""))[0]
        self._unsound[mint] = (since, why)

    def sound(self, mint: Mint) -> None:
        """The token's reserves are known again."""
        self._unsound.pop(mint, None)

    def is_sound(self, mint: Mint) -> bool:
        """Return whether there is no hole."""
        return mint not in self._unsound

    def why_unsound(self, mint: Mint) -> str:
        """Return why a token is not sound, "" if it is."""
        return self._unsound.get(mint, (0.0, ""))[1]

    def why(self, mint: Mint, now_s: float) -> str:
        """Return why a token is stale, "" if it is not."""
        if not self.is_stale(mint, now_s):
            return ""
        return self._unsound[mint][1] if mint in self._unsound else "NoProofOfLife"

    def age_s(self, mint: Mint, now_s: float) -> float:
        """Return how long ago a token's last proof of life was; infinite if there was none."""
        return now_s - (self._unsound[mint][0] if mint in self._unsound else self._proof_s)

    def is_stale(self, mint: Mint, now_s: float) -> bool:
        """Return whether a token's price must not be acted on."""
        return self.age_s(mint, now_s) > self._max_s

    def changes(self, now_s: float, at_ms: UnixMs) -> list[FeedStatus]:
        """Return what changed since the last call: one event for all tokens if they all moved alike, else one each."""
        changed = {m: s for m in self._mints if (s := self.is_stale(m, now_s)) != self._told.get(m)}
        self._told.update(changed)
        if len(changed) == len(self._mints) and len(set(changed.values())) == 1:
            return [FeedStatus(at_ms, next(iter(changed.values())))]
        return [FeedStatus(at_ms, stale, mint) for mint, stale in changed.items()]
