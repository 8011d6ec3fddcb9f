"""What the market needs of the bank, and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

from solders.account import Account
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.units import BlockHeight, Lamports, Slot, UnixMs

Commitment = Literal["processed", "confirmed", "finalized"]


class MarketClock(Protocol):
    """Market time by slot."""

    def at_ms(self, slot: Slot) -> UnixMs:
        """Return the market time of `slot`."""


class Block(Protocol):
    """A block of the live chain."""

    @property
    def slot(self) -> Slot: ...


class Landed(Protocol):
    """Transactions that landed."""

    def recent(self, signature: Signature) -> Any: ...


class Bank(Protocol):
    """The one chain: its accounts, its time, and a way to change both."""

    @property
    def slot(self) -> Slot: ...
    @property
    def height(self) -> BlockHeight: ...
    @property
    def clock(self) -> MarketClock: ...
    @property
    def faucet(self) -> Keypair: ...
    @property
    def forks(self) -> int: ...
    @property
    def history(self) -> Landed: ...
    def account(self, pubkey: Pubkey, slot: Slot | None = None) -> Account | None: ...
    def set_account(self, pubkey: Pubkey, account: Account) -> None: ...
    def add_program(self, pubkey: Pubkey, elf: bytes) -> None: ...
    def block_at(self, slot: Slot) -> Block: ...
    def latest_blockhash(self, commitment: Commitment = "confirmed") -> tuple[Hash, BlockHeight]: ...
    def submit(self, transaction: VersionedTransaction) -> Any: ...
    def execute(self, transaction: VersionedTransaction, *, verified: bool = False) -> Any: ...
    def let_pass(self, keys: Iterable[Pubkey]) -> None: ...
    def rent(self, space: int) -> Lamports: ...
    def on_slot(self, callback: Callable[[Slot], None]) -> Any: ...
    def view_slot(self, commitment: Commitment) -> Slot: ...
