"""What is counted can be told."""

from __future__ import annotations

import orjson

from tradingbot_engine.bus.admission import Gone
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.tally import Tally


def test_refusals_of_a_full_queue_are_keys_that_status_can_write() -> None:
    """Under load of all times the status page must answer; the queue's reasons are members of an enum."""
    tally = Tally(metrics=Metrics(max_series=100), clock=ManualClock())
    for reason in Gone:
        tally.refused("beat", "mint", reason, "full")
    tally.refused("beat", "mint", "Late", "late")
    assert orjson.loads(orjson.dumps(dict(tally.refusals))) == {"QueueFull": 1, "Overloaded": 1, "Late": 2}
