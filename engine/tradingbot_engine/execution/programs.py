"""Addresses of programs that a trade may touch, and of the accounts that belong to a wallet."""

from __future__ import annotations

from collections.abc import Mapping

from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT, Mint
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID

SYSTEM = Pubkey.from_string("11111111111111111111111111111111")
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED_TOKEN = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
COMPUTE_BUDGET = Pubkey.from_string("ComputeBudget111111111111111111111111111111")
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
JUPITER = Pubkey.from_string("JUP6LkbZbjS1jKKwapdHNy74zcZ3tLUZoi5QNyVTaV4")
WRAPPED_SOL = Pubkey.from_string(SOL_MINT)
QUOTE_DECIMALS: Mapping[Mint, int] = {SOL_MINT: 9, USDC_MINT: 6}

JITO_TIP_ACCOUNTS = frozenset(
    {
        "96gYZGLnJYVFmbjzopPSU6QiEV5fGqZNyN9nmNhvrZU5",
        "HFqU5x63VTqvQss8hp11i4wVV8bD44PvwucfZ2bU7gRe",
        "Cw8CFyM9FkoMi7K7Crf6HNQqf4uEMzpKw6QNghXLvLkY",
        "ADaUMid9yfUytqMBgopwjb2DTLSokTSzL1zt6iGPaS49",
        "DfXygSm4jCyNCybVYYK6DwvWqjKee8pbDmJGcLWNDXjh",
        "ADuUkR4vqLUMWXxW9gh6D6L8pMSawimctcNZ5pGwDcEt",
        "DttWaMuVvTiduZRnguLF7jNxTgiMBZ1hyAumKUiL2KRL",
        "3AVi9Tg9Uo68tJfuvoKvqKNWKkC5wPdSSdeBnizKZ6jT",
    }
)
"""Where tips for block builders go (docs.jito.wtf)."""


def swap_programs(cluster: str) -> frozenset[Pubkey]:
    """Return the programs that may be called for the swap itself on `cluster`."""
    return frozenset({JUPITER, POOL_PROGRAM_ID}) if cluster == "localnet" else frozenset({JUPITER})


def associated_token_account(owner: Pubkey, mint: Pubkey, token_program: Pubkey = TOKEN) -> Pubkey:
    """Return the one canonical token account of `owner` for `mint`."""
    seeds = [bytes(owner), bytes(token_program), bytes(mint)]
    return Pubkey.find_program_address(seeds, ASSOCIATED_TOKEN)[0]


def guard_account(wallet: Pubkey, intent_id: str) -> Pubkey:
    """Return the account whose existence shows that the intent was executed (mark Guard)."""
    return Pubkey.create_with_seed(wallet, intent_id, SYSTEM)
