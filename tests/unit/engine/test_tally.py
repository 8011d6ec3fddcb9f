"""What is counted can be told."""

from __future__ import annotations

import orjson
from support.ledgers import MINT, an_attempt, an_entry

from tradingbot_engine.bus.admission import Gone
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.signals import Priority, Purpose, Side, Signal
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.tally import Tally


def test_refusals_of_a_full_queue_are_keys_that_status_can_write() -> None:
    """Under load of all times the status page must answer; the queue's reasons are members of an enum."""
    tally = Tally(metrics=Metrics(max_series=100), clock=ManualClock())
    for reason in Gone:
        tally.refused("beat", "mint", reason, "full")
    tally.refused("beat", "mint", "Late", "late")
    assert orjson.loads(orjson.dumps(dict(tally.refusals))) == {"QueueFull": 1, "Overloaded": 1, "Late": 2}


async def test_the_time_to_the_first_byte_begins_with_the_signal_and_counts_what_it_waited_in_the_queue() -> None:
    """Under load that wait is most of it; of an intent's attempts only the first counts."""
    clock = ManualClock()
    metrics = Metrics()
    tally = Tally(metrics=metrics, clock=clock)
    signal = Signal("beat", "momentum_5m", 1, MINT, Side.BUY, Purpose.ENTRY, "bar:1", 0, 1.0, "up", Priority.NORMAL)
    order = an_entry()
    tally.signal(signal)
    await clock.advance(2.0)
    tally.approved(signal, order.id)
    await clock.advance(0.5)
    for n in (1, 2):
        tally.sending(an_attempt(order, n))
    assert tally.signal_to_send_ms() == (2500, 2500)
    page = metrics.expose("text/plain")[0].decode()
    assert "tradingbot_signal_to_send_seconds_sum 2.5" in page
    assert "tradingbot_signal_to_send_seconds_count 1.0" in page
