"""Play money for a wallet on localnet: SOL by the node's own `requestAirdrop`, tokens by localnet's faucet."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from tradingbot_operator.errors import Failed

LAMPORTS_PER_SOL = 10**9
USDC_MINT = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
BAD_STATUS = 400
_ids = itertools.count(1)


async def balance(session: aiohttp.ClientSession, url: str, address: str) -> int:
    """Return the finalized balance in lamports: the engine believes no other."""
    answer = await _call(session, url, "getBalance", [address, {"commitment": "finalized"}])
    return int(answer["value"])


async def token_balance(session: aiohttp.ClientSession, url: str, address: str, mint: str) -> int:
    """Return what the wallet finally holds of a token, in base units."""
    options = {"encoding": "jsonParsed", "commitment": "finalized"}
    answer = await _call(session, url, "getTokenAccountsByOwner", [address, {"mint": mint}, options])
    holdings = [entry["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"] for entry in answer["value"]]
    return sum(map(int, holdings))


async def fund(session: aiohttp.ClientSession, url: str, address: str, *, lamports: int, patience_s: float) -> None:
    """
    Ask for play money and wait until it has arrived.

    Raises:
        Failed: It did not arrive in time; the text says what the node answered.
    """
    await _until_it_arrived(
        lambda: _call(session, url, "requestAirdrop", [address, lamports]),
        lambda: balance(session, url, address),
        address,
        patience_s,
    )


async def fund_token(
    session: aiohttp.ClientSession,
    url: str,
    gateway: str,
    address: str,
    *,
    mint: str,
    base_units: int,
    patience_s: float,
) -> None:
    """
    Ask for play money in a token and wait until it has arrived.

    Args:
        url: A node.
        gateway: Localnet's gateway, where its faucet for tokens is.

    Raises:
        Failed: It did not arrive in time; the text says what localnet answered.
    """
    body = {"address": address, "mint": mint, "amount": base_units}

    async def ask() -> None:
        target = f"{gateway.rstrip('/')}/localnet/fund"
        async with session.post(target, json=body, timeout=aiohttp.ClientTimeout(total=5)) as answer:
            if answer.status >= BAD_STATUS:
                raise RuntimeError(f"{answer.status}: {(await answer.text())[:200]}")

    await _until_it_arrived(ask, lambda: token_balance(session, url, address, mint), address, patience_s)


async def _until_it_arrived(
    ask: Callable[[], Awaitable[Any]], held: Callable[[], Awaitable[int]], address: str, patience_s: float
) -> None:
    deadline = time.monotonic() + patience_s
    last = "no answer"
    asked = False
    while time.monotonic() < deadline:
        try:
            if not asked:
                await ask()
                asked = True
            if await held() > 0:
                return
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            last = str(error) or type(error).__name__
        await asyncio.sleep(0.1)
    raise Failed(f"localnet's faucet did not fund the wallet {address}: {last}")


async def _call(session: aiohttp.ClientSession, url: str, method: str, params: list[Any]) -> Any:
    body = {"jsonrpc": "2.0", "id": next(_ids), "method": method, "params": params}
    async with session.post(url, json=body, timeout=aiohttp.ClientTimeout(total=5)) as answer:
        data = await answer.json(content_type=None)
    if "error" in data:
        raise RuntimeError(f"{method}: {data['error'].get('message')}")
    return data["result"]
