"""Every request has an id: in its errors, in what is logged, and in the exemplar of its metric; the trade's stands beside it."""

import re

import pytest
from scripted_rpc import Raw, ScriptedNode, serving
from structlog.testing import capture_logs

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.errors import EngineError, TemporaryError
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.rpc_meter import RpcMeter
from tradingbot_engine.settings import RpcSettings
from tradingbot_engine.tracing import REQUEST, TRADE, exemplar, request, trace, trace_text, trade

TRADE_ID = "1f9c2b7e4d10aaaabbbbccccddddeeee"


def failing(status: int) -> ScriptedNode:
    def handler(method, params):
        raise Raw(status, b"<html>no</html>")

    return ScriptedNode(handler)


async def test_a_failed_request_is_found_by_its_id_in_error_log_and_exemplar():
    """From a line in a ticket to the trade and the request that it is about."""
    metrics = Metrics()
    meter = RpcMeter(metrics=metrics)
    async with serving(failing(500)) as endpoints:
        settings = RpcSettings(endpoints=endpoints, call_deadline_s=5)
        async with RpcPool(settings, clock=SystemClock(), slot_s=0.001, on_event=meter.take) as pool:
            with capture_logs() as lines, trade(TRADE_ID), pytest.raises(RpcError) as caught:
                await pool.call("getBalance", ["k"])
    assert re.search(r"\[trade 1f9c2b7e4d10, request r-[0-9a-f]{6}-\d+\]$", str(caught.value))
    asked = [line for line in lines if line["event"] == "request"]
    assert asked
    assert all(line["took_ms"] >= 0 and line["endpoint"] == "n0" for line in asked)
    text = metrics.expose("application/openmetrics-text; version=1.0.0")[0].decode()
    assert f'trade_id="{TRADE_ID}"' in text
    assert "tradingbot_rpc_request_duration_seconds_bucket{" in text
    assert (TRADE.get(), REQUEST.get()) == (None, None)


async def test_a_request_outside_of_a_trade_is_named_by_itself():
    metrics = Metrics()
    async with serving(ScriptedNode(lambda method, params: 7)) as endpoints:
        settings = RpcSettings(endpoints=endpoints)
        async with RpcPool(settings, clock=SystemClock(), on_event=RpcMeter(metrics=metrics).take) as pool:
            await pool.call("getSlot", [])
    text = metrics.expose("application/openmetrics-text; version=1.0.0")[0].decode()
    assert re.search(r'# \{request_id="r-[0-9a-f]{6}-\d+"\}', text)
    assert 'tradingbot_rpc_requests_total{endpoint="n0",outcome="ok"} 1.0' in text


def test_an_error_keeps_the_ids_that_it_was_raised_under_and_tells_them_once():
    """It may be shown long after, from elsewhere, and wrapped in another."""
    with trade(TRADE_ID), request("r-1-2"):
        inner = TemporaryError("the node hung")
        outer = TemporaryError(f"not sent: {inner}")
        assert trace() == {"trade": TRADE_ID, "request": "r-1-2"}
        assert exemplar() == {"trade_id": TRADE_ID}
    assert str(inner) == "the node hung [trade 1f9c2b7e4d10, request r-1-2]"
    assert str(outer) == "not sent: the node hung [trade 1f9c2b7e4d10, request r-1-2]"
    assert str(EngineError("later")) == "later"
    assert trace_text() == ""
    assert exemplar() is None
