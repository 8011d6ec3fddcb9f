"""From what a transaction did to the wallet to the fill of an intent. Pure."""

from __future__ import annotations

from typing import Any

from tradingbot_engine.domain.intents import Attempt, Fill, OrderIntent
from tradingbot_engine.domain.signals import Side
from tradingbot_engine.domain.units import Address, Mint
from tradingbot_engine.execution.wallet_change import FillUnbalanced, WalletChange, read_change
from tradingbot_engine.rpc.wire import MAX_COUNT


def fill_of(
    transaction: dict[str, Any],
    *,
    intent: OrderIntent,
    attempt: Attempt,
    wallet: Address,
    quote_mint: Mint,
    finalized: bool,
) -> Fill:
    """
    Return what `attempt` did, from `getTransaction`; of a failed transaction only the fee moved.

    Raises:
        FillUnbalanced: The transaction is another one, does not add up, or is not the swap that the intent asked for.
    """
    signature = _first_signature(transaction)
    if signature != attempt.signature:
        raise FillUnbalanced(f"asked for {attempt.signature}, got {str(signature)[:100]}")
    change = read_change(transaction, wallet=wallet, intent_id=intent.id)
    base, quote = change.of(intent.mint), change.of(quote_mint)
    if not change.failed:
        _check_direction(intent, change, base=base, quote=quote, quote_mint=quote_mint)
    if not all(abs(value) <= MAX_COUNT for value in (base, quote, change.lamports, change.rent, change.slot)):
        raise FillUnbalanced("amounts beyond what any account can hold")
    return Fill(
        intent_id=intent.id,
        attempt=attempt.n,
        signature=attempt.signature,
        slot=change.slot,
        block_time_ms=change.block_time_ms,
        side=intent.side,
        base_delta=0 if change.failed else base,
        quote_delta=0 if change.failed else quote,
        lamport_delta=change.lamports,
        base_fee_lamports=change.base_fee,
        priority_fee_lamports=change.priority_fee,
        tip_lamports=change.tip,
        rent_lamports=change.rent,
        finalized=finalized,
    )


def _first_signature(transaction: dict[str, Any]) -> Any:
    try:
        return transaction["transaction"]["signatures"][0]
    except (KeyError, IndexError, TypeError):
        return None


def _check_direction(intent: OrderIntent, change: WalletChange, *, base: int, quote: int, quote_mint: Mint) -> None:
    spent, got = (-quote, base) if intent.side is Side.BUY else (-base, quote)
    if not 0 < spent <= intent.amount_in or got <= 0:
        raise FillUnbalanced(f"a {intent.side} of {intent.amount_in} spent {spent} and got {got}")
    others = {mint: amount for mint, amount in change.tokens.items() if mint not in (intent.mint, quote_mint)}
    if any(amount < 0 for amount in others.values()):
        raise FillUnbalanced(f"other tokens were spent: {others}")
