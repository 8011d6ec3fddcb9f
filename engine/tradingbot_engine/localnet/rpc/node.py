"""One RPC node: its view of the chain, its identity, and what every method needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.chain import Commitment
from tradingbot_engine.localnet.encode.accounts import AccountEncoding, DataSlice, DataTooLarge, encode_account
from tradingbot_engine.localnet.faults import NodeFaults
from tradingbot_engine.localnet.rpc.errors import invalid_request, min_context_slot
from tradingbot_engine.localnet.rpc.params import Config, commitment, unsigned
from tradingbot_engine.localnet.store import Store
from tradingbot_engine.localnet.tokens import mint_account
from tradingbot_engine.localnet.view import View

VERSION = "2.3.13"
"""Version of the validator software whose answers the node imitates."""
FEATURE_SET = 3_640_012_085


class Node:
    """An RPC node over the shared bank; its faults decide what it sees and how it answers."""

    def __init__(self, *, index: int, bank: Bank, store: Store | None, faults: NodeFaults) -> None:
        self.index = index
        self.bank = bank
        self.store = store
        self.faults = faults
        self.identity = Keypair().pubkey()

    @property
    def view(self) -> View:
        """The chain as this node sees it now."""
        return self.faults.view

    def slot(self, options: Config, default: Commitment = "finalized") -> int:
        """
        The slot that answers a call: of the commitment asked for, at least `minContextSlot`.

        Raises:
            RpcError: -32016 if the node is not there yet.
        """
        slot = self.view.slot(commitment(options, default))
        least = options.get("minContextSlot")
        if least is not None and slot < unsigned(least):
            raise min_context_slot(slot)
        return slot

    def with_context(self, slot: int, value: Any) -> dict[str, Any]:
        """An answer with the slot that it is about."""
        return {"context": {"apiVersion": VERSION, "slot": slot}, "value": value}

    def decimals_at(self, slot: int) -> Callable[[Pubkey], int]:
        """Look-up of mint decimals as of `slot`."""

        def decimals(mint: Pubkey) -> int:
            account = self.view.account(mint, slot)
            parsed = mint_account(account) if account is not None else None
            return parsed.decimals if parsed is not None else 0

        return decimals

    def encoded(
        self, account: Account | None, slot: int, encoding: AccountEncoding, data_slice: DataSlice | None
    ) -> dict[str, Any] | None:
        """The account as `UiAccount`, None if there is none."""
        if account is None:
            return None
        try:
            return encode_account(account, encoding, data_slice, self.decimals_at(slot))
        except DataTooLarge as error:
            message = "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding."
            raise invalid_request(message) from error


Method = Callable[[Node, list[Any]], Any | Awaitable[Any]]
"""A method: takes the node and the positional parameters, returns the result or raises RpcError."""
