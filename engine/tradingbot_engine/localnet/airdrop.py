"""The faucet of SOL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.chain import MAX_AGE, BankError

if TYPE_CHECKING:
    from tradingbot_engine.localnet.bank import Bank


def airdrop(bank: Bank, pubkey: Pubkey, lamports: int) -> Signature:
    """See `Bank.airdrop`."""
    payer = bank.faucet.pubkey()
    send = transfer(TransferParams(from_pubkey=payer, to_pubkey=pubkey, lamports=lamports))
    for block in reversed(bank.blocks[-MAX_AGE:]):  # an older blockhash makes a repeated airdrop another transaction
        message = MessageV0.try_compile(payer, [send], [], block.hash)
        result = bank.execute(VersionedTransaction(message, [bank.faucet]), verified=True)
        if result.err == "AlreadyProcessed":
            continue
        if result.err is not None:
            break
        return result.signature
    raise BankError(f"airdrop of {lamports} lamports failed: {result.err}")
