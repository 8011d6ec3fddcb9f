"""localnet as a process of its own, for tests and benchmarks that must not share its interpreter lock."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from solders.keypair import Keypair


@asynccontextmanager
async def localnet_process(*options: str) -> AsyncIterator[dict[str, Any]]:
    """Start `tradingbot-engine localnet` with `options`; yield its line plus `info` (market clock); stop it by its pid."""
    command = [
        sys.executable,
        "-m",
        "tradingbot_engine",
        "localnet",
        "--output",
        "json",
        "--parent-pid",
        str(os.getpid()),
    ]
    process = await asyncio.create_subprocess_exec(*command, *options, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = json.loads(await asyncio.wait_for(process.stdout.readline(), 120))
        async with aiohttp.ClientSession() as session, session.get(f"{line['swap']}/localnet/info") as answer:
            yield {**line, "info": await answer.json()}
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def engine_settings(line: dict[str, Any], *, folder: Path, wallet: Keypair, tokens: dict[str, str]) -> dict[str, Any]:
    """Return settings of a live engine on that localnet: SQLite in `folder`, the wallet's key beside it."""
    key_file = folder / "wallet.json"
    key_file.write_text(json.dumps(list(bytes(wallet))))
    return {
        "bot": {"name": "bench", "mode": "Live", "cluster": "localnet"},
        "wallet": {"address": str(wallet.pubkey()), "key_file": str(key_file)},
        "rpc": {
            "endpoints": [
                {
                    "name": f"n{i}",
                    "url": n["http"],
                    "websocket_url": n["websocket"],
                    "requests_per_second": 10_000,
                    "concurrency": 200,
                }
                for i, n in enumerate(line["nodes"])
            ]
        },
        "market": {
            "tokens": [{"mint": mint, "symbol": symbol} for mint, symbol in tokens.items()],
            "event_time": line["info"]["market_clock"],
            "history_url": line["swap"],
            "price_url": line["swap"],
        },
        "strategies": [
            {"name": "momentum", "type": "momentum_5m", "allocation_percent": 50},
            {"name": "reversion", "type": "mean_revert_1h", "allocation_percent": 50},
        ],
        "execution": {"swap": {"base_url": line["swap"]}},
        "risk": {"max_strategy_percent": 100, "max_position_percent": 0.2},
        "ledger": {"sqlite_path": str(folder / "ledger.db")},
        "admin": {"port": 0, "port_file": str(folder / "port"), "token_file": str(folder / "token")},
        "logging": {"level": "error"},
    }


async def fund(line: dict[str, Any], wallet: Keypair, *, sol: int) -> None:
    """Give the wallet play money and wait until it is final."""
    url, address = line["nodes"][0]["http"], str(wallet.pubkey())

    async def ask(session: aiohttp.ClientSession, method: str, *params: Any) -> Any:
        async with session.post(
            url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        ) as answer:
            return (await answer.json())["result"]

    async with aiohttp.ClientSession() as session:
        await ask(session, "requestAirdrop", address, sol * 10**9)
        for _ in range(600):
            if (await ask(session, "getBalance", address, {"commitment": "finalized"}))["value"]:
                return
            await asyncio.sleep(0.05)
    raise TimeoutError("the airdrop did not become final within 30 s")
