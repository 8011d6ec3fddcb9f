"""
Swaps per second in process: signed transactions through the bank, with signature checks, journal and records.

Baseline: plain SOL transfers through the same bank, so the ratio says what the swap itself costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.market import Market, instructions
from tradingbot_engine.localnet.market.accounts import associated
from tradingbot_engine.localnet.market.routes import hop_accounts

SWAPS = 4_000
ROUNDS = 5
PER_SLOT = 200
GOAL_SWAPS_PER_S = 2_000


def _rate(bank: Bank, signer: Keypair, make: Callable[[int], Instruction], *, offset: int) -> float:
    """Return transactions per second of executing; making and signing them is the client's work and not counted."""
    spent_s = 0.0
    for start in range(0, SWAPS // ROUNDS, PER_SLOT):
        bank.tick()
        blockhash, _ = bank.latest_blockhash("confirmed")
        key = signer.pubkey()
        batch = [
            VersionedTransaction(MessageV0.try_compile(key, [make(offset + start + i)], [], blockhash), [signer])
            for i in range(PER_SLOT)
        ]
        began = time.perf_counter()
        for transaction in batch:
            error = bank.execute(transaction).err
            if error is not None:
                raise RuntimeError(f"benchmark transaction failed: {error}")
        spent_s += time.perf_counter() - began
    return SWAPS / ROUNDS / spent_s


async def main(emit: Callable[..., None]) -> None:
    """Measure swaps and, as baseline, transfers, in turns; the best round of each counts."""
    bank = Bank()
    market = Market(bank, seed=1)
    market.trading = False
    market.open()
    pool, trader = market.world.sol_usdc, market.world.traders[0]
    key = trader.pubkey()
    to: Pubkey = market.world.trader_keys[1]

    def swap(number: int) -> Instruction:
        sells = number % 2 == 0
        source = associated(key, pool.base.mint if sells else pool.quote.mint)
        return instructions.swap(key, source, [hop_accounts(pool, sells_base=sells, user=key)], 1_000_000 + number, 0)

    def send(number: int) -> Instruction:
        return transfer(TransferParams(from_pubkey=key, to_pubkey=to, lamports=1_000 + number))

    swaps: list[float] = []
    transfers: list[float] = []
    for number in range(ROUNDS):
        transfers.append(_rate(bank, trader, send, offset=number * SWAPS))
        swaps.append(_rate(bank, trader, swap, offset=number * SWAPS))
    emit("localnet-swaps", max(swaps), "swaps/s", "higher", max(transfers), GOAL_SWAPS_PER_S)
