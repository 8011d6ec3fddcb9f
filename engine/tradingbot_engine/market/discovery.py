"""Which pool a token trades in, and where that pool keeps its money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from solders.pubkey import Pubkey

from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT, Address, Bps, Mint
from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID, NotAPool, decode_pool
from tradingbot_engine.market.normalise import AccountData, Malformed, single_pool
from tradingbot_engine.market.provider import get_json
from tradingbot_engine.market.tokens import read_accounts
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import SwapSettings

PROBE_AMOUNT: Mapping[Mint, int] = {SOL_MINT: 10_000_000, USDC_MINT: 1_000_000}
"""What is quoted to find the pool: 0.01 SOL or 1 USDC, small enough to move no price."""


class PoolNotFound(TemporaryError):
    """No pool that this feed can read trades the token now; the text says what was found instead."""


@dataclass(frozen=True, slots=True)
class Vaults:
    """A pool as the feed needs it, whatever program owns it."""

    mint_a: Address
    mint_b: Address
    vault_a: Address
    vault_b: Address
    fee_bps: Bps


def _constant_product(data: bytes) -> Vaults:
    state = decode_pool(data)
    return Vaults(str(state.mint_a), str(state.mint_b), str(state.vault_a), str(state.vault_b), state.fee_bps)


LAYOUTS: Mapping[Address, Callable[[bytes], Vaults]] = {str(POOL_PROGRAM_ID): _constant_product}
"""Decoders of pools whose price is quote reserve / base reserve, by the program that owns the account."""


@dataclass(frozen=True, slots=True)
class Pool:
    """A token's pool against the quote currency; `scale` turns quote/base reserves into a price in whole units."""

    mint: Mint
    quote_mint: Mint
    address: Address
    base_vault: Address
    quote_vault: Address
    fee_bps: Bps
    scale: float


def pool_of(
    address: Address, account: AccountData | None, *, token: Token, quote_mint: Mint, quote_decimals: int
) -> Pool:
    """
    Read a pool's account.

    Raises:
        PoolNotFound: No account, a program that is not in `LAYOUTS`, or a pool of other mints.
    """
    if account is None:
        raise PoolNotFound(f"{token.symbol}: no account at its pool {address}")
    decode = LAYOUTS.get(account.owner)
    if decode is None:
        raise PoolNotFound(
            f"{token.symbol}: its pool {address} belongs to program {account.owner}, which is not supported"
        )
    try:
        vaults = decode(account.data)
    except NotAPool as error:
        raise PoolNotFound(f"{token.symbol}: {address} is no pool: {error}") from error
    sides = {vaults.mint_a: vaults.vault_a, vaults.mint_b: vaults.vault_b}
    if sides.keys() != {token.mint, quote_mint}:
        raise PoolNotFound(f"{token.symbol}: its pool {address} trades other mints")
    return Pool(
        mint=token.mint,
        quote_mint=quote_mint,
        address=address,
        base_vault=sides[token.mint],
        quote_vault=sides[quote_mint],
        fee_bps=vaults.fee_bps,
        scale=10.0 ** (token.decimals - quote_decimals),
    )


class Discovery:
    """Finds pools by asking the swap API for a small direct quote, as a trade would go."""

    def __init__(
        self, *, swap: SwapSettings, rpc: RpcPool, quote_mint: Mint, quote_decimals: int, commitment: str
    ) -> None:
        self._base_url = swap.base_url.rstrip("/").removesuffix("/swap/v2").removesuffix("/swap/v1")
        self._headers = {"x-api-key": swap.api_key.get_secret_value()} if swap.api_key is not None else None
        self._timeout_s = swap.timeout_s
        self._rpc = rpc
        self._quote_mint, self._quote_decimals = quote_mint, quote_decimals
        self._commitment = commitment

    async def find(self, session: aiohttp.ClientSession, token: Token) -> Pool:
        """
        Return the token's pool against the quote currency.

        Raises:
            PoolNotFound: See there.
            TemporaryError: The swap API or every node failed.
        """
        document = await get_json(
            session,
            f"{self._base_url}/swap/v1/quote",
            what="swap quote",
            params={
                "inputMint": self._quote_mint,
                "outputMint": token.mint,
                "amount": str(PROBE_AMOUNT.get(self._quote_mint, 1_000_000)),
                "slippageBps": "100",
                "swapMode": "ExactIn",
                "onlyDirectRoutes": "true",
            },
            headers=self._headers,
            timeout_s=self._timeout_s,
        )
        try:
            address = single_pool(document, input_mint=self._quote_mint, output_mint=token.mint)
            Pubkey.from_string(address)
        except (Malformed, ValueError) as error:
            raise PoolNotFound(f"{token.symbol}: {error}") from error
        _, (account,) = await read_accounts(self._rpc, [address], commitment=self._commitment)
        return pool_of(address, account, token=token, quote_mint=self._quote_mint, quote_decimals=self._quote_decimals)
