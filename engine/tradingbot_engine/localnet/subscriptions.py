"""What each kind of subscription tells after a slot; a notification says what changed at its commitment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Protocol

from solders.account import Account
from solders.pubkey import Pubkey

from tradingbot_engine.localnet.chain import Commitment, Record
from tradingbot_engine.localnet.rpc.accounts import filters
from tradingbot_engine.localnet.rpc.errors import invalid_params
from tradingbot_engine.localnet.rpc.node import Node
from tradingbot_engine.localnet.rpc.params import (
    account_encoding,
    commitment,
    config,
    data_slice,
    flag,
    pubkey,
    signature,
    strings,
    text,
)
from tradingbot_engine.localnet.view import commitment_of

_LEVELS: tuple[Commitment, ...] = ("processed", "confirmed", "finalized")


class Subscription(Protocol):
    """One subscription of one connection."""

    kind: ClassVar[str]
    immediate: bool
    """Whether it may have news before the next slot."""
    done: bool
    """Whether the last news were the last ever."""

    def news(self) -> Iterator[Any]:
        """Results to notify of, after a slot."""


class SlotSubscription:
    """Every new processed slot."""

    kind: ClassVar[str] = "slot"
    immediate = done = False

    def __init__(self, node: Node, params: list[Any]) -> None:
        self._node = node
        self._last = node.view.slot("processed")

    def news(self) -> Iterator[Any]:
        view = self._node.view
        slot = view.slot("processed")
        if slot == self._last:
            return
        block = view.block(slot)
        parent = block.parent_slot if block is not None else self._last
        self._last = slot
        yield {"slot": slot, "parent": parent, "root": view.slot("finalized")}


class RootSubscription:
    """Every new root."""

    kind: ClassVar[str] = "root"
    immediate = done = False

    def __init__(self, node: Node, params: list[Any]) -> None:
        self._node = node
        self._last = node.view.slot("finalized")

    def news(self) -> Iterator[Any]:
        slot = self._node.view.slot("finalized")
        if slot != self._last:
            self._last = slot
            yield slot


class Changes:
    """Which accounts changed at a commitment since the last look; None if any may have (after a fork)."""

    def __init__(self, node: Node, level: Commitment) -> None:
        self._node = node
        self._level: Commitment = level
        self._seen = node.view.slot(level)
        self._forks = node.bank.forks
        self._view = node.view

    def since(self) -> tuple[int, set[Pubkey] | None]:
        """The slot now, and the accounts that changed on the way to it."""
        node, slot = self._node, self._node.view.slot(self._level)
        if node.bank.forks != self._forks or node.view is not self._view or slot < self._seen:
            self._forks, self._view, self._seen = node.bank.forks, node.view, slot
            return slot, None
        changed: set[Pubkey] = set()
        for each in range(self._seen, slot + 1):  # the last slot again: it may have been written to since
            changed |= node.bank.journal.changed(each)
        self._seen = slot
        return slot, changed


class AccountSubscription:
    """Every change of one account."""

    kind: ClassVar[str] = "account"
    immediate = done = False

    def __init__(self, node: Node, params: list[Any]) -> None:
        self._node = node
        self._key = pubkey(text(params, 0))
        options = config(params, 1)
        level = commitment(options)
        self._encoding = account_encoding(options, "binary")
        self._slice = data_slice(options)
        self._changes = Changes(node, level)
        self._last = node.view.account(self._key, node.view.slot(level))

    def news(self) -> Iterator[Any]:
        slot, changed = self._changes.since()
        if changed is not None and self._key not in changed:
            return
        account = self._node.view.account(self._key, slot)
        if account == self._last:
            return
        self._last = account
        shown = account if account is not None else Account.default()
        yield self._node.with_context(slot, self._node.encoded(shown, slot, self._encoding, self._slice))


class ProgramSubscription:
    """Every change of the accounts of one program."""

    kind: ClassVar[str] = "program"
    immediate = done = False

    def __init__(self, node: Node, params: list[Any]) -> None:
        self._node = node
        self._program = pubkey(text(params, 0))
        options = config(params, 1)
        level = commitment(options)
        self._filters = filters(options)
        self._encoding = account_encoding(options, "binary")
        self._slice = data_slice(options)
        self._changes = Changes(node, level)
        self._last: dict[Pubkey, Account | None] = {}
        slot = node.view.slot(level)
        for key in node.bank.journal.changed(slot):
            self._last[key] = node.view.account(key, slot)

    def news(self) -> Iterator[Any]:
        slot, changed = self._changes.since()
        node = self._node
        keys = changed if changed is not None else set(self._last)
        for key in keys:
            account = node.view.account(key, slot)
            if key in self._last and self._last[key] == account:
                continue
            self._last[key] = account
            if account is None or account.owner != self._program or not all(match(account) for match in self._filters):
                continue
            encoded = node.encoded(account, slot, self._encoding, self._slice)
            yield node.with_context(slot, {"pubkey": str(key), "account": encoded})
        newest = node.bank.journal.changed(slot)
        for key in [k for k in self._last if k not in newest]:
            del self._last[key]


class SignatureSubscription:
    """One transaction reaching a commitment; ends itself."""

    kind: ClassVar[str] = "signature"

    def __init__(self, node: Node, params: list[Any]) -> None:
        self.immediate = True
        self.done = False
        self._node = node
        self._signature = signature(text(params, 0))
        options = config(params, 1)
        self._level = commitment(options)
        self._wants_received = flag(options, "enableReceivedNotification")

    def news(self) -> Iterator[Any]:
        view = self._node.view
        if self._wants_received and (
            self._signature in self._node.bank.mempool or view.recent(self._signature) is not None
        ):
            self._wants_received = False
            yield self._node.with_context(view.slot("processed"), "receivedSignature")
        record = None if self._node.faults.status_blind else view.recent(self._signature)
        if record is None:
            return
        if _LEVELS.index(commitment_of(view, record.slot)) >= _LEVELS.index(self._level):
            self.done = True
            yield self._node.with_context(view.slot(self._level), {"err": record.error})


class LogsSubscription:
    """The logs of every transaction, or of those that mention an account."""

    kind: ClassVar[str] = "logs"
    immediate = done = False

    def __init__(self, node: Node, params: list[Any]) -> None:
        self._node = node
        chosen = params[0] if params else None
        self._mentions: Pubkey | None = None
        if isinstance(chosen, dict) and "mentions" in chosen:
            keys = strings([chosen["mentions"]], 0)
            if len(keys) != 1:
                raise invalid_params("Invalid Request: Only 1 address supported")
            self._mentions = pubkey(keys[0])
        elif chosen not in ("all", "allWithVotes"):
            raise invalid_params("Invalid params: expected `all`, `allWithVotes` or `mentions`.")
        self._skips_votes = chosen == "all"
        self._level = commitment(config(params, 1))
        self._slot = node.view.slot(self._level)
        self._count = self._records_in(self._slot)

    def _records_in(self, slot: int) -> int:
        block = self._node.view.block(slot)
        return len(block.records) if block is not None else 0

    def _fresh(self) -> Iterator[Record]:
        view = self._node.view
        now = view.slot(self._level)
        block = view.block(self._slot)
        if block is not None:
            yield from block.records[self._count :]
        for slot in view.block_slots(self._slot + 1, now, 10_000):
            newer = view.block(slot)
            if newer is not None:
                yield from newer.records
        if now != self._slot:
            self._slot = now
        self._count = self._records_in(now)

    def news(self) -> Iterator[Any]:
        for record in list(self._fresh()):
            if self._mentions is not None and self._mentions not in record.keys:
                continue
            if self._skips_votes and self._node.bank.is_vote(record):
                continue
            value = {"signature": str(record.signature), "err": record.error, "logs": list(record.meta.logs())}
            yield self._node.with_context(record.slot, value)


KINDS: dict[str, Callable[[Node, list[Any]], Subscription]] = {
    "slot": SlotSubscription,
    "root": RootSubscription,
    "account": AccountSubscription,
    "program": ProgramSubscription,
    "signature": SignatureSubscription,
    "logs": LogsSubscription,
}
