"""What a swap is to do: spend an amount, or get one; and the instruction that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BaseUnits
from tradingbot_engine.localnet.market import instructions
from tradingbot_engine.localnet.market.instructions import HopAccounts


@dataclass(frozen=True, slots=True)
class ExactIn:
    """Spend `amount`, and get `min_out` or more."""

    amount: BaseUnits
    min_out: BaseUnits

    @property
    def most_in(self) -> BaseUnits:
        """The most that it spends."""
        return self.amount

    def instruction(self, user: Pubkey, source: Pubkey, hops: Sequence[HopAccounts]) -> Instruction:
        """Return the program's instruction."""
        return instructions.swap(user, source, hops, self.amount, self.min_out)


@dataclass(frozen=True, slots=True)
class ExactOut:
    """Get `amount` or what a base unit more of the input buys, and spend the least that gives it: `max_in` or less."""

    amount: BaseUnits
    max_in: BaseUnits

    @property
    def most_in(self) -> BaseUnits:
        """The most that it spends."""
        return self.max_in

    def instruction(self, user: Pubkey, source: Pubkey, hops: Sequence[HopAccounts]) -> Instruction:
        """Return the program's instruction."""
        return instructions.swap_out(user, source, hops, self.amount, self.max_in)


Order: TypeAlias = ExactIn | ExactOut
