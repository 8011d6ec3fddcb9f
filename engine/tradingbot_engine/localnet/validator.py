"""The one validator of localnet: its key, and what it signs in place of votes."""

from __future__ import annotations

import hashlib

from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction


def validator_of(faucet: Keypair) -> Keypair:
    """Return the validator's key: it follows from the faucet's, so that a chain that is resumed has the same one."""
    return Keypair.from_seed(hashlib.sha256(b"validator" + bytes(faucet)).digest())


def vote(validator: Keypair, blockhash: Hash) -> VersionedTransaction:
    """Return a transaction that makes a block of its own by its blockhash, and moves nothing."""
    key = validator.pubkey()
    beat = transfer(TransferParams(from_pubkey=key, to_pubkey=key, lamports=1))
    return VersionedTransaction(Message.new_with_blockhash([beat], key, blockhash), [validator])
