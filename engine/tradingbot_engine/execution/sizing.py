"""
How much an attempt of an exit may sell: what its position holds now, and no more than is there.

All positions of a token share the wallet's one account of it. What an exit was claimed for may not be there any more: a fork
took the purchase back and it landed again for fewer tokens, another position's sale took some, a person moved them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tradingbot_engine.domain.intents import IntentRecord
from tradingbot_engine.domain.units import BaseUnits
from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.execution.port import Executor
from tradingbot_engine.ledger.port import Holding, Shortage

SHORT = "ShortOfTokens"
"""The reason of an exit that was given up since the wallet holds nothing to sell."""
WORTH_SELLING = 10_000
"""What is left of a position is sold unless it is less than this part of it: a base unit that anybody can send in keeps none open."""


class NotBoughtNow(TemporaryError):
    """A fork took the purchase back: its bytes are still valid and are being sent, so it may be there again in a moment."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Nothing can be sold; `short`: since the tokens are gone for good."""

    reason: str
    short: Shortage | None = None


async def size_exit(record: IntentRecord, holding: Holding, *, executor: Executor) -> BaseUnits | GiveUp:
    """
    Return how many base units the next attempt of an exit sells.

    The wallet is asked where it costs little: when the purchase is not final, when an attempt of this exit has come to
    nothing, or when an exit of the position has failed or sold only a part. All others sell what the ledger says.

    Raises:
        NotBoughtNow: Try again.
        TemporaryError: The wallet cannot be read now.
    """
    wanted = min(record.intent.amount_in, holding.held)
    if wanted <= 0:
        if holding.entry_open:
            raise NotBoughtNow("a fork took the purchase back: nothing to sell until it has landed again")
        return GiveUp("NothingHeld: the position holds nothing")
    if not (holding.entry_open or holding.troubled or record.attempts):
        return wanted
    there = await executor.balance(record.intent.mint, min_slot=holding.newest_slot, finalized=False)
    if there is None or there.amount >= wanted:
        return wanted
    if not _is_nothing(there.amount, holding):
        return there.amount
    if holding.entry_open:
        raise NotBoughtNow("the purchase is not in the wallet: another node may know it, or a fork took it back")
    there = await executor.balance(record.intent.mint, min_slot=holding.newest_slot, finalized=True)
    if there is None or not _is_nothing(there.amount, holding):
        raise TemporaryError("what the wallet holds is not final yet")
    reason = f"{SHORT}: the position should hold {holding.held} base units, the wallet has {there.amount}"
    return GiveUp(reason, Shortage(there.amount, there.slot))


def _is_nothing(amount: BaseUnits, holding: Holding) -> bool:
    return amount * WORTH_SELLING < holding.held
