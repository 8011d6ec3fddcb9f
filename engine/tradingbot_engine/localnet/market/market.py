"""The market as one object: genesis or return, traders at every slot, history, and the APIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from pathlib import Path

import structlog
from aiohttp import web
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.units import BaseUnits, Slot, UnixMs
from tradingbot_engine.localnet.market import amm, instructions
from tradingbot_engine.localnet.market.accounts import associated
from tradingbot_engine.localnet.market.birth import born_bars, reserves_at
from tradingbot_engine.localnet.market.faucet import TokenFaucet
from tradingbot_engine.localnet.market.genesis import write_genesis, write_listing
from tradingbot_engine.localnet.market.history import History
from tradingbot_engine.localnet.market.jupiter import SwapApi
from tradingbot_engine.localnet.market.ports import Bank
from tradingbot_engine.localnet.market.prices import PriceApi
from tradingbot_engine.localnet.market.replay import Recording, recorded_paths
from tradingbot_engine.localnet.market.routes import hop_accounts
from tradingbot_engine.localnet.market.scenario import Eased, Pegged, Scenario, number_of, path_of, path_of_sol
from tradingbot_engine.localnet.market.scenario import Path as PricePath
from tradingbot_engine.localnet.market.store import Birth, MarketStore
from tradingbot_engine.localnet.market.streams import Streams
from tradingbot_engine.localnet.market.tokens import SOL, USDC, listed, with_added
from tradingbot_engine.localnet.market.traders import Action, Crowd, Withdrawal
from tradingbot_engine.localnet.market.web_api import Gate
from tradingbot_engine.localnet.market.world import Pool, lay_out, reserves
from tradingbot_engine.localnet.program import pool_elf
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID

logger = structlog.get_logger(__name__)

TRANSACTIONS_PER_SLOT = 48


def transactions_per_slot(slot_ms: float) -> int:
    """Return how many transactions the traders may send per slot: about 120 a second, so that one core is enough."""
    return max(1, min(TRANSACTIONS_PER_SLOT, round(slot_ms * 0.12)))


class Market:
    """
    Tokens, pools, traders and swap API over a bank.

    Args:
        bank: The chain; the market trades whenever it ticks.
        seed: Decides addresses, prices and trades; a market that was born before keeps its own.
        scenario: What kind of market is played.
        replay: A recorded series that drives the tokens' prices instead of the scenario.
        tokens: Further tokens, MINT or MINT:DECIMALS.
        state_dir: Where history is kept over restarts; without one it is made anew.
        transactions_per_slot: The traders send no more than this in a slot.
        requests_per_minute: Limit of the swap API; None means none.
    """

    def __init__(
        self,
        bank: Bank,
        *,
        seed: int = 0,
        scenario: Scenario | str = Scenario.CALM,
        replay: Recording | None = None,
        tokens: Sequence[str] = (),
        state_dir: Path | None = None,
        transactions_per_slot: int = TRANSACTIONS_PER_SLOT,
        requests_per_minute: int | None = None,
    ) -> None:
        self._bank = bank
        self._store = MarketStore(state_dir / "market") if state_dir is not None else None
        self._wanted = Birth(seed, tuple(tokens), 0)
        self._scenario = Scenario(scenario)
        self._replay = replay
        self._transactions_per_slot = transactions_per_slot
        self.gate = Gate(requests_per_minute=requests_per_minute, seed=seed)
        self.trading = True
        """Whether the traders act; a test that wants a market that stands still turns it off."""
        self.failed_trades = 0
        self.listed_with: Mapping[Pubkey, tuple[BaseUnits, BaseUnits]] = {}
        """(base, quote) with which pools were opened that an earlier run did not have."""
        self._last_slot: Slot | None = None
        self._forks = bank.forks

    # -- birth and return --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """
        Write the genesis, or find the world of an earlier run in the bank; then trade at every slot.

        A token that an earlier run did not have is listed now, with 25 h behind it; one that is not wanted any more stays.

        Raises:
            BadToken: One of the tokens is malformed, or cannot be listed.
        """
        bank = self._bank
        now_ms = bank.clock.at_ms(bank.slot)
        birth = self._store.birth() if self._store else None
        birth = birth or Birth(self._wanted.seed, (), now_ms)
        birth = replace(birth, tokens=with_added(birth.tokens, self._wanted.tokens))
        self.world = lay_out(birth.seed, listed(birth.tokens))
        bank.let_pass([*self.world.trader_keys, self.world.creator.pubkey()])
        is_new = bank.account(self.world.sol_usdc.address) is None
        if is_new:  # also where localnet died before its first blocks were final
            birth = replace(birth, origin_ms=now_ms)
            write_genesis(self.world, bank)
        bank.add_program(POOL_PROGRAM_ID, pool_elf())  # a chain of an earlier version gets today's
        self.origin_ms: UnixMs = birth.origin_ms
        paths = self._paths(birth)
        self._crowd = Crowd(self.world, paths if is_new else self._eased(paths), self._transactions_per_slot)
        late = self._list_missing()
        kept = self._store.bars_before(now_ms) if self._store and not is_new else {}
        born = self._born([pool for n, pool in enumerate(self.world.pools) if pool in late or not kept.get(n)], now_ms)
        self.histories = {
            pool.address: History(
                base_decimals=pool.base.decimals,
                quote_decimals=pool.quote.decimals,
                born_with=born[pool.address] if pool.address in born else kept[number],
            )
            for number, pool in enumerate(self.world.pools)
        }
        if self._store:
            self._store.keep_birth(birth)
            self._store.rewrite(history.bars() for history in self.histories.values())
        self._observe(bank.slot)
        self._last_slot = bank.slot
        bank.on_slot(self.on_slot)

    def _paths(self, birth: Birth) -> Mapping[Pubkey, PricePath]:
        paths: dict[Pubkey, PricePath] = {USDC.mint: Pegged(), SOL.mint: path_of_sol(self._scenario, seed=birth.seed)}
        moved = [token for token in self.world.tokens if not token.stable]
        paths.update((token.mint, Pegged()) for token in self.world.tokens if token.stable)
        for index, token in enumerate(moved):
            known = not token.is_extra
            name = token.symbol if known else str(token.mint)
            number = index if known else number_of(name, seed=birth.seed)
            paths[token.mint] = path_of(self._scenario, seed=birth.seed, symbol=name, index=number)
        if self._replay is not None:
            paths.update(recorded_paths(self._replay, [token.mint for token in moved], seed=birth.seed))
            paths[SOL.mint] = Pegged()  # so that a token moves alike against SOL and USDC
        return paths

    def _eased(self, paths: Mapping[Pubkey, PricePath]) -> Mapping[Pubkey, PricePath]:
        """Start the paths where the prices are: another scenario than before is no reason for a jump."""
        minutes = (self._bank.clock.at_ms(self._bank.slot) - self.origin_ms) / 60_000
        eased = dict(paths)
        for pool in self.world.pools:
            base, quote = reserves(self._bank, pool)
            if pool.quote == USDC and base and quote:
                usd = amm.price(base, quote, pool.base.decimals, pool.quote.decimals)
                path = paths[pool.base.mint]
                offset = log(usd / pool.base.opening_usd) - path.log_price(minutes)
                eased[pool.base.mint] = Eased(path, offset, minutes)
        return eased

    def _list_missing(self) -> list[Pool]:
        """List the tokens that the bank has no pools of: of an earlier run they were not wanted, or they did not become final."""
        bank, world = self._bank, self.world
        late = [pool for pool in world.pools if bank.account(pool.address) is None]
        if late:
            minutes = (bank.clock.at_ms(bank.slot) - self.origin_ms) / 60_000
            opening = self.listed_with = {pool.address: reserves_at(self._crowd, pool, minutes) for pool in late}
            tokens = [token for token in world.tokens if any(pool.base == token for pool in late)]
            write_listing(world, bank, tokens, opening)
        return late

    def _born(self, pools: Sequence[Pool], until_ms: UnixMs) -> Mapping[Pubkey, list[Bar]]:
        clock, slot = self._bank.clock, self._bank.slot
        slot_ms = (clock.at_ms(slot + 1000) - clock.at_ms(slot)) / 1000
        bars = born_bars(self._crowd, pools, origin_ms=self.origin_ms, until_ms=until_ms, slot_ms=slot_ms)
        return {pool.address: found for pool, found in zip(pools, bars, strict=True)}

    def mount(self, app: web.Application) -> None:
        """Add the swap, price and history APIs and the price streams to `app`, and the faucet for tokens."""
        self.gate.mount(app)
        TokenFaucet(world=self.world, bank=self._bank).mount(app)
        SwapApi(world=self.world, bank=self._bank, gate=self.gate).mount(app)
        prices = PriceApi(world=self.world, bank=self._bank, gate=self.gate, histories=self.histories)
        prices.mount(app)
        Streams(
            world=self.world, bank=self._bank, gate=self.gate, prices=prices.prices, histories=self.histories
        ).mount(app)

    def close(self) -> None:
        """Close the files; what is not final yet is made anew after a restart."""
        self.trading = False
        if self._store:
            self._store.close()

    # -- every slot --------------------------------------------------------------------------------------------------

    def on_slot(self, slot: Slot) -> None:
        """Let the traders act in a new slot, then note what the pools hold at its end."""
        if slot == self._last_slot:
            return  # a skipped slot: there is no new block to trade in
        self._last_slot = slot
        if self._bank.forks != self._forks:
            self._forks = self._bank.forks
            for history in self.histories.values():
                history.forget(lambda sampled: self._bank.block_at(sampled).slot != sampled)
        if self.trading:
            for action in self.plan(slot):
                self._perform(action)
        self._observe(slot)

    def plan(self, slot: Slot) -> list[Action]:
        """Return what the traders would do in `slot` with what the pools hold now."""
        clock = self._bank.clock
        minutes = (clock.at_ms(slot) - self.origin_ms) / 60_000
        slot_minutes = (clock.at_ms(slot + 1000) - clock.at_ms(slot)) / 60_000_000
        held: list[tuple[BaseUnits, BaseUnits]] = [(0, 0)] * len(self.world.pools)
        turns = self._crowd.slots_per_turn
        for number in range(slot % turns, len(held), turns):
            held[number] = reserves(self._bank, self.world.pools[number])
        return self._crowd.plan(slot, minutes, slot_minutes, held)

    def _perform(self, action: Action) -> None:
        signer, instruction = self._instruction(action)
        blockhash, _ = self._bank.latest_blockhash("confirmed")
        message = MessageV0.try_compile(instruction.accounts[0].pubkey, [instruction], [], blockhash)
        result = self._bank.execute(VersionedTransaction(message, [signer]), verified=True)  # signed here, just now
        if result.err is not None:
            self.failed_trades += 1
            logger.warning("trader failed", pool=str(action.pool.address), error=str(result.err))

    def _instruction(self, action: Action) -> tuple[Keypair, Instruction]:
        pool = action.pool
        if isinstance(action, Withdrawal):
            creator = self.world.creator.pubkey()
            withdrawal = instructions.withdraw(
                creator=creator,
                pool=pool.address,
                authority=pool.authority,
                vault_a=pool.vault_base,
                vault_b=pool.vault_quote,
                to_a=associated(creator, pool.base.mint),
                to_b=associated(creator, pool.quote.mint),
                amount_a=action.base,
                amount_b=action.quote,
            )
            return self.world.creator, withdrawal
        trader = self.world.trader_keys[action.trader]
        sells_base = action.base_in > 0
        source = associated(trader, pool.base.mint if sells_base else pool.quote.mint)
        hop = hop_accounts(pool, sells_base=sells_base, user=trader)
        swap = instructions.swap(trader, source, [hop], action.base_in or action.quote_in, 0)
        return self.world.traders[action.trader], swap

    def _observe(self, slot: Slot) -> None:
        at_ms = self._bank.clock.at_ms(slot)
        final = self._bank.view_slot("finalized")
        for number, pool in enumerate(self.world.pools):
            history = self.histories[pool.address]
            history.observe(slot, at_ms, *reserves(self._bank, pool))
            closed = history.finalize(final)
            if closed and self._store and self._store.append(number, closed):
                self._store.rewrite(history.bars() for history in self.histories.values())
