"""The autoscaler's measure: depth, oldest wait and busy workers, over 15 seconds."""

import pytest
from support.queue_ramp import SimulatedClock, ramp

from tradingbot_engine.bus.utilization import Utilization


class Measured:
    """A measure whose backlog is set by hand."""

    def __init__(self, workers: int = 4) -> None:
        self.clock, self.backlog = SimulatedClock(), 0.0
        self.measure = Utilization(workers=workers, backlog=lambda: self.backlog, now=self.clock.monotonic_s)

    def passes(self, seconds: float) -> float:
        """Let time pass, looking every second as the gauge does."""
        end_s = self.clock.at_s + seconds
        while self.clock.at_s < end_s:
            self.clock.at_s = min(end_s, self.clock.at_s + 1.0)
            value = self.measure.value()
        return value


def test_the_busy_share_is_weighed_by_time():
    """Three of four workers for five seconds of fifteen are a quarter."""
    m = Measured()
    m.measure.busy(+3)
    assert m.passes(5) == pytest.approx(0.75)
    m.measure.busy(-3)
    assert m.passes(10) == pytest.approx(0.25)
    assert m.passes(3) == pytest.approx(0.1)
    assert m.passes(15) == 0


def test_work_between_two_looks_counts():
    """Busy time is measured, not sampled: many short jobs look like what they are."""
    m = Measured(workers=1)
    for _ in range(15):
        m.clock.at_s += 0.2
        m.measure.busy(+1)
        m.clock.at_s += 0.8
        m.measure.busy(-1)
    assert m.measure.value() == pytest.approx(0.8)


def test_the_worst_of_the_three_counts():
    m = Measured()
    m.measure.busy(+1)
    m.backlog = 0.9
    assert m.passes(15) == pytest.approx(0.9)
    m.backlog = 0.1
    assert m.passes(16) == pytest.approx(0.25, abs=0.02)


def test_one_lively_moment_is_no_reason_to_scale():
    """A mean, not a maximum: a full second among fifteen is a fifteenth."""
    m = Measured()
    m.passes(15)
    m.measure.busy(+4)
    m.passes(1)
    m.measure.busy(-4)
    assert m.passes(3) == pytest.approx(1 / 15, abs=0.01)


def test_what_nobody_looked_at_for_long_is_forgotten():
    """After a minute without a look only the present state is known to hold."""
    m = Measured()
    m.measure.busy(+4)
    m.clock.at_s += 60
    assert m.measure.value() == pytest.approx(1.0)
    m.measure.busy(-4)
    m.clock.at_s += 60
    assert m.measure.value() == 0


def test_the_measure_stays_between_zero_and_one():
    m = Measured(workers=1)
    m.backlog = 7.0
    m.measure.busy(+1)
    assert m.passes(40) == 1


@pytest.mark.parametrize("seed", range(4))
def test_on_a_ramp_the_measure_crosses_its_target_before_p99_latency_doubles(seed):
    """The autoscaler must act while trades are still as fast as ever; depth alone tells too late."""
    seen = ramp(seed=seed)
    assert seen.crossed_s < seen.doubled_s - 60, "a pod needs time to start"
    assert 0.45 < seen.crossed_load < 0.75
    assert seen.depth_crossed_s > seen.doubled_s
