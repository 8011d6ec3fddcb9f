"""
What most bots do: send, wait a while, and sign anew if nothing is seen. The same storms must double its trades.

    python tests/chaos/naive.py --config engine.json --journal trades.txt

It uses the product's own quotes, signatures and sends, and its own idea of when a trade has failed. It even keeps its
unfinished trades in a file, as careful bots do; it only never asks for proof.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import secrets
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp
from chaos.faults import Act, Plan
from chaos.processes import TESTS, Process
from chaos.report import Report
from chaos.world import TRADED, World

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.intents import IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.signals import Priority, Purpose, Side
from tradingbot_engine.errors import EngineError
from tradingbot_engine.execution.live import LiveExecutor
from tradingbot_engine.execution.signer import load_signer
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EngineSettings, load_settings

PATIENCE_S = 1.5
WORKERS = 8
MARK = re.compile(r"tb1:([0-9a-f]{32})\b")


class NaiveBot:
    """Buys, and buys again when it hears nothing."""

    def __init__(self, executor: LiveExecutor, rpc: Rpc, journal: Path) -> None:
        self._executor, self._rpc, self._journal = executor, rpc, journal
        done, begun = set(), []
        for line in journal.read_text().splitlines() if journal.exists() else []:
            word, intent_id = line.split()
            done |= {intent_id} if word == "done" else set()
            begun += [intent_id] if word == "begun" else []
        self._left = [i for i in begun if i not in done]

    async def work(self, worker: int) -> None:
        """Trade for ever, unfinished trades of an earlier life first."""
        while True:
            intent_id = self._left.pop() if self._left else self._begin()
            with suppress(EngineError, OSError, KeyError, ValueError, AssertionError):
                await self._trade(intent_id, TRADED[worker % len(TRADED)])
            await asyncio.sleep(0.05)

    def _begin(self) -> str:
        intent_id = secrets.token_hex(16)
        self._note("begun", intent_id)
        return intent_id

    def _note(self, word: str, intent_id: str) -> None:
        with self._journal.open("a") as stream:
            stream.write(f"{word} {intent_id}\n")

    async def _trade(self, intent_id: str, mint: str) -> None:
        for _ in range(20):
            with suppress(EngineError):
                attempt = await self._executor.prepare(
                    record := _record(intent_id, mint), await self._executor.quote(record.intent), epoch=1, now_ms=0
                )
                with suppress(EngineError):
                    await self._executor.send(attempt, first=True)
                until = time.monotonic() + PATIENCE_S
                while time.monotonic() < until:
                    with suppress(EngineError):
                        answer = await self._rpc.get_signature_statuses([attempt.signature], search_history=False)
                        status = answer.result[0]
                        if status is not None and status.commitment != "processed":
                            return self._note("done", intent_id)
                    await asyncio.sleep(0.1)
            await asyncio.sleep(0.05)
        return None


def _record(intent_id: str, mint: str) -> IntentRecord:
    intent = OrderIntent(
        id=intent_id, strategy="naive", mint=mint, side=Side.BUY, purpose=Purpose.ENTRY, priority=Priority.NORMAL,
        position_id=intent_id, amount_in=20_000_000, reserve_quote=0, reserve_lamports=0, max_slippage_bps=500,
        max_priority_fee_lamports=10_000, signal_at_ms=0, created_at_ms=0, price=1.0, reason="Naive",
    )  # fmt: skip
    return IntentRecord(intent=intent, shard=0, epoch=1, state=IntentState.INTENT, attempt=0)


async def _trade_forever(settings: EngineSettings, journal: Path) -> None:
    clock = SystemClock()
    swap = SwapApi(settings.execution.swap, clock=clock)
    rpc = settings.rpc
    async with RpcPool(
        rpc.endpoints, request_timeout_s=rpc.request_timeout_s, max_in_flight=rpc.max_in_flight, clock=clock
    ) as pool:
        assert settings.wallet.key_file is not None
        signer = load_signer(settings.wallet.key_file, address=settings.wallet.address)
        executor = LiveExecutor(swap=swap, rpc=pool, signer=signer, settings=settings, clock=clock)
        bot = NaiveBot(executor, Rpc(pool), journal)
        await asyncio.gather(*(bot.work(n) for n in range(WORKERS)))


class NaiveStorm:
    """The same plan of faults against the naive bot; what landed twice is counted from the chain."""

    def __init__(self, world: World, plan: Plan, *, say: bool = False) -> None:
        self._world, self._plan, self._say = world, plan, say
        self.report = Report(seeds=[world.setup.seed])
        self._bot: Process | None = None
        self._heal: list[tuple[float, str]] = []
        self._journal = world.directory / "trades.txt"

    async def rage(self, *, trades: int, limit_s: float) -> None:
        begun = time.monotonic()
        act_due = begun + 2.0
        while time.monotonic() - begun < limit_s:
            if self._bot is None or not self._bot.running:
                self._bot = self._start()
            for due, fault_id in [h for h in self._heal if h[0] <= time.monotonic()]:
                self._heal.remove((due, fault_id))
                await self._world.unfault(fault_id)
            if time.monotonic() >= act_due:
                await self._perform(self._plan.next_act())
                act_due = time.monotonic() + self._plan.pause_s()
            if self._journal.exists() and self._journal.read_text().count("done ") >= trades:
                break
            await asyncio.sleep(0.1)
        self.report.seconds = time.monotonic() - begun

    def _start(self) -> Process:
        self.report.engines += 1
        command = [sys.executable, str(TESTS / "chaos" / "naive.py"), "--config", str(self._world.config)]
        return Process.start([*command, "--journal", str(self._journal)], log=self._world.directory / "naive.log")

    async def _perform(self, act: Act) -> None:
        kind = act.body.get("kind", act.kind) if act.kind == "node" else act.kind
        if act.kind in ("node", "blackout", "halt", "fork"):
            body = dict(act.body)
            if body["kind"] == "snapshot":
                tip = (await self._world.info())["slot"]
                body |= {"first_slot": max(0, tip - 900), "last_slot": max(0, tip - 310)}
            outcome = await self._world.fault(body)
            if outcome is not None and act.kind != "fork":
                self._heal.append((time.monotonic() + act.lasts_s, str(outcome["id"])))
            self.report.forks += act.kind == "fork" and outcome is not None
        elif act.kind == "localnet":
            await self._world.kill_localnet(away_s=act.lasts_s)
            self._heal.clear()
        elif self._bot is not None:
            await self._bot.kill()
            self.report.kills_at_random += 1
        self.report.acts[kind] += 1

    async def settle(self) -> None:
        """Let what is under way land, then count marks that the wallet landed more than once."""
        await self.end()
        await self._world.unfault()
        await asyncio.sleep(200 * self._world.setup.slot_ms / 1000)
        landed = await self._landed()
        self.report.trades = len(landed)
        self.report.attempts = sum(landed.values())
        doubled = sum(1 for count in landed.values() if count > 1)
        self.report.audit = {"doubled": doubled, "lost": 0, "phantom": 0}

    async def _landed(self) -> Counter[str]:
        counts: Counter[str] = Counter()
        before: str | None = None
        while True:
            options = {"limit": 1000, "commitment": "finalized"} | ({"before": before} if before else {})
            page = await self._world.rpc("getSignaturesForAddress", [str(self._world.wallet.pubkey()), options])
            for entry in page:
                mark = MARK.search(entry.get("memo") or "")
                if mark and entry["err"] is None:
                    counts[mark.group(1)] += 1
            if len(page) < 1000:
                return counts
            before = page[-1]["signature"]

    async def end(self) -> None:
        if self._bot is not None:
            await self._bot.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    args = parser.parse_args()
    with suppress(aiohttp.ClientError):
        asyncio.run(_trade_forever(load_settings(args.config), args.journal))


if __name__ == "__main__":
    main()
