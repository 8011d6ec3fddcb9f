"""What an engine reaches beyond its own process: the ledger, the nodes, the swap API, the prices."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tradingbot_engine.clock import Clock
from tradingbot_engine.core.intents import OPEN
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import Mint
from tradingbot_engine.errors import EngineError, WrongGenesis
from tradingbot_engine.execution.live import LiveExecutor
from tradingbot_engine.execution.paper import PaperExecutor
from tradingbot_engine.execution.port import Executor
from tradingbot_engine.execution.signer import Signer, load_signer
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.ledger.factory import open_ledger
from tradingbot_engine.ledger.port import Ledger
from tradingbot_engine.ledger.readonly import open_ledger_readonly
from tradingbot_engine.market.pools import build_feed
from tradingbot_engine.market.port import Feed
from tradingbot_engine.market.tokens import resolve_tokens
from tradingbot_engine.rpc.errors import WrongChain
from tradingbot_engine.rpc.events import OnEvent
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EngineSettings, LedgerSettings


@dataclass(frozen=True, slots=True)
class Outside:
    """What an engine reaches beyond its own process, opened."""

    ledger: Ledger
    rpc: RpcPool
    swap: SwapApi
    executor: Executor
    genesis_hash: str
    tokens: Sequence[Token]
    feed: Feed
    signer: Signer | None
    """None on paper."""
    clock: Clock
    holder: str
    """Random id of this process incarnation, under which it holds shards."""

    closing: AsyncExitStack

    async def close(self) -> None:
        """Let go of connections and files, in the reverse order of opening."""
        await self.closing.aclose()


async def open_outside(settings: EngineSettings, *, clock: Clock, on_rpc_event: OnEvent | None = None) -> Outside:
    """Open the ledger and reach the chain; on any error everything opened is closed again."""
    holder = secrets.token_hex(16)
    paper = settings.bot.mode == "Paper"
    async with AsyncExitStack() as opened:
        ledger = open_ledger(settings.ledger, holder=holder, clock=clock, paper=paper)
        await ledger.open()
        opened.push_async_callback(ledger.close)
        signer: Signer | None = None
        if not paper:  # before any node is asked: a wrong key is told at once, and readiness does not hang on the nodes
            assert settings.wallet.key_file is not None  # the settings' own rule for mode Live
            signer = load_signer(settings.wallet.key_file, address=settings.wallet.address)
        rpc = await opened.enter_async_context(RpcPool(settings.rpc, clock=clock, on_event=on_rpc_event))
        if (expected := settings.bot.expected_genesis_hash) is not None:
            rpc.expect_genesis(expected)
        swap = SwapApi(settings.execution.swap, clock=clock)
        opened.push_async_callback(swap.close)
        try:
            tokens = await resolve_tokens(settings, rpc)
        except WrongChain as error:
            raise WrongGenesis(str(error)) from error
        feed = build_feed(settings, rpc, clock)
        executor: Executor
        decimals = {token.mint: token.decimals for token in tokens}
        if signer is None:
            executor = PaperExecutor(
                swap=swap,
                rpc=rpc,
                settings=settings,
                clock=clock,
                decimals=decimals,
                fair_price=lambda mint: _fresh_price(feed, mint),
            )
        else:
            executor = LiveExecutor(
                swap=swap,
                rpc=rpc,
                signer=signer,
                settings=settings,
                clock=clock,
                decimals=decimals,
                fair_price=lambda mint: _fresh_price(feed, mint),
            )
        return Outside(
            ledger=ledger,
            rpc=rpc,
            swap=swap,
            executor=executor,
            genesis_hash=expected or await executor.genesis_hash(),
            tokens=tokens,
            feed=feed,
            signer=signer,
            clock=clock,
            holder=holder,
            closing=opened.pop_all(),
        )


def _fresh_price(feed: Feed, mint: Mint) -> float | None:
    """Return the feed's price of a token; None if it has none, or only an old one."""
    view = feed.health().tokens.get(mint)
    return None if view is None or view.stale else view.price


async def open_in_ledger(settings: LedgerSettings) -> int | None:
    """
    Return how many intents are open in the ledger, for an engine that stops before it could reach the chain.

    It is only read, so that a full disk does not hide them. 0 if there is no ledger yet, None if it cannot be read.
    """
    if settings.sqlite_path is not None and not settings.sqlite_path.exists():
        return 0
    place = settings.sqlite_path if settings.url is None else settings.url.get_secret_value()
    assert place is not None, "the settings' own rule: exactly one of the two"
    states = ", ".join(f"'{state}'" for state in sorted(OPEN))
    try:
        async with open_ledger_readonly(place) as reader:
            ((count,),) = await reader.fetch(f"SELECT count(*) FROM intents WHERE state IN ({states})")  # noqa: S608
            return int(count)
    except (EngineError, OSError):
        return None
