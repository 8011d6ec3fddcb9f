"""Whoever waited past its deadline is not granted what becomes free then."""

from __future__ import annotations

from yarl import URL

from tradingbot_engine.rpc.breaker import Breaker
from tradingbot_engine.rpc.dispatch import Dispatch
from tradingbot_engine.rpc.endpoint import Endpoint
from tradingbot_engine.rpc.errand import Errand, Lease, Wait
from tradingbot_engine.rpc.errors import RpcDeadline
from tradingbot_engine.rpc.limiter import TokenBucket
from tradingbot_engine.rpc.permits import Permits
from tradingbot_engine.rpc.wire import Result
from tradingbot_engine.settings import RpcSettings


def _one_permit() -> tuple[Dispatch, Endpoint]:
    settings = RpcSettings.model_validate({"endpoints": [{"name": "n0", "url": "http://127.0.0.1:1"}]})
    endpoint = Endpoint(
        name="n0",
        url=URL("http://127.0.0.1:1"),
        priority=0,
        place=0,
        bucket=TokenBucket(per_second=100, burst=100),
        probes=TokenBucket(per_second=1, burst=1),
        permits=Permits(1),
        breaker=Breaker(settings.breaker),
    )
    dispatch = Dispatch([endpoint], settings, slot_s=0.4)
    return dispatch, endpoint


def test_a_permit_that_comes_after_the_deadline_wakes_its_waiter_without_a_request() -> None:
    """The event loop may be late, and the answer that frees the permit be handled before the waiter's own timer."""
    dispatch, endpoint = _one_permit()
    woken: list[int] = []
    first = Errand([endpoint], (endpoint,), deadline_s=30.0)
    lease = dispatch.begin(first, 0.0)
    assert isinstance(lease, Lease)
    second = Errand([endpoint], (endpoint,), deadline_s=0.5, wake=lambda: woken.append(1))
    assert isinstance(dispatch.begin(second, 0.0), Wait)
    dispatch.settle(lease, Result(1, None), 1.0, first)
    assert (woken, second.lease, second.queued) == ([1], None, False)
    assert isinstance(dispatch.resume(second, 1.0), RpcDeadline)
    assert dispatch.permits.in_use == endpoint.permits.in_use == 0


def test_a_permit_that_comes_in_time_is_granted() -> None:
    """The check must not refuse what can still end before the deadline."""
    dispatch, endpoint = _one_permit()
    first = Errand([endpoint], (endpoint,), deadline_s=30.0)
    lease = dispatch.begin(first, 0.0)
    assert isinstance(lease, Lease)
    second = Errand([endpoint], (endpoint,), deadline_s=0.5)
    assert isinstance(dispatch.begin(second, 0.0), Wait)
    dispatch.settle(lease, Result(1, None), 0.1, first)
    granted = dispatch.resume(second, 0.1)
    assert isinstance(granted, Lease)
    dispatch.drop(granted, 0.2)
    assert dispatch.permits.in_use == 0
