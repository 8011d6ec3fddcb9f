"""`tradingbot-engine fund`: play money of localnet for a new wallet."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

import aiohttp
import click

from tradingbot_engine.domain.units import USDC_MINT
from tradingbot_engine.redact import scrub
from tradingbot_engine.settings import EngineSettings, SettingsInvalid, load_settings

LEAST_LAMPORTS = 100 * 10**9
LEAST_USDC = 15_000 * 10**6
CAPITAL_FACTOR = 1.5
"""What a wallet is given beyond the stated capital, for fees and rent."""
PAUSE_S = 0.25
TIMEOUT_S = 5.0
BAD_STATUS = 400
_ids = itertools.count(1)


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="Settings, JSON.")
@click.option("--timeout", "timeout_s", type=float, default=600.0, show_default=True, help="Seconds to try.")
def fund(path: Path, timeout_s: float) -> None:
    """
    Wait for localnet, and let its faucet fund the bot's wallet unless that was given money before.

    A wallet that traded keeps what it has: SOL is given to one that holds none, USDC to one that never had an account of it.

    Exit codes: 0 funded, 1 not in time, 2 bad settings, or not on localnet.
    """
    try:
        settings = load_settings(path)
    except SettingsInvalid as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    if settings.bot.cluster != "localnet":
        click.echo(f"bot.cluster: {settings.bot.cluster}: only localnet gives money away", err=True)
        sys.exit(2)
    last = ["no answer"]
    try:
        asyncio.run(asyncio.wait_for(_until_funded(settings, last), timeout_s))
    except TimeoutError:
        click.echo(f"not funded within {timeout_s:g} s: {scrub(last[0])}", err=True)
        sys.exit(1)
    click.echo(f"the wallet {settings.wallet.address} is funded")


async def _until_funded(settings: EngineSettings, last: list[str]) -> None:
    """Ask, look and wait; what went wrong last stands in `last`."""
    asked: set[str] = set()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        faucet = _Faucet(session, settings)
        while True:
            try:
                if await faucet.give(asked):
                    return
            except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
                text = str(error) or type(error).__name__
                if text != last[0]:
                    click.echo(scrub(f"waiting for localnet: {text}"), err=True)
                last[0] = text
            await asyncio.sleep(PAUSE_S)


class _Faucet:
    """Localnet's first node and its gateway, asked for one wallet."""

    def __init__(self, session: aiohttp.ClientSession, settings: EngineSettings) -> None:
        self._session = session
        self._url = settings.rpc.endpoints[0].url.get_secret_value()
        self._gateway = settings.execution.swap.base_url.rstrip("/")
        self._wallet = settings.wallet.address
        wanted = round((settings.risk.capital or 0) * CAPITAL_FACTOR)
        in_sol = settings.market.quote == "SOL"
        self._lamports = max(LEAST_LAMPORTS, wanted if in_sol else 0)
        self._usdc = 0 if in_sol else max(LEAST_USDC, wanted)

    async def give(self, asked: set[str]) -> bool:
        """Ask for what is missing and was not asked for yet; return whether all is there, and final."""
        if not await self._sol("processed") and "SOL" not in asked:
            await self._call("requestAirdrop", self._wallet, self._lamports)
            asked.add("SOL")
        if self._usdc and await self._usdc_held("processed") is None and "USDC" not in asked:
            body = {"address": self._wallet, "mint": USDC_MINT, "amount": self._usdc}
            async with self._session.post(f"{self._gateway}/localnet/fund", json=body) as answer:
                if answer.status >= BAD_STATUS:
                    raise RuntimeError(f"{answer.status}: {(await answer.text())[:200]}")
            asked.add("USDC")
        there = bool(await self._sol("finalized"))
        return there and (not self._usdc or await self._usdc_held("finalized") is not None)

    async def _sol(self, commitment: str) -> int:
        """Return what the wallet holds, in lamports."""
        return int((await self._call("getBalance", self._wallet, {"commitment": commitment}))["value"])

    async def _usdc_held(self, commitment: str) -> int | None:
        """Return what the wallet holds in base units of USDC; None if it never held any."""
        options = {"encoding": "jsonParsed", "commitment": commitment}
        found = (await self._call("getTokenAccountsByOwner", self._wallet, {"mint": USDC_MINT}, options))["value"]
        amounts = [int(one["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"]) for one in found]
        return sum(amounts) if amounts else None

    async def _call(self, method: str, *params: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": list(params)}
        async with self._session.post(self._url, json=body) as answer:
            data = await answer.json(content_type=None)
        if "error" in data:
            raise RuntimeError(f"{method}: {data['error'].get('message')}")
        return data["result"]
