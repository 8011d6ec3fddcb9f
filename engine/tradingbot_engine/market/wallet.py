"""What the wallet holds, beyond doubt: finalized, and both balances from one bank."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from tradingbot_engine.domain.units import SOL_MINT, Address, Lamports, Mint, QuoteUnits, Slot
from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.market.normalise import Malformed, vault_amount
from tradingbot_engine.market.tokens import read_accounts
from tradingbot_engine.rpc.pool import RpcPool


class WalletUnreadable(TemporaryError):
    """The node shows something at the wallet's token account that is no token account."""


@dataclass(frozen=True, slots=True)
class WalletBalance:
    """
    The wallet at finalized `slot`; `quote` equals `lamports` when the quote currency is SOL.

    `token_account` tells whether the associated account of the quote currency exists (always True for SOL); without it
    `quote` is 0.
    """

    lamports: Lamports
    quote: QuoteUnits
    slot: Slot
    token_account: bool = True


async def read_wallet(
    rpc: RpcPool, *, wallet: Address, quote_mint: Mint, min_slot: Slot | None = None
) -> WalletBalance:
    """
    Read the wallet's lamports and its quote currency.

    Both come from one getMultipleAccounts: two calls could be answered by different nodes at different slots, and the
    difference would look like money that somebody moved.

    Raises:
        TemporaryError: No node could answer (or not at `min_slot` yet).
    """
    addresses = [wallet]
    if quote_mint != SOL_MINT:
        addresses.append(str(get_associated_token_address(Pubkey.from_string(wallet), Pubkey.from_string(quote_mint))))
    slot, found = await read_accounts(rpc, addresses, commitment="finalized", min_context_slot=min_slot)
    lamports = found[0].lamports if found[0] is not None else 0
    if quote_mint == SOL_MINT:
        return WalletBalance(lamports, lamports, slot)
    account = found[1]
    if account is None:
        return WalletBalance(lamports, 0, slot, token_account=False)
    try:
        return WalletBalance(lamports, vault_amount(account, quote_mint), slot)
    except Malformed as error:
        raise WalletUnreadable(f"the wallet's account for {quote_mint}: {error}") from error
