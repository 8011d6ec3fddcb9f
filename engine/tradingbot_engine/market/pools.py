"""
The pool feed: prices from the vaults of each token's pool, by websocket, repaired by reading.

What is told live comes from one node at a time (`rpc.websocket`). Whenever something may have been missed (a new
connection, a hole in the slots, a fork, a vault told alone) the pool is read, both vaults in one call, from a bank that is
at least as new as the end of the hole; until then the token is not sound and goes stale. What follows from what is
`market.book`; here is the I/O.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial

import aiohttp
import structlog
from yarl import URL

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.events import BAR_MS, Bar, HistoryLoaded, MarketEvent
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import Mint, Slot, UnixMs
from tradingbot_engine.errors import EngineError, TemporaryError
from tradingbot_engine.market.book import SLOTS, PoolBook
from tradingbot_engine.market.discovery import Discovery, Pool
from tradingbot_engine.market.event_time import EventTime
from tradingbot_engine.market.history import HistoryClient, HistoryUnavailable, PoolNow
from tradingbot_engine.market.normalise import AccountData, Malformed, vault_amount
from tradingbot_engine.market.port import Feed, FeedHealth
from tradingbot_engine.market.provider import new_session
from tradingbot_engine.market.repairs import Repair
from tradingbot_engine.market.tokens import QUOTE_DECIMALS, QUOTE_MINTS, read_accounts, resolve_tokens
from tradingbot_engine.market.usd import UsdPoller
from tradingbot_engine.market.witness import final_signature
from tradingbot_engine.rpc.errors import NodeBehind
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.rpc.websocket import Connected, Lost, NodeStream, Subscription
from tradingbot_engine.settings import EngineSettings

__all__ = ["PoolFeed", "build_feed", "resolve_tokens"]

POOLS_PER_READ = 50
"""Two vaults each: 100 accounts, what validators allow in one call."""
REPAIR_PAUSE_S = (0.05, 2.0)
NOT_THERE_YET_S = 0.1
DISCOVERY_PAUSE_S = (1.0, 30.0)
LAG_SLOTS = 64
"""A node whose slots are this far behind the best other node's is left for another."""
LAG_CHECK_S = 3.0
REFILL_TRIES = 5
REFILL_PAUSE_S = 2.0

_log = structlog.get_logger(__name__)


class PoolFeed:
    """See `market.port.Feed`; `run` may be called once."""

    def __init__(
        self,
        *,
        book: PoolBook,
        tokens: Callable[[], Awaitable[Sequence[Token]]],
        discovery: Discovery,
        stream: NodeStream,
        rpc: RpcPool,
        clock: Clock,
        history: HistoryClient | None,
        usd: UsdPoller,
        quote_decimals: int,
        commitment: str,
        check_s: float,
    ) -> None:
        self._book, self._tokens, self._discovery, self._stream = book, tokens, discovery, stream
        self._rpc, self._clock, self._history, self._usd = rpc, clock, history, usd
        self._quote_decimals, self._commitment, self._check_s = quote_decimals, commitment, check_s
        self._by_mint: dict[Mint, Token] = {}
        self._repair_wanted = asyncio.Event()
        self._refill_wanted = asyncio.Event()

    async def run(self, emit: Callable[[MarketEvent], None]) -> None:
        self._stream.want([Subscription(SLOTS, "slotSubscribe")])
        async with new_session() as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(emit), name="feed: listen")
            tasks.create_task(self._check(emit), name="feed: check")
            tasks.create_task(self._leave_laggards(), name="feed: leave laggards")
            tasks.create_task(self._discover(session), name="feed: discover")
            tasks.create_task(self._repair(emit), name="feed: repair")
            tasks.create_task(self._usd.run(session, emit), name="feed: usd")
            if self._history is not None:
                tasks.create_task(self._refill(session, emit), name="feed: refill")

    def health(self) -> FeedHealth:
        return self._book.health(self._clock.monotonic_s())

    async def history(self, mint: Mint, *, since_ms: UnixMs) -> tuple[Bar, ...]:
        async with new_session() as session:
            return await self._bars(session, mint, since_ms)

    # --- live
    async def _listen(self, emit: Callable[[MarketEvent], None]) -> None:
        async with aclosing(self._stream.messages()) as messages:
            async for message in messages:
                match message:
                    case Connected(provider):
                        _log.info("feed connected", provider=provider)
                    case Lost(provider, reason):
                        _log.warning("feed lost its node", provider=provider, reason=reason)
                self._tell(emit, self._book.take(message, self._clock.monotonic_s()))

    async def _check(self, emit: Callable[[MarketEvent], None]) -> None:
        while True:
            self._tell(emit, self._book.check(self._clock.monotonic_s()))
            await self._clock.sleep(self._check_s)

    async def _leave_laggards(self) -> None:
        """
        Give a node up that is far behind the others: it looks alive, and its prices are old.

        So is one whose slots grow while nothing of them becomes final: it sits on a dead fork.
        """
        while self._stream.alternatives:
            await self._clock.sleep(LAG_CHECK_S)
            await self._rpc.probe()
            nodes, book = self._rpc.endpoints(), self._book
            behind = max((e.slot for e in nodes), default=0) - book.slot
            unfinal = max((e.finalized_slot for e in nodes), default=0) - book.root if book.root is not None else 0
            if book.connected and behind > LAG_SLOTS:
                self._stream.drop(f"{behind} slots behind the best node")
            elif book.connected and unfinal > LAG_SLOTS:
                self._stream.drop(f"its newest final slot is {unfinal} behind that of the best node")

    def _tell(self, emit: Callable[[MarketEvent], None], events: Iterable[MarketEvent]) -> None:
        for event in events:
            emit(event)
        if self._book.repairs:
            self._repair_wanted.set()
        if self._book.refills:
            self._refill_wanted.set()

    # --- reading what was not told
    async def _repair(self, emit: Callable[[MarketEvent], None]) -> None:
        pause_s = REPAIR_PAUSE_S[0]
        while True:
            await self._repair_wanted.wait()
            repair = self._book.next_repair(POOLS_PER_READ)
            if repair is None:
                self._repair_wanted.clear()
                continue
            keys = [key for pool in repair.pools for key in (pool.base_vault, pool.quote_vault)]
            try:
                slot, found = await read_accounts(
                    self._rpc, keys, commitment=self._commitment, min_context_slot=repair.min_slot
                )
            except NodeBehind:
                # The commitment trails the newest slot: what was told now can be read a slot or two later.
                self._book.repairs.give_back(repair)
                await self._clock.sleep(NOT_THERE_YET_S)
                continue
            except EngineError as error:
                self._book.repairs.give_back(repair)
                _log.debug("pools not read", error=str(error))
                await self._clock.sleep(pause_s)
                pause_s = min(REPAIR_PAUSE_S[1], pause_s * 2)
                continue
            pause_s = REPAIR_PAUSE_S[0]
            for i, pool in enumerate(repair.pools):
                self._tell(emit, self._read(repair, pool, slot, found[2 * i], found[2 * i + 1]))

    def _read(
        self, repair: Repair, pool: Pool, slot: Slot, base: AccountData | None, quote: AccountData | None
    ) -> list[MarketEvent]:
        try:
            if base is None or quote is None:
                raise Malformed("a vault is gone")
            self._book.believe(slot)
            amounts = vault_amount(base, pool.mint), vault_amount(quote, pool.quote_mint)
        except Malformed as error:
            self._book.unreadable(pool.mint, str(error), self._clock.monotonic_s())
            return []
        return self._book.repaired(repair, pool.mint, slot, *amounts)

    async def _discover(self, session: aiohttp.ClientSession) -> None:
        """Find every token's pool, again and again until all are found; tokens do not wait for each other."""
        missing: list[Token] | None = None
        pause_s = DISCOVERY_PAUSE_S[0]
        while missing is None or missing:
            try:
                if missing is None:
                    missing = list(await self._tokens())
                    self._by_mint = {token.mint: token for token in missing}
                for token in list(missing):
                    if await self._watch_pool(session, token):
                        missing.remove(token)
            except EngineError as error:
                _log.warning("tokens not known", error=str(error))
            await self._clock.sleep(pause_s)
            pause_s = min(DISCOVERY_PAUSE_S[1], pause_s * 2)

    async def _watch_pool(self, session: aiohttp.ClientSession, token: Token) -> bool:
        try:
            pool = await self._discovery.find(session, token)
        except EngineError as error:
            self._book.problem(token.mint, str(error))
            _log.warning("no pool", mint=token.mint, error=str(error))
            return False
        self._stream.want(self._book.add(pool))
        self._repair_wanted.set()
        return True

    # --- history
    async def _refill(self, session: aiohttp.ClientSession, emit: Callable[[MarketEvent], None]) -> None:
        """Ask the history for minutes that were missed; what cannot be had after some tries stays missing."""
        while True:
            await self._refill_wanted.wait()
            if not self._book.refills:
                self._refill_wanted.clear()
                continue
            mint, since_ms = self._book.refills.popitem()
            for attempt in range(REFILL_TRIES):
                try:
                    bars = await self._bars(session, mint, since_ms - since_ms % BAR_MS)
                except TemporaryError as error:
                    _log.debug("history not read", mint=mint, error=str(error))
                    await self._clock.sleep(REFILL_PAUSE_S * 2**attempt)
                    continue
                if bars:
                    emit(HistoryLoaded(mint, bars))
                break

    async def _bars(self, session: aiohttp.ClientSession, mint: Mint, since_ms: UnixMs) -> tuple[Bar, ...]:
        if self._history is None:
            raise HistoryUnavailable("no history API is configured")
        now = await self._pool_now(session, mint)
        until_ms = self._book.event_ms or self._book.time.passed_ms(await self._newest_slot(), self._commitment)
        return await self._history.bars(session, now, since_ms=since_ms, until_ms=until_ms)

    async def _newest_slot(self) -> Slot:
        answer = await self._rpc.call("getSlot", [{"commitment": self._commitment}], decode=int)
        return answer.result

    async def _pool_now(self, session: aiohttp.ClientSession, mint: Mint) -> PoolNow:
        """Return the pool's price and depth, reading them if the feed has not yet."""
        pool, told = self._book.pool(mint), self._book.now_of(mint)
        if pool is None:
            token = self._by_mint.get(mint) or next((t for t in await self._tokens() if t.mint == mint), None)
            if token is None:
                raise HistoryUnavailable(f"{mint} is none of the tokens")
            pool = await self._discovery.find(session, token)
        if told is None:
            _, (base, quote) = await read_accounts(
                self._rpc, [pool.base_vault, pool.quote_vault], commitment=self._commitment
            )
            try:
                if base is None or quote is None:
                    raise Malformed("a vault is gone")
                amounts = vault_amount(base, mint), vault_amount(quote, pool.quote_mint)
            except Malformed as error:
                raise HistoryUnavailable(f"{mint}: {error}") from error
            told = (amounts[1] / amounts[0] * pool.scale if amounts[0] else 0.0), amounts[1]
        return PoolNow(pool.address, self._quote_decimals, *told)


def build_feed(settings: EngineSettings, rpc: RpcPool, clock: Clock, *, tokens: Sequence[Token] | None = None) -> Feed:
    """
    Wire the pool feed from settings.

    Args:
        tokens: What `resolve_tokens` returned; absent, the feed resolves them itself.
    """
    market, commitment = settings.market, settings.execution.commitment
    quote_mint, quote_decimals = QUOTE_MINTS[market.quote], QUOTE_DECIMALS[market.quote]
    time = EventTime(market.event_time, clock=clock)
    book = PoolBook(
        [token.mint for token in market.tokens],
        time=time,
        commitment=commitment,
        max_staleness_ms=market.max_staleness_ms,
        now_s=clock.monotonic_s(),
    )

    async def known_tokens() -> Sequence[Token]:
        return tokens if tokens is not None else await resolve_tokens(settings, rpc)

    swap = settings.execution.swap
    same_host = market.price_url is not None and URL(market.price_url).host == URL(swap.base_url).host
    # The key is the swap API's: nobody else is shown it.
    api_key = swap.api_key.get_secret_value() if swap.api_key is not None and same_host else None
    staleness_s = market.max_staleness_ms / 1000
    return PoolFeed(
        book=book,
        tokens=known_tokens,
        discovery=Discovery(
            swap=swap, rpc=rpc, quote_mint=quote_mint, quote_decimals=quote_decimals, commitment=commitment
        ),
        stream=NodeStream(
            settings.rpc.endpoints,
            clock=clock,
            pulse=SLOTS,
            ping_s=max(0.05, staleness_s / 3),
            witness=partial(final_signature, rpc),
        ),
        rpc=rpc,
        clock=clock,
        history=HistoryClient(market.history_url, clock=clock) if market.history_url is not None else None,
        usd=UsdPoller(
            base_url=market.price_url, quote_mint=quote_mint, clock=clock, now_ms=lambda: book.event_ms, api_key=api_key
        ),
        quote_decimals=quote_decimals,
        commitment=commitment,
        check_s=min(0.25, max(0.02, staleness_s / 5)),
    )
