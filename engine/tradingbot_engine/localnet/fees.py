"""What a transaction bids for its place: the compute budget instructions."""

from __future__ import annotations

from dataclasses import dataclass

from solders.message import VersionedMessage
from solders.pubkey import Pubkey

from tradingbot_engine.localnet.chain import Record

COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
DEFAULT_UNITS = 200_000
MAX_UNITS = 1_400_000


@dataclass(frozen=True, slots=True)
class ComputeBudget:
    """Limit in compute units and price in micro-lamports per unit."""

    units: int
    micro_lamports_per_unit: int

    @property
    def priority_fee_lamports(self) -> int:
        """The fee paid on top of the signatures, rounded up."""
        return -(-self.units * self.micro_lamports_per_unit // 1_000_000)


def compute_budget(message: VersionedMessage) -> ComputeBudget:
    """Read the compute budget of a message, with the defaults of validators."""
    keys = message.account_keys
    units: int | None = None
    price = others = 0
    for instruction in message.instructions:
        if keys[instruction.program_id_index] != COMPUTE_BUDGET:
            others += 1
            continue
        data = bytes(instruction.data)
        if data[:1] == b"\x02" and len(data) >= 5:
            units = int.from_bytes(data[1:5], "little")
        elif data[:1] == b"\x03" and len(data) >= 9:
            price = int.from_bytes(data[1:9], "little")
    limit = units if units is not None else DEFAULT_UNITS * others
    return ComputeBudget(units=min(limit, MAX_UNITS), micro_lamports_per_unit=price)


def writable_keys(record: Record) -> set[Pubkey]:
    """Keys that the transaction locked for writing."""
    message = record.transaction.message
    header = message.header
    static = len(message.account_keys)
    signers = header.num_required_signatures
    return {
        *record.keys[: signers - header.num_readonly_signed_accounts],
        *record.keys[signers : static - header.num_readonly_unsigned_accounts],
        *record.keys[static : static + record.loaded[0]],
    }
