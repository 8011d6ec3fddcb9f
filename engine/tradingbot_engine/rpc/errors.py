"""
What a node's complaint means for the caller: one table, read by message first, then by code, then by HTTP status.

Providers reuse codes (-32007 is a skipped slot here and a rate limit there), so a row that reads the text stands above
the row that reads the code alone. Texts of errors never hold a URL, since a URL may hold a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from tradingbot_engine.errors import EngineError, PermanentError, TemporaryError

MIN_COOL_OFF_S = 0.25
"""However short a time a header asks for: a node that limits us is not asked again within the same breath."""
MAX_COOL_OFF_S = 120.0
"""However long a header asks for: an endpoint is asked again after this."""


class RpcError(EngineError):
    """Base; `provider` is the endpoint's name in the settings, `code` the JSON-RPC code if there was one."""

    def __init__(self, message: str, *, provider: str = "", code: int | None = None, data: Any = None) -> None:
        super().__init__(f"{provider}: {message}" if provider else message)
        self.provider = provider
        self.code = code
        self.data = data


class RpcUnavailable(RpcError, TemporaryError):
    """The node failed, or nobody is left to ask; for sendTransaction the outcome is unknown."""


class RpcTimeout(RpcUnavailable):
    """The node may have acted: confirm by signature, then resend the same bytes."""


class RpcDeadline(RpcTimeout):
    """The call's own deadline leaves no time to ask (again); what was asked before may have been acted on."""


class RpcThrottled(RpcError, TemporaryError):
    """A limit was met: ask elsewhere, and here again only after the endpoint's cool-off."""


class RpcOverloaded(RpcThrottled):
    """Our own limits leave no room in time; no node was asked. Shed work, or raise the limits."""


class RpcCredential(RpcError, PermanentError):
    """The provider does not accept the key: a person must act."""


class NodeBehind(RpcError, TemporaryError):
    """The node is unhealthy, or has not reached the slot that was asked for; another may have."""


class DataMissing(RpcError, TemporaryError):
    """No node that was asked has the data now; one may have it later."""


class SlotSkipped(RpcError, PermanentError):
    """The slot has no block (or no node still has it)."""


class BlockhashNotFound(RpcError, TemporaryError):
    """No node that was asked knows the blockhash: too new for it, on another fork, or too old. Keep resending elsewhere."""


class AlreadyProcessed(RpcError, PermanentError):
    """These bytes are in a block already: go and poll."""


class PreflightFailed(RpcError, PermanentError):
    """The node's simulation failed, so it did not forward the bytes; `data` holds err and logs."""


class RequestInvalid(RpcError, PermanentError):
    """Our request is wrong: never retry it as it is."""


class MethodUnsupported(RpcError, PermanentError):
    """No endpoint serves this method."""


class WrongChain(RpcError, PermanentError):
    """The endpoint serves another chain than the one that is traded on: it is asked for nothing until it shows ours."""


class ChainRefused(RpcError, PermanentError):
    """The chain's state does not allow the question."""


class Next(StrEnum):
    """What the pool does with a complaint."""

    COOL = "leave this endpoint alone until it allows, ask another"
    DISABLE = "leave this endpoint alone until a health probe is taken again (of another chain: until it shows ours), ask another"
    BLAME = "count a fault against this endpoint, ask another"
    ELSEWHERE = "ask another at once; nobody is to blame"
    ELSEWHERE_THEN_WAIT = "ask every other, then all of them again one slot later"
    SURFACE = "tell the caller at once: asking again cannot help"


@dataclass(frozen=True, slots=True)
class Row:
    """
    Matches an answer with one of `statuses`, or an error with one of `codes` (empty: any) and one of `words` (empty: any).

    `cool_off_s` is used when the answer names no time itself.
    """

    name: str
    next: Next
    error: type[RpcError]
    statuses: frozenset[int] = frozenset()
    codes: frozenset[int] = frozenset()
    words: tuple[str, ...] = ()
    cool_off_s: float = 0.0


def _codes(*codes: int) -> frozenset[int]:
    return frozenset(codes)


UNSUPPORTED = Row("Unsupported", Next.ELSEWHERE, MethodUnsupported, codes=_codes(-32601))

TABLE: tuple[Row, ...] = (
    Row("Credential", Next.DISABLE, RpcCredential, statuses=_codes(401, 403)),
    Row("PlanExhausted", Next.COOL, RpcThrottled, words=("max usage reached",), cool_off_s=MAX_COOL_OFF_S),
    Row("Throttled", Next.COOL, RpcThrottled, statuses=_codes(429), codes=_codes(429, -32429, -32097), cool_off_s=1.0),
    Row(
        "ThrottledByText",
        Next.COOL,
        RpcThrottled,
        codes=_codes(-32000, -32007),
        words=("request limit", "rate limit"),
        cool_off_s=1.0,
    ),
    Row(
        "BlockhashNotFound",
        Next.ELSEWHERE,
        BlockhashNotFound,
        codes=_codes(-32002),
        words=("blockhashnotfound", "blockhash not found"),
    ),
    Row(
        "AlreadyProcessed",
        Next.SURFACE,
        AlreadyProcessed,
        codes=_codes(-32002),
        words=("alreadyprocessed", "already been processed"),
    ),
    Row("Preflight", Next.SURFACE, PreflightFailed, codes=_codes(-32002)),
    Row("NodeLocal", Next.ELSEWHERE, NodeBehind, codes=_codes(-32005, -32012, -32016, -32019)),
    Row(
        "DataMissing",
        Next.ELSEWHERE_THEN_WAIT,
        DataMissing,
        codes=_codes(-32001, -32004, -32008, -32010, -32011, -32014),
    ),
    Row("SlotSkipped", Next.ELSEWHERE, SlotSkipped, codes=_codes(-32007, -32009)),
    Row(
        "OurBug",
        Next.SURFACE,
        RequestInvalid,
        codes=_codes(-32003, -32006, -32013, -32015, -32018, -32600, -32602),
    ),
    UNSUPPORTED,
    Row("ChainState", Next.SURFACE, ChainRefused, codes=_codes(-32017)),
)
"""In order; the first row that matches holds."""

FAULT = Row("EndpointFault", Next.BLAME, RpcUnavailable)
"""Everything else: 5xx, HTML, -32603, -32700, a code that nobody knows, an answer that is no answer."""

WRONG_GENESIS = Row("WrongGenesis", Next.DISABLE, WrongChain)
"""What the pool finds out itself: see `RpcPool.expect_genesis`."""

TIMEOUT = Row("Timeout", Next.BLAME, RpcTimeout)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a complaint means: the table's row, the error to raise if nobody does better, and for how long to cool off."""

    row: Row
    error: RpcError
    cool_off_s: float = 0.0


def classify(
    *, provider: str, status: int, error: Mapping[str, Any] | None, headers: Mapping[str, str], now_unix_s: float
) -> Verdict:
    """
    Return what an answer that is not a result means.

    Args:
        provider: Name of the endpoint.
        status: HTTP status.
        error: The JSON-RPC error object; None if the body held none (HTML, empty, not JSON).
        headers: Of the answer, case-insensitive.
        now_unix_s: Wall time, for headers that name a moment.
    """
    code, text, message, data = _parts(status, error)
    for row in TABLE:
        if _matches(row, status, code, text):
            break
    else:
        row = FAULT
    wait = 0.0
    if row.next is Next.COOL:
        asked = retry_after_s(headers, now_unix_s)
        wait = min(MAX_COOL_OFF_S, max(MIN_COOL_OFF_S, row.cool_off_s if asked is None else asked))
    return Verdict(row, row.error(f"{row.name}: {message}", provider=provider, code=code, data=data), wait)


def _parts(status: int, error: Mapping[str, Any] | None) -> tuple[int | None, str, str, Any]:
    if error is None:
        return None, "", f"HTTP {status} without a JSON-RPC answer", None
    code = error.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) else None
    message = str(error.get("message", ""))[:300]
    data = error.get("data")
    reason = data.get("err") if isinstance(data, Mapping) else None
    text = f"{message} {reason if isinstance(reason, str) else ''}".lower()
    return code, text, f"{message} (code {code})" if code is not None else message, data


def _matches(row: Row, status: int, code: int | None, text: str) -> bool:
    if status in row.statuses:
        return True
    if not row.codes and not row.words:
        return False
    return (not row.codes or code in row.codes) and (not row.words or any(word in text for word in row.words))


def retry_after_s(headers: Mapping[str, str], now_unix_s: float) -> float | None:
    """Return how long a throttled caller is asked to wait, in seconds; None if no header says so in a form we know."""
    after = headers.get("Retry-After")
    if after is not None:
        try:
            return max(0.0, float(after))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(after).timestamp() - now_unix_s)
        except (ValueError, TypeError):
            pass
    reset = headers.get("x-ratelimit-reset")
    if reset is not None:
        try:
            value = float(reset)
        except ValueError:
            return None
        # Some providers send the moment, others the seconds until it; nobody asks for thirty years of patience.
        return max(0.0, value - now_unix_s if value > 1e9 else value)
    return None
