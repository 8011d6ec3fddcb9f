"""
What happens before the first signal: is this our chain, does the ledger know everything, and what was left open?

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import structlog

from tradingbot_engine import crashpoint
from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.units import Address, Signature, Slot
from tradingbot_engine.errors import LedgerBehindChain, LedgerInUse, TemporaryError
from tradingbot_engine.ledger.port import BotRecord, Ledger, Ownership
from tradingbot_engine.rpc.pool import RpcPool

_log = structlog.get_logger(__name__)
_MARK = re.compile(r"tb1:([0-9a-f]{32})\b")
_PAGE = 1000


async def take_shards(ledger: Ledger, *, holder: str, clock: Clock) -> dict[int, Ownership]:
    """
    Take every shard under a new epoch.

    One engine owns all shards here, and its supervisor ended the engine before it; a holder that is still alive is fenced
    by the new epoch.

    Raises:
        LedgerInUse: A shard changed hands while it was being taken: another engine is starting on the same ledger.
    """
    owned: dict[int, Ownership] = {}
    for row in await ledger.shards():
        ownership = await ledger.take(row, holder=holder, now_ms=clock.now_ms())
        if ownership is None:
            raise LedgerInUse(f"shard {row.shard} was taken by another process at this moment; stop one of the two")
        owned[row.shard] = ownership
    crashpoint.reached("take:after")
    return owned


async def compare_with_chain(ledger: Ledger, rpc: RpcPool, bot: BotRecord) -> int:
    """
    Check that every marked transaction of the wallet since the last comparison is an attempt in the ledger.

    Returns:
        How many marked transactions were compared.

    Raises:
        LedgerBehindChain: One is not: an old copy of the ledger was put back, or another ledger trades the same wallet.
        TemporaryError: No node could answer; try again before trading.
    """
    answer = await rpc.call("getSlot", [{"commitment": "finalized"}])
    finalized = int(answer.result)
    # The same provider lists what that slot covers: another one may lag behind it.
    marked = await _marked_since(rpc, bot.wallet, bot.settled_slot, provider=answer.provider)
    known = await ledger.signatures_known(list(marked))
    for signature in marked.keys() - known:
        if await _signed_by(rpc, signature, bot.wallet):
            raise LedgerBehindChain(
                f"the wallet signed {signature} with the mark {marked[signature]}, which this ledger does not know: "
                "an older copy of the ledger was put back. Restore the newest copy, or run `tradingbot audit`"
            )
    await ledger.set_settled_slot(finalized)
    return len(marked)


async def _marked_since(rpc: RpcPool, wallet: Address, since: Slot, *, provider: str) -> dict[Signature, str]:
    """Return the signatures above slot `since` whose memo holds one of our marks, newest first."""
    found: dict[Signature, str] = {}
    before: str | None = None
    while True:
        options: dict[str, Any] = {"limit": _PAGE, "commitment": "confirmed"} | ({"before": before} if before else {})
        page: Sequence[dict[str, Any]] = (
            await rpc.call("getSignaturesForAddress", [wallet, options], provider=provider)
        ).result
        if not isinstance(page, list):
            raise TemporaryError("getSignaturesForAddress did not answer with a list")
        for entry in page:
            if entry["slot"] < since:
                return found
            mark = _MARK.search(entry.get("memo") or "")
            if mark:
                found[entry["signature"]] = mark.group(1)
        if len(page) < _PAGE:
            return found
        before = page[-1]["signature"]


async def _signed_by(rpc: RpcPool, signature: Signature, wallet: Address) -> bool:
    """Anybody may mention the wallet or copy a mark; only what the wallet signed is its own."""
    options = {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    found = (await rpc.call("getTransaction", [signature, options])).result
    if found is None:
        raise TemporaryError(f"the node lists {signature} but does not show it yet")
    message = found["transaction"]["message"]
    return wallet in message["accountKeys"][: message["header"]["numRequiredSignatures"]]
