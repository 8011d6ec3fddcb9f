"""What a metric takes, what it refuses, and how many series there can be."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tradingbot_engine
from tradingbot_engine.metrics import MAX_LABEL_CHARS, OTHER, Family, Metrics, Series


def shown(metrics: Metrics, name: str, accept: str = "") -> list[str]:
    """Return the exposed lines of a metric, without its creation times."""
    text = metrics.expose(accept)[0].decode()
    return [line for line in text.splitlines() if line.startswith(name) and "_created" not in line]


def refusals(metrics: Metrics) -> dict[tuple[str, str], float]:
    found = {}
    for line in shown(metrics, "tradingbot_metrics_refused_total{"):
        match = re.search(r'metric="([^"]*)",why="([^"]*)"} (\S+)', line)
        assert match is not None
        found[match[1], match[2]] = float(match[3])
    return found


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "notFinite"),
        (float("inf"), "notFinite"),
        (-float("inf"), "notFinite"),
        (-1, "negative"),
        (-1e-12, "negative"),
        ("1", "type"),
        (None, "type"),
        ([1], "type"),
    ],
)
def test_a_false_value_is_refused_counted_and_changes_nothing(value, why):
    """A NaN in a histogram's sum poisons it for ever; nobody would see where it came from."""
    metrics = Metrics()
    metrics.signal_to_send.observe(0.25)
    metrics.queue_utilization.set(0.5)
    metrics.dropped_events.inc(2)
    before = metrics.expose()[0]
    metrics.signal_to_send.observe(value)
    metrics.queue_utilization.set(value)
    metrics.dropped_events.inc(value)
    after = metrics.expose()[0]
    assert refusals(metrics) == {
        ("tradingbot_signal_to_send_seconds", why): 1,
        ("tradingbot_queue_utilization", why): 1,
        ("tradingbot_events_dropped_total", why): 1,
    }
    lines = [line for line in after.splitlines() if b"metrics_refused" not in line]
    assert lines == [line for line in before.splitlines() if b"metrics_refused" not in line]


def test_what_may_be_negative_is_taken_and_a_range_has_two_ends():
    metrics = Metrics()
    metrics.equity.set(-5)
    metrics.queue_utilization.set(1.01)
    metrics.tier.set(3)
    assert shown(metrics, "tradingbot_equity_quote_units ") == ["tradingbot_equity_quote_units -5.0"]
    assert refusals(metrics) == {("tradingbot_queue_utilization", "aboveRange"): 1}


def test_label_sets_are_bounded_and_sums_stay_right():
    """Counts beyond the limit go to `other`; nothing is lost, and one bad label cannot fill a Prometheus."""
    metrics = Metrics(max_series=10)
    for number in range(100):
        metrics.signals.labels(f"s{number}", "ENTRY").inc()
    lines = shown(metrics, "tradingbot_signals_total{")
    assert len(lines) == 11
    assert sum(float(line.rsplit(" ", 1)[1]) for line in lines) == 100
    other = next(line for line in lines if f'strategy="{OTHER}"' in line)
    assert other.endswith(" 90.0")
    assert refusals(metrics)["tradingbot_signals_total", "tooManySeries"] == 90
    metrics.signals.labels("s3", "ENTRY").inc()
    assert next(line for line in shown(metrics, "tradingbot_signals_total{") if '"s3"' in line).endswith(" 2.0")


def test_a_gauge_beyond_the_limit_is_refused_since_the_last_writer_would_win():
    metrics = Metrics(max_series=2)
    slots = metrics.gauges("tradingbot_endpoint_slot", "Slot.", ["endpoint"], least=0)
    for number in range(4):
        slots.labels(f"e{number}").set(number)
    assert len(shown(metrics, "tradingbot_endpoint_slot{")) == 2
    assert refusals(metrics) == {("tradingbot_endpoint_slot", "tooManySeries"): 2}


@pytest.mark.parametrize("labels", [("only one",), ("a", "b", "c"), ("", "ENTRY"), (None, "ENTRY"), (5, "ENTRY"), ()])
def test_label_sets_that_do_not_fit_are_refused_without_an_exception(labels):
    """A metric must not stop a trade."""
    metrics = Metrics()
    metrics.signals.labels(*labels).inc()
    assert shown(metrics, "tradingbot_signals_total{") == []
    assert refusals(metrics) == {("tradingbot_signals_total", "labels"): 1}


def test_what_is_gone_leaves_no_series_and_takes_nothing_more():
    """A removed strategy's numbers would otherwise stand still for ever, and look alive."""
    metrics = Metrics(max_series=4)
    old = metrics.signals.labels("old", "ENTRY")
    old.inc()
    metrics.signals.labels("old", "EXIT").inc()
    metrics.signals.labels("new", "ENTRY").inc()
    metrics.refused.labels("old", "Halted").inc()
    assert metrics.forget(strategy="old") == 3
    old.inc()
    assert [line for line in shown(metrics, "tradingbot_signals") if '"old"' in line] == []
    assert metrics.forget(strategy="old") == 0
    assert metrics.forget(token="x") == 0
    assert metrics.forget() == 0
    metrics.signals.labels("old", "ENTRY").inc()  # it came back, and there is room for it
    assert any('"old"' in line and line.endswith(" 1.0") for line in shown(metrics, "tradingbot_signals_total{"))


def test_exemplars_name_the_trade_where_the_reader_understands_them():
    """From a slow bucket to the trade that was slow; the plain format has no place for it."""
    metrics = Metrics()
    metrics.signal_to_send.observe(0.2, {"trade_id": "1f9c2b7e4d10"})
    metrics.moves.labels("DONE").inc(1, {"trade_id": "aaaa"})
    rich = "\n".join(shown(metrics, "tradingbot", "application/openmetrics-text; version=1.0.0"))
    assert '# {trade_id="1f9c2b7e4d10"} 0.2' in rich
    assert '# {trade_id="aaaa"} 1.0' in rich
    assert "trade_id" not in "\n".join(shown(metrics, "tradingbot"))


def test_an_exemplar_that_is_too_long_never_loses_the_value_or_raises():
    """Prometheus allows 128 characters of exemplar; an id of unknown length must not stop a trade."""
    metrics = Metrics()
    metrics.signal_to_send.observe(0.2, {"trade_id": "x" * 500})
    metrics.moves.labels("DONE").inc(1, {"bad-name": "x"})
    assert shown(metrics, "tradingbot_signal_to_send_seconds_count") == ["tradingbot_signal_to_send_seconds_count 1.0"]
    assert shown(metrics, "tradingbot_intent_moves_total{")[0].endswith(" 1.0")


@given(st.lists(st.tuples(st.text(max_size=300), st.text(max_size=300)), max_size=20), st.floats() | st.integers())
def test_anything_may_be_thrown_at_a_metric(labels, value):
    """It neither raises nor shows a control character or an endless label."""
    metrics = Metrics(max_series=5)
    for pair in labels:
        metrics.signals.labels(*pair).inc(value)
    metrics.signal_to_send.observe(value)
    lines = shown(metrics, "tradingbot_signals_total{")
    assert len(lines) <= 6
    for line in lines:
        for label in re.findall(r'="((?:[^"\\]|\\.)*)"', line):
            assert len(label.replace("\\\\", "\\").replace('\\"', '"')) <= MAX_LABEL_CHARS


def test_every_metric_that_is_offered_is_written_by_some_part_of_the_engine():
    """One that nobody writes shows 0 for ever, which is false: whoever watches it believes that all is calm."""
    package = Path(tradingbot_engine.__file__).parent
    text = "\n".join(p.read_text() for p in package.rglob("*.py") if p.name != "metrics.py")
    offered = [name for name, value in vars(Metrics()).items() if isinstance(value, Series | Family)]
    assert len(offered) > 20
    unwritten = [n for n in offered if not re.search(rf"metrics\.{n}\.(labels|inc|set|observe)\(", text)]
    assert unwritten == []
