"""Taking the newest blocks of the live chain back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solders.account import Account
from solders.pubkey import Pubkey

from tradingbot_engine.localnet.chain import BankError, Branch

if TYPE_CHECKING:
    from tradingbot_engine.localnet.bank import Bank


def abandon(bank: Bank, slots: int) -> Branch:
    """
    Undo the newest `slots` blocks of `bank`, and return them with the state that they had led to.

    Raises:
        BankError: No block at all, or a finalized one.
    """
    blocks = bank.blocks
    if slots < 1:
        raise BankError("a fork abandons at least one slot")
    if slots >= len(blocks) or blocks[-1 - slots].slot < bank.finalized_slot:
        raise BankError(f"a fork of {slots} slots would abandon finalized blocks")
    abandoned = tuple(blocks[-slots:])
    del blocks[-slots:]
    parent = blocks[-1].slot
    hashes = dict(bank.hashes)
    for block in abandoned:
        bank.hashes.pop(block.hash, None)
        bank.transaction_count -= len(block.records)
        for record in block.records:
            bank.history.remove(record)
    accounts: dict[Pubkey, Account | None] = {}
    for key, before in bank.journal.undo_after(parent):
        accounts.setdefault(key, bank.vm.account(key))
        bank.vm.put(key, before)
        bank.index.add(key, before)
    return Branch(parent_slot=parent, blocks=abandoned, accounts=accounts, hashes=hashes)
