"""Which bars are asked from history, and when again."""

from tradingbot_engine.domain.events import BAR_MS, Bar, HistoryLoaded
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.market.port import FeedHealth
from tradingbot_engine.warm import HistoryFiller

T0 = 1_750_000_000_000 // BAR_MS * BAR_MS


class ScriptedFeed:
    """A feed that says what the test says, and has a bar for every minute that is over."""

    def __init__(self) -> None:
        self.now_ms, self.stale, self.asked, self.broken = T0, False, 0, False

    def health(self) -> FeedHealth:
        return FeedHealth(self.now_ms, 1, self.stale, "n", {})

    async def history(self, mint: str, *, since_ms: int) -> tuple[Bar, ...]:
        self.asked += 1
        if self.broken:
            raise TemporaryError("the history API is away")
        first = T0 - 3 * BAR_MS
        return tuple(Bar(t, 1, 1, 1, 1, 0, 0) for t in range(first, self.now_ms + 1, BAR_MS))


class Kept:
    def __init__(self) -> None:
        self.starts: list[int] = []

    def keep(self, mint: str, bar: Bar) -> None:
        self.starts.append(bar.start_ms)


def filler() -> tuple[HistoryFiller, ScriptedFeed, list[HistoryLoaded], Kept]:
    feed, told, kept = ScriptedFeed(), [], Kept()
    made = HistoryFiller(feed=feed, tokens=[Token("M", "M", 6)], bars=kept, emit=told.append)  # type: ignore[arg-type]
    return made, feed, told, kept


async def test_only_closed_bars_are_taken_from_history():
    """The minute under way is the live feed's."""
    made, feed, told, kept = filler()
    feed.now_ms = T0 + BAR_MS // 2
    await made.fill()
    assert [b.start_ms for b in told[0].bars] == [T0 - 3 * BAR_MS, T0 - 2 * BAR_MS, T0 - BAR_MS]
    assert kept.starts == [b.start_ms for b in told[0].bars]


async def test_the_minute_in_which_the_feed_joined_is_asked_for_once_it_is_over():
    """Otherwise a hole would silence strategies for an hour."""
    made, feed, told, _ = filler()
    feed.now_ms = T0 + BAR_MS // 2
    await made.fill()
    await made.fill()
    assert feed.asked == 1, "history is not asked at every turn"
    feed.now_ms += 2 * BAR_MS
    await made.fill()
    assert T0 in [b.start_ms for b in told[1].bars]
    feed.now_ms += 20 * BAR_MS
    await made.fill()
    assert feed.asked == 2


async def test_after_a_stale_time_the_gap_is_filled():
    made, feed, told, _ = filler()
    await made.fill()
    feed.now_ms += 5 * BAR_MS
    await made.fill()
    before = len(told)
    feed.stale = True
    await made.fill()
    feed.now_ms += 10 * BAR_MS
    feed.stale = False
    await made.fill()
    assert len(told) == before + 1
    assert told[-1].bars[-1].start_ms == feed.now_ms - BAR_MS


async def test_a_history_that_is_away_is_asked_again():
    made, feed, told, _ = filler()
    feed.broken = True
    for _ in range(2):
        try:
            await made.fill()
        except TemporaryError:
            pass
        else:
            raise AssertionError("the caller must hear that history is away")
    feed.broken = False
    await made.fill()
    assert len(told) == 1
    assert made.missing == frozenset()
