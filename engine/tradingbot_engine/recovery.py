"""
What happens before the first signal: is this our chain, does the ledger know everything, and what was left open?

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import based58
from solders.pubkey import Pubkey

from tradingbot_engine import crashpoint
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.proof import has_every_block
from tradingbot_engine.domain.units import Address, Signature, Slot, UnixMs
from tradingbot_engine.errors import EngineError, LedgerBehindChain, LedgerInUse, PermanentError, TemporaryError
from tradingbot_engine.execution.evidence import list_blocks
from tradingbot_engine.execution.guards import seed_of_guard, seed_of_reclaim
from tradingbot_engine.execution.programs import SYSTEM
from tradingbot_engine.ledger.port import BotRecord, Ledger, Ownership
from tradingbot_engine.rpc.decode import AddressSignature
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcAnswer, RpcPool

T = TypeVar("T")

_MARK = re.compile(r"tb1:([0-9a-f]{32})\b")
_INTENT_ID = re.compile(r"[0-9a-f]{32}")
READ_AT_ONCE = 8
"""Anybody may send dust to a wallet: what it left in the list is read, but not one after the other."""

BEHIND_S = 120.0
"""A node whose newest final block is older is no judge of the ledger; finality itself takes 13 s."""
ASK_AGAIN_S = (0.1, 0.3, 1.0)
"""Pauses before a node is asked again for its part of the comparison; all nodes are asked at the same time."""


class ChainUnread(TemporaryError):
    """The nodes do not say enough to compare the ledger with the chain: nothing is signed until they do."""


class TooFewNodes(ChainUnread):
    """Fewer nodes than needed could answer; `alone` is the one that did, if it was one."""

    def __init__(self, message: str, *, alone: str | None) -> None:
        super().__init__(message)
        self.alone = alone


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
    Check that every marked transaction of the wallet since the last comparison is an attempt or a reclaim in the ledger.

    A memo is in the list of signatures; a guard is only in the transaction itself, so that those without a memo which the
    ledger does not know (deposits, a person's own trades) are read one by one.

    One node may lag, or have holes since it was started from a snapshot, and its silence would let an old copy of the
    ledger pass: so every node is asked and what any of them shows counts. Two must answer where two are configured; two
    names for one provider are one.

    Returns:
        How many transactions with our mark were compared.

    Raises:
        LedgerBehindChain: One is not: an old copy of the ledger was put back, or another ledger trades the same wallet.
        TooFewNodes: Too few nodes could answer; try again before trading.
        TemporaryError: All are behind what the ledger knows; the same.
    """
    names = rpc.names
    views = await asyncio.gather(*(_view(Rpc(rpc).pinned(n), bot) for n in names), return_exceptions=True)
    answered = {name: v for name, v in zip(names, views, strict=True) if isinstance(v, _View)}
    voices = {rpc.independent(name) for name in answered}
    if len(voices) < min(2, len({rpc.independent(name) for name in names})):
        problem = next((v for v in views if isinstance(v, BaseException)), None)
        if problem is not None and not isinstance(problem, TemporaryError | PermanentError):
            raise problem
        raise TooFewNodes(
            f"{len(answered)} of {len(names)} nodes listed the wallet's transactions ({problem})",
            alone=next(iter(answered)) if len(voices) == 1 else None,
        )
    compared = await _compare(ledger, rpc, bot, list(answered.values()))
    # Only what every answering node has passed is settled: a slower one may still show something older.
    await ledger.set_settled_slot(min(v.finalized for v in answered.values()))
    return compared


async def compare_with_one(ledger: Ledger, rpc: RpcPool, bot: BotRecord, name: str, *, now_ms: UnixMs) -> int:
    """
    Check the same by the word of one node, whose own history must be good enough to be believed; nothing is settled by it.

    Its blocks must reach back to the last comparison and have no hole since, and its newest final one must be of now: a node
    that lags, or was started from a snapshot, would let an old copy of the ledger pass.

    Returns:
        See `compare_with_chain`.

    Raises:
        LedgerBehindChain: See there.
        TemporaryError: The node does not answer, or its history is not good enough: the message says why.
    """
    node = Rpc(rpc).pinned(name)
    first = await _patiently(node.get_first_available_block)
    if first > bot.settled_slot:
        raise ChainUnread(f"{name} has blocks from slot {first} on, the last comparison is of slot {bot.settled_slot}")
    tip = (await _patiently(partial(node.get_epoch_info, "finalized"))).result
    made_s = await _patiently(partial(node.get_block_time, tip.slot))
    if made_s is None or now_ms / 1000 - made_s > BEHIND_S:
        age = "of no known time" if made_s is None else f"{now_ms / 1000 - made_s:.0f} s old"
        raise ChainUnread(f"the newest final block of {name} is {age}: the node lags, or our clock is wrong")
    view = await _view(node, bot)
    blocks = await list_blocks(node, name, bot.settled_slot, tip.slot)
    if blocks is None or not has_every_block(blocks, since=bot.settled_slot, last_height=tip.block_height):
        raise ChainUnread(f"the history of {name} has holes between slots {bot.settled_slot} and {tip.slot}")
    return await _compare(ledger, rpc, bot, [view])


async def _compare(ledger: Ledger, rpc: RpcPool, bot: BotRecord, views: Sequence[_View]) -> int:
    newest = max(v.finalized for v in views)
    if newest < bot.settled_slot:
        raise ChainUnread(f"the nodes stand at slot {newest}, the ledger knows of {bot.settled_slot}")
    listed = {signature: mark for v in views for signature, mark in v.listed.items()}
    known = await ledger.signatures_known(list(listed))
    unknown = sorted(listed.keys() - known)
    for first in range(0, len(unknown), READ_AT_ONCE):
        batch = unknown[first : first + READ_AT_ONCE]
        marks = await asyncio.gather(*(_own_mark(rpc, s, listed[s], bot.wallet) for s in batch))
        for signature, mark in zip(batch, marks, strict=True):
            if mark:
                raise LedgerBehindChain(
                    f"the wallet signed {signature} with the mark {mark}, which this ledger does not know: "
                    "an older copy of the ledger was put back. Restore the newest copy, or run `tradingbot audit`"
                )
    return sum(signature in known or bool(mark) for signature, mark in listed.items())


@dataclass(frozen=True, slots=True)
class _View:
    """What one node says: its finalized slot, and the transactions above the settled one (signature → memo's mark or "")."""

    finalized: Slot
    listed: dict[Signature, str]


async def _view(rpc: Rpc, bot: BotRecord) -> _View:
    finalized = await _patiently(lambda: rpc.get_slot("finalized"))
    listed: dict[Signature, str] = {}
    before: Signature | None = None
    while True:
        page = (await _patiently(partial(_page, rpc, bot.wallet, before, finalized))).result
        for row in page:
            if row.slot < bot.settled_slot:
                return _View(finalized, listed)
            mark = _MARK.search(row.memo or "")
            if mark or not row.failed:  # a failed one has made no guard
                listed[row.signature] = mark.group(1) if mark else ""
        if not page:  # a short page is not the end: providers cut pages as they like
            return _View(finalized, listed)
        before = page[-1].signature


def _page(
    rpc: Rpc, wallet: Address, before: Signature | None, finalized: Slot
) -> Awaitable[RpcAnswer[tuple[AddressSignature, ...]]]:
    return rpc.get_signatures_for_address(wallet, before=before, commitment="confirmed", min_context_slot=finalized)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask one node again before it counts as one that does not answer: one lost page must not cost all the pages before it."""
    for pause_s in ASK_AGAIN_S:
        try:
            return await ask()
        except TemporaryError:
            await asyncio.sleep(pause_s)
    return await ask()


async def _own_mark(rpc: RpcPool, signature: Signature, memo: str, wallet: Address) -> str:
    """
    Return the mark of a transaction that the wallet signed, "" if there is none.

    Anybody may mention the wallet or copy a mark; only what the wallet signed is its own.
    """
    for endpoint in rpc.endpoints():
        try:
            found = (await Rpc(rpc).pinned(endpoint.name).get_transaction(signature, "confirmed")).result
            if found is not None:
                message = found["transaction"]["message"]
                if wallet not in message["accountKeys"][: message["header"]["numRequiredSignatures"]]:
                    return ""
                return memo or _guard_mark(message, wallet)
        except (EngineError, LookupError, TypeError, ValueError):
            continue  # this node does not show it readably; another one listed it
    raise ChainUnread(f"a node lists {signature} but none shows it")


def _guard_mark(message: Mapping[str, Any], wallet: Address) -> str:
    """
    Return the id of the intent whose guard a message (encoding json) makes or empties, "" if it does neither.

    Both are ours alone: the wallet is the base of the address. A guard that a newer copy of the ledger has emptied proves
    nothing any more, so that copy must be found.
    """
    for instruction in message["instructions"]:
        if message["accountKeys"][instruction["programIdIndex"]] == str(SYSTEM):
            data = based58.b58decode(instruction["data"].encode())
            seed = seed_of_guard(data, Pubkey.from_string(wallet)) or seed_of_reclaim(data) or ""
            if _INTENT_ID.fullmatch(seed):
                return seed
    return ""
