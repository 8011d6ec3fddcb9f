"""The bot's own row in the ledger: found, or made when the bot is born; either way it ties the ledger to one chain and one mode."""

from __future__ import annotations

import secrets

from tradingbot_engine.core.risk.tiers import utc_day
from tradingbot_engine.domain.portfolio import RiskState
from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT
from tradingbot_engine.errors import PermanentError, WalletEmpty, WrongGenesis
from tradingbot_engine.ledger.port import BotRecord, Ledger
from tradingbot_engine.market.wallet import read_wallet
from tradingbot_engine.outside import Outside
from tradingbot_engine.settings import EngineSettings

PAPER_CAPITAL = {"SOL": 10_000_000_000, "USDC": 1_000_000_000}
"""What a paper bot starts with when the manifest names no capital: 10 SOL or 1,000 USDC, in quote base units."""


async def adopt(outside: Outside, settings: EngineSettings) -> BotRecord:
    """Find or make the bot's row; a new one starts with the configured capital, or with what the wallet holds now."""
    quote_mint = SOL_MINT if settings.market.quote == "SOL" else USDC_MINT
    paper = settings.bot.mode == "Paper"
    if paper:
        capital = settings.risk.capital or PAPER_CAPITAL[settings.market.quote]
        lamports, quote, slot = capital + settings.risk.fee_reserve_lamports, capital, 0
        if quote_mint == SOL_MINT:
            quote = lamports
    else:
        balance = await read_wallet(outside.rpc, wallet=settings.wallet.address, quote_mint=quote_mint)
        lamports, quote, slot = balance.lamports, balance.quote, balance.slot
        spendable = lamports - settings.risk.fee_reserve_lamports if quote_mint == SOL_MINT else quote
        capital = settings.risk.capital or max(0, spendable)
    if capital <= 0 and not await _known(outside.ledger):
        raise WalletEmpty(
            f"the wallet {settings.wallet.address} holds no {settings.market.quote} to trade with; fund it"
        )
    now_ms = outside.clock.now_ms()
    wanted = BotRecord(
        bot_id=settings.bot.bot_id or secrets.token_hex(16),
        name=f"{settings.bot.namespace}/{settings.bot.name}",
        wallet=settings.wallet.address,
        genesis_hash=outside.genesis_hash,
        cluster_id=settings.bot.cluster_id,
        quote_mint=quote_mint,
        shards=settings.bot.shards,
        paper=paper,
        generation=0,
        settled_slot=0,
        wallet_lamports=lamports,
        wallet_quote=quote,
        wallet_slot=slot,
    )
    start = RiskState(
        capital=capital,
        equity_start=capital,
        equity=capital,
        peak=capital,
        day=utc_day(now_ms),
        day_start=capital,
        marked_at_ms=now_ms,
    )
    bot = await outside.ledger.adopt_bot(wanted, risk=start, force=settings.bot.adopt)
    if bot.genesis_hash != outside.genesis_hash:
        raise WrongGenesis(f"the nodes serve {outside.genesis_hash}, but this bot has traded on {bot.genesis_hash}")
    if bot.paper != paper:
        raise PermanentError(
            f"this ledger is a {'paper' if bot.paper else 'live'} bot's; use another one for mode {settings.bot.mode}"
        )
    return bot


async def _known(ledger: Ledger) -> bool:
    """Whether the ledger has a bot already: an empty wallet stops only a bot that is being born."""
    return bool(await ledger.shards())
