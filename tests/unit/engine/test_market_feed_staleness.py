"""When a token's price is too old to act on."""

from tradingbot_engine.domain.events import FeedStatus
from tradingbot_engine.market.staleness import Staleness

A, B = "mint-a", "mint-b"


def alive(now_s: float = 10.0) -> Staleness:
    staleness = Staleness([A, B], max_staleness_ms=500)
    staleness.sound(A)
    staleness.sound(B)
    staleness.proof(now_s)
    staleness.changes(now_s, 0)
    return staleness


def test_a_token_is_stale_until_it_was_seen():
    """Nothing known is not the same as nothing changed."""
    staleness = Staleness([A], max_staleness_ms=500)
    staleness.proof(10.0)
    assert staleness.changes(10.0, 7) == [FeedStatus(7, True)]
    assert staleness.why(A, 10.0) == "NotSeenYet"


def test_a_quiet_pool_on_a_live_feed_is_not_stale():
    """Slot notifications and heartbeats are proof enough."""
    staleness = alive(10.0)
    for tenths in range(100, 200, 4):
        staleness.proof(tenths / 10)
        assert staleness.changes(tenths / 10, 0) == []


def test_without_proof_all_tokens_go_stale_after_the_limit_and_not_before():
    """500 ms is still fresh, a moment later is not; one event tells of all tokens."""
    staleness = alive(10.0)
    assert staleness.changes(10.5, 1) == []
    assert staleness.changes(10.5001, 2) == [FeedStatus(2, True)]
    assert staleness.changes(11.0, 3) == []
    staleness.proof(11.0)
    assert staleness.changes(11.0, 4) == [FeedStatus(4, False)]


def test_a_token_with_a_hole_goes_stale_alone_although_the_feed_lives():
    """Its life ended at the feed's last proof before the doubt; further doubts do not prolong it."""
    staleness = alive(10.0)
    staleness.unsound(A, "Hole")
    staleness.proof(10.4)
    staleness.unsound(A, "Fork")
    assert staleness.changes(10.4, 1) == []
    staleness.proof(10.6)
    assert staleness.changes(10.6, 2) == [FeedStatus(2, True, A)]
    assert (staleness.why(A, 10.6), staleness.why(B, 10.6)) == ("Fork", "")
    staleness.sound(A)
    assert staleness.changes(10.6, 3) == [FeedStatus(3, False, A)]


def test_a_quick_repair_is_never_told():
    """A hole that is closed within the limit did no harm."""
    staleness = alive(10.0)
    staleness.unsound(A, "Hole")
    staleness.proof(10.3)
    assert staleness.changes(10.3, 1) == []
    staleness.sound(A)
    staleness.proof(10.7)
    assert staleness.changes(10.7, 2) == []


def test_tokens_that_stay_stale_are_told_apart_when_the_feed_returns():
    """An event for all tokens must not bring back one that is still unsound."""
    staleness = alive(10.0)
    staleness.unsound(A, "EmptyPool")
    assert staleness.changes(11.0, 1) == [FeedStatus(1, True)]
    staleness.proof(11.0)
    assert staleness.changes(11.0, 2) == [FeedStatus(2, False, B)]
