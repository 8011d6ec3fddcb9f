"""The error table: message first, then code, then HTTP status."""

import json
from typing import Any

import pytest
from scripted_rpc import RECORDED

from tradingbot_engine.errors import PermanentError, TemporaryError
from tradingbot_engine.rpc.errors import (
    FAULT,
    MAX_COOL_OFF_S,
    AlreadyProcessed,
    BlockhashNotFound,
    DataMissing,
    MethodUnsupported,
    Next,
    NodeBehind,
    PreflightFailed,
    RequestInvalid,
    RpcCredential,
    RpcThrottled,
    RpcUnavailable,
    SlotSkipped,
    Verdict,
    classify,
    retry_after_s,
)

ERRORS = RECORDED / "fixtures" / "error_bodies.jsonl"


def judge(
    code: int | None = None,
    message: str = "",
    *,
    status: int = 200,
    data: Any = None,
    headers: dict[str, str] | None = None,
) -> Verdict:
    error = None if code is None else {"code": code, "message": message, "data": data}
    return classify(provider="a", status=status, error=error, headers=headers or {}, now_unix_s=1_000_000_000.0)


@pytest.mark.parametrize(
    ("verdict", "action", "error"),
    [
        (judge(status=429), Next.COOL, RpcThrottled),
        (judge(429, "Too many requests"), Next.COOL, RpcThrottled),
        (judge(-32429, "slow down"), Next.COOL, RpcThrottled),
        (judge(-32000, "request limit reached"), Next.COOL, RpcThrottled),
        (judge(-32007, "You hit the Rate Limit of your plan"), Next.COOL, RpcThrottled),
        (judge(-32007, "Slot 5 was skipped, or missing due to ledger jump"), Next.ELSEWHERE, SlotSkipped),
        (judge(-32009, "Slot 5 was skipped, or missing in long-term storage"), Next.ELSEWHERE, SlotSkipped),
        (judge(-32000, "something else"), Next.BLAME, RpcUnavailable),
        (judge(status=401), Next.DISABLE, RpcCredential),
        (judge(-32602, "Invalid params", status=403), Next.DISABLE, RpcCredential),
        (judge(status=500), Next.BLAME, RpcUnavailable),
        (judge(status=200), Next.BLAME, RpcUnavailable),
        (judge(-32603, "Internal error"), Next.BLAME, RpcUnavailable),
        (judge(-32700, "Parse error"), Next.BLAME, RpcUnavailable),
        (judge(-31999, "never heard of"), Next.BLAME, RpcUnavailable),
        (judge(-32005, "Node is behind by 150 slots"), Next.ELSEWHERE, NodeBehind),
        (judge(-32016, "Minimum context slot has not been reached"), Next.ELSEWHERE, NodeBehind),
        (judge(-32012, "scan error"), Next.ELSEWHERE, NodeBehind),
        (judge(-32019, "long-term storage unreachable"), Next.ELSEWHERE, NodeBehind),
        (judge(-32001, "Block cleaned up"), Next.ELSEWHERE_THEN_WAIT, DataMissing),
        (judge(-32004, "Block not available for slot 5"), Next.ELSEWHERE_THEN_WAIT, DataMissing),
        (judge(-32014, "Block status not yet available"), Next.ELSEWHERE_THEN_WAIT, DataMissing),
        (judge(-32002, "Transaction simulation failed: Blockhash not found"), Next.ELSEWHERE, BlockhashNotFound),
        (judge(-32002, "simulation failed", data={"err": "BlockhashNotFound"}), Next.ELSEWHERE, BlockhashNotFound),
        (judge(-32002, "This transaction has already been processed"), Next.SURFACE, AlreadyProcessed),
        (judge(-32002, "failed", data={"err": "AlreadyProcessed"}), Next.SURFACE, AlreadyProcessed),
        (
            judge(-32002, "custom program error: 0x1771", data={"err": {"InstructionError": [3, {"Custom": 6001}]}}),
            Next.SURFACE,
            PreflightFailed,
        ),
        (judge(-32003, "Transaction signature verification failure"), Next.SURFACE, RequestInvalid),
        (judge(-32602, "Invalid params"), Next.SURFACE, RequestInvalid),
        (judge(-32601, "Method not found"), Next.ELSEWHERE, MethodUnsupported),
    ],
)
def test_every_row_of_the_table_says_what_the_caller_does_next(
    verdict: Verdict, action: Next, error: type[Exception]
) -> None:
    """The action is the pool's, the error's class is the caller's."""
    assert (action, error) == (verdict.row.next, type(verdict.error))


def test_a_programs_log_cannot_pass_for_a_rate_limit() -> None:
    """A preflight failure whose text says 'rate limit' is still the transaction's own fault, not the endpoint's."""
    assert judge(-32002, "program says: rate limit exceeded").row.error is PreflightFailed


def test_a_credential_error_outranks_a_throttling_body() -> None:
    """401 with any body disables the endpoint: waiting would not help."""
    assert judge(429, "Too many requests", status=401).row.next is Next.DISABLE


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "Sun, 09 Sep 2001 01:46:45 GMT"}, 5.0),
        ({"x-ratelimit-reset": "1000000012"}, 12.0),
        ({"x-ratelimit-reset": "4.5"}, 4.5),
        ({"Retry-After": "soon", "x-ratelimit-reset": "3"}, 3.0),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_the_time_to_wait_is_read_from_the_headers(headers: dict[str, str], expected: float | None) -> None:
    """Seconds, an HTTP date, a moment in unix seconds or the seconds until it: all forms are met in the wild."""
    assert expected == retry_after_s(headers, 1_000_000_000.0)


def test_a_cool_off_is_bounded_whatever_the_header_asks_for() -> None:
    """A header of a year must not switch an endpoint off."""
    assert judge(status=429, headers={"Retry-After": "31536000"}).cool_off_s == MAX_COOL_OFF_S


def test_every_class_of_error_is_temporary_or_permanent() -> None:
    """The caller decides by class alone."""
    from tradingbot_engine.rpc.errors import TABLE

    for row in (*TABLE, FAULT):
        assert issubclass(row.error, TemporaryError) != issubclass(row.error, PermanentError), row.name


EXPECTED_OF_RECORDED = {
    "rpc429-rpcpool": RpcThrottled,
    "rpc429-strid": RpcThrottled,
    "rpc429-strid2": RpcThrottled,
    "rpc429-2022b": RpcThrottled,
    "rpc429-conn": RpcThrottled,
    "helius-credits": RpcThrottled,
    "jito-global": RpcThrottled,
    "alchemy-cu": RpcThrottled,
    "alchemy-cu-2024": RpcThrottled,
    "rpc-behind-59093": NodeBehind,
    "rpc-behind-1906": NodeBehind,
    "rpc-behind-3104": NodeBehind,
    "send-blockhash": BlockhashNotFound,
    "gettx-version-old": RequestInvalid,
    "gettx-version-new": RequestInvalid,
}


@pytest.mark.recorded
@pytest.mark.skipif(not ERRORS.exists(), reason="recorded data is not beside the repository")
def test_recorded_complaints_of_real_providers_are_understood_with_and_without_their_http_status() -> None:
    """Bodies copied from public issues; the body alone must be enough, since some gateways send them with HTTP 200."""
    seen = set()
    for line in ERRORS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        expected = EXPECTED_OF_RECORDED.get(row["id"])
        if expected is None:
            continue
        body = json.loads(row["body"])
        error = body.get("error", body)
        for status in {row["http_status"] or 200, 200}:
            verdict = classify(provider="a", status=status, error=error, headers={}, now_unix_s=0.0)
            assert expected is type(verdict.error), (row["id"], status)
        seen.add(row["id"])
    assert set(EXPECTED_OF_RECORDED) == seen
