"""
What the simulated traders do in a slot: a pure function of the seed, the slot, and what the pools hold.

Each pool has a path in dollars to follow; arbitrage moves it there, and others trade around it. Whatever a bot does to the
price is thereby undone a slot later, as by the rest of a real market.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, exp

from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BaseUnits, QuoteUnits, Slot
from tradingbot_engine.localnet.market import amm
from tradingbot_engine.localnet.market.noise import unit
from tradingbot_engine.localnet.market.scenario import USUAL, Mood, Path
from tradingbot_engine.localnet.market.world import Pool, World

LARGEST_WOBBLE = 0.0015
"""Largest push around the path per slot, as a share of the quote reserve: 0.3 % of the price."""
LARGEST_EXTRA = 0.015
"""Largest single trade of a crowd, as a share of the quote reserve."""
RUG_SHARE = 0.9
"""Share of the liquidity that the creator takes."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One swap by trader number `trader`: exactly one of the amounts is positive."""

    pool: Pool
    trader: int
    base_in: BaseUnits
    quote_in: QuoteUnits


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The creator takes liquidity."""

    pool: Pool
    base: BaseUnits
    quote: QuoteUnits


Action = Trade | Withdrawal


@dataclass(frozen=True)
class Crowd:
    """All traders of a world."""

    world: World
    paths: Mapping[Pubkey, Path]
    """By mint, of every token including SOL and USDC."""
    transactions_per_slot: int
    """No more than this in a slot: where slots are short, pools take turns."""

    @cached_property
    def slots_per_turn(self) -> int:
        """In how many slots every pool had its turn."""
        return ceil(len(self.world.pools) / self.transactions_per_slot)

    def usd(self, minutes: float) -> dict[Pubkey, float]:
        """Return the dollar price that each token's path wants, by mint."""
        return {
            mint: token.opening_usd * exp(self.paths[mint].log_price(minutes))
            for mint, token in self.world.by_mint.items()
        }

    def wobble(self, pool: Pool, mood: Mood, slot: Slot, turn_minutes: float) -> float:
        """Return the share of the quote reserve by which this turn's trades overshoot the path; turns alternate in sign."""
        size = min(mood.turnover * turn_minutes / 2, LARGEST_WOBBLE)
        side = 1 if (slot // self.slots_per_turn) % 2 else -1
        return side * size * (1 + 0.4 * unit(self.world.seed, pool.name, slot))

    def plan(
        self, slot: Slot, minutes: float, slot_minutes: float, held: Sequence[tuple[BaseUnits, QuoteUnits]]
    ) -> list[Action]:
        """
        Return this slot's actions in their order.

        Args:
            slot: The slot in which they are sent.
            minutes: Market time of the slot, since the opening.
            slot_minutes: Market time that a slot takes.
            held: (base, quote) reserves of each pool, in the order of the world.
        """
        actions: list[Action] = []
        turns = self.slots_per_turn
        mine = range(slot % turns, len(self.world.pools), turns)
        room = self.transactions_per_slot - len(mine)
        usd = self.usd(minutes)
        for number in mine:
            pool, (base, quote) = self.world.pools[number], held[number]
            path = self.paths[pool.base.mint]
            rug_minute = path.rug_minute()
            if (
                rug_minute is not None
                and minutes >= rug_minute
                and base * quote > pool.opening_base * pool.opening_quote // 4
            ):
                taken = int(base * RUG_SHARE), int(quote * RUG_SHARE)
                actions.append(Withdrawal(pool, *taken))
                base, quote = base - taken[0], quote - taken[1]
            mood = path.mood(minutes)
            turn_minutes = slot_minutes * turns
            ratio = pool.price_ratio(usd[pool.base.mint], usd[pool.quote.mint])
            goal = amm.quote_reserve_at(ratio, base, quote)
            goal = int(goal * (1 + self.wobble(pool, mood, slot, turn_minutes)))
            if not base or not quote or abs(goal / quote - 1) < mood.tolerance / 2:
                continue
            swings = self._swings(pool, mood, slot, turn_minutes, room)
            room -= 2 * len(swings)
            for waypoint in (*(reserve for swing in swings for reserve in (int(quote * (1 + swing)), quote)), goal):
                base, quote = self._step(actions, pool, slot, waypoint, base, quote)
        return actions

    def _swings(self, pool: Pool, mood: Mood, slot: Slot, turn_minutes: float, room: int) -> list[float]:
        """Return how far, in shares of the quote reserve, a crowd throws the pool up and down before the slot's last trade."""
        pairs = min(mood.crowd // 10, 2, room // 2)
        if pairs < 1:
            return []
        gross = mood.crowd * min(USUAL.turnover * turn_minutes, 2 * LARGEST_WOBBLE)
        share = min(gross / (2 * pairs), LARGEST_EXTRA)
        return [share * (1 + 0.3 * unit(self.world.seed, pool.address, slot, pair)) for pair in range(pairs)]

    def _step(
        self, into: list[Action], pool: Pool, slot: Slot, goal: QuoteUnits, base: BaseUnits, quote: QuoteUnits
    ) -> tuple[BaseUnits, QuoteUnits]:
        """Append the trade that moves the quote reserve to `goal`, and return the reserves after it."""
        quote_in, base_in = amm.trade_to(goal, base, quote, pool.fee_bps)
        trader = int((unit(self.world.seed, pool.address, slot, len(into), "who") + 1) / 2 * len(self.world.traders))
        if quote_in:
            out = amm.amount_out(quote_in, quote, base, pool.fee_bps)
            if out is None:
                return base, quote
            into.append(Trade(pool, trader, 0, quote_in))
            return base - out, quote + quote_in
        out = amm.amount_out(base_in, base, quote, pool.fee_bps) if base_in else None
        if out is None:
            return base, quote
        into.append(Trade(pool, trader, base_in, 0))
        return base + base_in, quote - out
