"""
The wallet's whole finalized history from a public node, and whether it is whole.

One node is asked for the list, since lists of different nodes do not fit together; it must agree with the majority of the
others about a finalized block. That nothing is missing is not believed but checked: the wallet's lamports after each
transaction must be those before the next one, and those after the last must be its balance.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tradingbot_engine.audit.transaction import Landed, Unreadable, read_transaction
from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.units import Address, Lamports, Signature, Slot
from tradingbot_engine.errors import PermanentError, TemporaryError
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.pool import MalformedAnswer, RpcPool

PAGE = 1000
TRIES = 6
FIRST_PAUSE_S = 0.25
CONCURRENCY = 8
CALL_TIMEOUT_S = 15.0
FINALIZED = {"commitment": "finalized"}
_SHOWN = 5


# It reads like `execution/unreadable.py`, and so does what raises it: on purpose. The audit shares nothing with the executor
# whose trades it proves but the transport and the types of `rpc` (import-linter): what is got wrong there must not be wrong
# here in the same way.
class ChainUnreadable(TemporaryError):
    """No node could tell what was needed, after several tries: the audit proves nothing; try again or name another node."""


class WrongChain(PermanentError):
    """The nodes serve another chain than the one that the ledger was traded on."""


@dataclass(frozen=True, slots=True)
class Walked:
    """The history, oldest first, and why it may not be whole (empty: it is)."""

    transactions: tuple[Landed, ...]
    provider: str
    finalized_slot: Slot
    first_available: Slot
    gaps: tuple[str, ...] = field(default=())


class ChainWalker:
    """Reads finalized transactions of one wallet."""

    def __init__(
        self,
        *,
        rpc: RpcPool,
        wallet: Address,
        clock: Clock,
        page: int = PAGE,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._rpc, self._wallet, self._clock, self._page = rpc, wallet, clock, page
        self._progress = progress or (lambda _done, _all: None)
        self._provider = ""

    async def walk(self, *, genesis_hash: str | None, needed_slot: Slot | None) -> Walked:
        """
        Return every finalized transaction that mentions the wallet.

        Args:
            genesis_hash: The chain that it must be; None asks nothing.
            needed_slot: From this slot on the history must be whole; None: as far as it is there.

        Raises:
            WrongChain, ChainUnreadable.
        """
        self._provider, slot = await self._choose()
        if genesis_hash is not None:
            genesis = await self._call("getGenesisHash", [])
            if genesis != genesis_hash:
                raise WrongChain(f"{self._provider} serves chain {genesis}, the ledger is of chain {genesis_hash}")
        first = _whole(await self._call("getFirstAvailableBlock", []))
        balance_slot, balance = _balance(await self._call("getBalance", [self._wallet, FINALIZED]))
        signatures = await self._signatures()
        transactions = await self._transactions(signatures)
        gaps = list(_gaps(transactions))
        last = next((t.lamports_after for t in reversed(transactions) if t.slot <= balance_slot), None)
        if last is not None and last != balance:
            gaps.append(
                f"the wallet held {balance} lamports at slot {balance_slot}, its listed history ends with {last}"
            )
        if last is None and balance:
            gaps.append(f"the wallet holds {balance} lamports, but the node lists no transaction of it")
        if needed_slot is not None and first > needed_slot:
            gaps.append(f"the node's history begins at slot {first}, the bot's first attempt is of slot {needed_slot}")
        return Walked(tuple(transactions), self._provider, max(slot, balance_slot), first, tuple(gaps))

    async def find(self, signature: Signature) -> Landed | None:
        """Return one finalized transaction if any node has it: the walk may be older than the ledger."""
        for name in [self._provider, *(n for n in self._rpc.names if n != self._provider)]:
            found = await self._transaction(signature, name)
            if found is not None:
                return found
        return None

    # --- which node
    async def _choose(self) -> tuple[str, Slot]:
        slots: dict[str, Slot] = {}
        for name in self._rpc.names:
            try:
                slots[name] = _whole((await self._rpc.call("getSlot", [FINALIZED], provider=name)).result)
            except (RpcError, MalformedAnswer):
                continue
        if not slots:
            raise ChainUnreadable("no node answers")
        agreeing = await self._agreeing(slots)
        best = max(agreeing, key=lambda name: slots[name])
        return best, slots[best]

    async def _agreeing(self, slots: dict[str, Slot]) -> list[str]:
        """Return the nodes that show the same finalized block as most do; a node on a dead fork shows another."""
        if len(slots) == 1:
            return list(slots)
        options = {"transactionDetails": "none", "rewards": False, "maxSupportedTransactionVersion": 0, **FINALIZED}
        at = min(slots.values())
        hashes: dict[str, str] = {}
        for candidate in range(at, max(0, at - 8), -1):  # some slots have no block
            for name in slots:
                try:
                    block = (await self._rpc.call("getBlock", [candidate, options], provider=name)).result
                    hashes[name] = block["blockhash"]
                except (RpcError, KeyError, TypeError):
                    continue
            if hashes:
                break
        if not hashes:
            return list(slots)
        (top, votes), *others = Counter(hashes.values()).most_common(2)
        if others and others[0][1] == votes:
            raise ChainUnreadable(
                f"the nodes disagree about finalized slot {candidate}: name one that is right by --rpc"
            )
        return [name for name in slots if hashes.get(name, top) == top]

    # --- what it lists
    async def _signatures(self) -> list[tuple[Signature, Slot]]:
        """Return all signatures, newest first; what arrives meanwhile is above the first page's head and left out."""
        found: dict[Signature, Slot] = {}
        before: Signature | None = None
        while True:
            options: dict[str, Any] = {"limit": self._page, **FINALIZED} | ({"before": before} if before else {})
            page = _page(await self._call("getSignaturesForAddress", [self._wallet, options]))
            fresh = [(signature, slot) for signature, slot in page if signature not in found]
            # A page that is short is not the end (providers cut pages as they like); one without news is.
            if not fresh:
                return list(found.items())
            if found and fresh[0][1] > next(reversed(found.values())):
                raise ChainUnreadable("the node's list of signatures is out of order")
            found.update(fresh)
            before = page[-1][0]

    async def _transactions(self, signatures: Sequence[tuple[Signature, Slot]]) -> list[Landed]:
        room = asyncio.Semaphore(CONCURRENCY)
        done = 0

        async def one(signature: Signature) -> Landed:
            nonlocal done
            async with room:
                found = await self.find(signature)
            if found is None:
                raise ChainUnreadable(f"the node lists {signature} but does not show it")
            done += 1
            if done % 500 == 0:
                self._progress(done, len(signatures))
            return found

        tasks = [asyncio.ensure_future(one(signature)) for signature, _ in reversed(signatures)]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _transaction(self, signature: Signature, provider: str) -> Landed | None:
        options = {"encoding": "base64", "maxSupportedTransactionVersion": 0, **FINALIZED}
        answer = await self._call("getTransaction", [signature, options], provider=provider)
        if answer is None:
            return None
        try:
            return read_transaction(answer, signature=signature, wallet=self._wallet)
        except Unreadable as error:
            raise ChainUnreadable(str(error)) from error

    async def _call(self, method: str, params: Sequence[Any], *, provider: str | None = None) -> Any:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, TRIES + 1):
            try:
                answer = await self._rpc.call(
                    method, params, provider=provider or self._provider, timeout_s=CALL_TIMEOUT_S
                )
                return answer.result
            except TemporaryError as error:
                if attempt == TRIES:
                    raise ChainUnreadable(f"{method}: {error}") from error
                await self._clock.sleep(pause_s)
                pause_s *= 2
            except RpcError as error:
                raise ChainUnreadable(f"{method}: {error}") from error
        raise AssertionError("unreachable")


def _page(result: Any) -> list[tuple[Signature, Slot]]:
    if not isinstance(result, list):
        raise ChainUnreadable("getSignaturesForAddress: not a list")
    try:
        return [(str(entry["signature"]), _whole(entry["slot"])) for entry in result]
    except (KeyError, TypeError) as error:
        raise ChainUnreadable("getSignaturesForAddress: an entry without signature or slot") from error


def _balance(result: Any) -> tuple[Slot, Lamports]:
    try:
        return _whole(result["context"]["slot"]), _whole(result["value"])
    except (KeyError, TypeError) as error:
        raise ChainUnreadable("getBalance: not as documented") from error


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ChainUnreadable("a number was expected")
    return value


def _gaps(transactions: Sequence[Landed]) -> Iterator[str]:
    """Yield where the wallet's lamports jump between two listed transactions, oldest first."""
    held: Lamports | None = None
    slot: Slot = 0
    shown = 0
    for here, group in groupby(transactions, key=lambda t: t.slot):
        left = list(group)
        while left:
            # Within a slot the list's order is the block's; where a provider's is not, the one that fits comes first.
            following = next((t for t in left if t.lamports_before == held), left[0])
            left.remove(following)
            if held is not None and following.lamports_before != held:
                shown += 1
                if shown <= _SHOWN:
                    change = following.lamports_before - held
                    yield f"between slots {slot} and {here} {change:+d} lamports moved in transactions that are not listed"
            held, slot = following.lamports_after, here
    if shown > _SHOWN:
        yield f"and {shown - _SHOWN} more such jumps"
