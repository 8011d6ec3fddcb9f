"""Play money for a wallet on localnet, by the node's own `requestAirdrop`."""

import asyncio
import itertools
import time
from typing import Any

import aiohttp

from tradingbot_operator.errors import Failed

LAMPORTS_PER_SOL = 10**9
_ids = itertools.count(1)


async def balance(session: aiohttp.ClientSession, url: str, address: str) -> int:
    """Return the finalized balance in lamports: the engine believes no other."""
    answer = await _call(session, url, "getBalance", [address, {"commitment": "finalized"}])
    return int(answer["value"])


async def fund(session: aiohttp.ClientSession, url: str, address: str, *, lamports: int, patience_s: float) -> None:
    """
    Ask for play money and wait until it has arrived.

    Raises:
        Failed: It did not arrive in time; the text says what the node answered.
    """
    deadline = time.monotonic() + patience_s
    last = "no answer"
    asked = False
    while time.monotonic() < deadline:
        try:
            if not asked:
                await _call(session, url, "requestAirdrop", [address, lamports])
                asked = True
            if await balance(session, url, address) > 0:
                return
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError, ValueError, KeyError) as error:
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
