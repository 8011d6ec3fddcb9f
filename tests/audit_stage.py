"""A real localnet with pools that stand still, wallets that trade on it by hand, and ledgers written row by row."""

from __future__ import annotations

import base64
import secrets
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import (
    CreateAccountWithSeedParams,
    TransferParams,
    create_account_with_seed,
    transfer,
)
from solders.transaction import VersionedTransaction
from sqlalchemy import create_engine

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.execution.wallet_change import read_change
from tradingbot_engine.ledger.schema import metadata
from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.market.market import Market
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings

BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
SYSTEM = Pubkey.default()


def new_id() -> str:
    return secrets.token_hex(16)


def memo(intent_id: str) -> Instruction:
    return Instruction(Pubkey.from_string(MEMO), f"tb1:{intent_id}".encode(), [])


class Chain:
    """Virtual time: nothing happens but by `settle`."""

    def __init__(self, cluster: Cluster, http: aiohttp.ClientSession) -> None:
        self.cluster, self._http = cluster, http
        self.sent: dict[str, int] = {}

    @property
    def url(self) -> str:
        return self.cluster.nodes[0].http_url

    def rpc(self, *nodes: int) -> RpcPool:
        chosen = nodes or (0,)
        endpoints = [EndpointSettings(name=f"node-{i}", url=SecretStr(self.cluster.nodes[i].http_url)) for i in chosen]
        return RpcPool(endpoints, request_timeout_s=5, max_in_flight=32, clock=SystemClock())

    def settle(self, slots: int = 7) -> None:
        self.cluster.bank.tick(slots)

    async def wallet(self, sol: float = 10) -> Keypair:
        key = Keypair()
        self.cluster.bank.airdrop(key.pubkey(), int(sol * 10**9))
        self.settle()
        return key

    async def call(self, method: str, *params: Any) -> Any:
        async with self._http.post(
            self.url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        ) as answer:
            body = await answer.json()
        assert "error" not in body, body
        return body["result"]

    async def send(self, key: Keypair, instructions: Sequence[Instruction], *, others: Sequence[Keypair] = ()) -> str:
        """Sign, send without preflight, and wait until it is finalized."""
        blockhash, _ = self.cluster.bank.latest_blockhash("confirmed")
        slot = self.cluster.bank.slot
        message = MessageV0.try_compile(key.pubkey(), list(instructions), [], blockhash)
        transaction = VersionedTransaction(message, [key, *others])
        wire = base64.b64encode(bytes(transaction)).decode()
        signature = await self.call("sendTransaction", wire, {"encoding": "base64", "skipPreflight": True})
        self.sent[signature] = slot
        self.settle()
        return signature

    async def swap_instructions(
        self, key: Keypair, *, buy: bool = True, amount: int = 50_000_000, failing: bool = False
    ) -> list[Instruction]:
        """Return what the swap API wants executed; `failing` asks for more than the pool can give."""
        mints = (SOL_MINT, BONK) if buy else (BONK, SOL_MINT)
        params = {"inputMint": mints[0], "outputMint": mints[1], "amount": str(amount), "slippageBps": "100"}
        url = self.cluster.gateway_url
        async with self._http.get(f"{url}/swap/v1/quote", params=params) as answer:
            quote = await answer.json()
        async with self._http.post(
            f"{url}/swap/v1/swap-instructions",
            json={"quoteResponse": quote, "userPublicKey": str(key.pubkey()), "wrapAndUnwrapSol": True},
        ) as answer:
            body = await answer.json()
        assert "swapInstruction" in body, body
        swap = _instruction(body["swapInstruction"])
        if failing:
            swap = Instruction(swap.program_id, bytes(swap.data)[:9] + b"\xff" * 7 + b"\x0f", swap.accounts)
        groups = [body["computeBudgetInstructions"], body["setupInstructions"]]
        before = [_instruction(raw) for group in groups for raw in group]
        after = [_instruction(body["cleanupInstruction"])] if body["cleanupInstruction"] else []
        return [*before, swap, *after]

    async def trade(self, key: Keypair, intent_id: str, **swap: Any) -> str:
        """Execute a marked swap; return its signature once it is finalized."""
        return await self.send(key, [memo(intent_id), *await self.swap_instructions(key, **swap)])

    def guard(self, key: Keypair, intent_id: str) -> Instruction:
        return create_account_with_seed(
            CreateAccountWithSeedParams(
                from_pubkey=key.pubkey(),
                to_pubkey=Pubkey.create_with_seed(key.pubkey(), intent_id, SYSTEM),
                base=key.pubkey(),
                seed=intent_id,
                lamports=self.cluster.bank.rent(0),
                space=0,
                owner=SYSTEM,
            )
        )

    def payment(self, key: Keypair, to: Pubkey, lamports: int = 1_000_000) -> Instruction:
        return transfer(TransferParams(from_pubkey=key.pubkey(), to_pubkey=to, lamports=lamports))


def _instruction(raw: dict[str, Any]) -> Instruction:
    accounts = [AccountMeta(Pubkey.from_string(a["pubkey"]), a["isSigner"], a["isWritable"]) for a in raw["accounts"]]
    return Instruction(Pubkey.from_string(raw["programId"]), base64.b64decode(raw["data"]), accounts)


@asynccontextmanager
async def staged(nodes: int = 2) -> AsyncIterator[Chain]:
    cluster = Cluster(nodes=nodes, slot_ms=0, seed=3, finalize_depth=4)
    market = Market(cluster.bank, seed=3)
    market.open()
    market.trading = False
    market.mount(cluster.gateway)
    async with cluster, aiohttp.ClientSession() as http:
        yield Chain(cluster, http)
    market.close()


class LedgerFile:
    """A ledger with the real schema, written by hand: it holds exactly what a test says."""

    def __init__(self, path: Path, chain: Chain, wallet: Keypair, *, paper: bool = False) -> None:
        self.path, self._chain, self.wallet = path, chain, str(wallet.pubkey())
        engine = create_engine(f"sqlite:///{path}")
        metadata.create_all(engine)
        engine.dispose()
        self._insert(
            "bots",
            bot_id=new_id(),
            name="first-bot",
            wallet=self.wallet,
            genesis_hash=chain.cluster.bank.genesis_hash,
            cluster_id="laptop",
            quote_mint=SOL_MINT,
            shards=1,
            paper=int(paper),
            capital=1,
            equity_start=1,
            equity=1,
            peak=1,
            day_start=1,
            day="2026-01-01",
            tier="NORMAL",
            tier_since_ms=0,
            tier_reason="",
            realized=0,
            marked_at_ms=0,
            fees_day="",
            fees_failed=0,
        )

    def execute(self, sql: str, *values: Any) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(sql, values)
        connection.close()

    def _insert(self, table: str, **row: Any) -> None:
        marks = ", ".join("?" * len(row))
        self.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def intent(self, intent_id: str, state: str, *, side: str = "BUY", attempt: int = 1) -> None:
        self._insert(
            "intents",
            id=intent_id,
            shard=0,
            epoch=1,
            strategy=intent_id[:8],
            mint=BONK,
            side=side,
            purpose="ENTRY" if side == "BUY" else "EXIT",
            priority=1,
            position_id=intent_id,
            amount_in=50_000_000,
            reserve_quote=0,
            reserve_lamports=0,
            max_slippage_bps=100,
            max_priority_fee_lamports=1,
            signal_at_ms=0,
            created_at_ms=0,
            price=1.0,
            signal_reason="",
            state=state,
            attempt=attempt,
            updated_at_ms=0,
        )

    def attempt(self, intent_id: str, signature: str, state: str, *, n: int = 1, **landed: Any) -> None:
        self._insert(
            "attempts",
            intent_id=intent_id,
            n=n,
            signature=signature,
            state=state,
            wire=b"",
            blockhash="",
            blockhash_slot=self._chain.sent.get(signature, self._chain.cluster.bank.slot),
            last_valid_block_height=1,
            epoch=1,
            signed_at_ms=0,
            quoted_out=0,
            **landed,
        )

    async def done(self, intent_id: str, signature: str, *, state: str = "DONE", finalized: bool = True) -> None:
        """Record a trade as the executor does: amounts by its own reading of the chain, which is not the audit's."""
        options = {"encoding": "json", "maxSupportedTransactionVersion": 0, "commitment": "finalized"}
        transaction = await self._chain.call("getTransaction", signature, options)
        change = read_change(transaction, wallet=self.wallet, intent_id=intent_id)
        side = "BUY" if change.of(BONK) >= 0 else "SELL"
        self.intent(intent_id, state, side=side)
        fee = change.base_fee + change.priority_fee
        self.attempt(
            intent_id,
            signature,
            state,
            landed_slot=change.slot if finalized else None,
            lamport_delta=change.lamports if finalized else None,
            fee_lamports=fee if finalized else None,
        )
        if not change.failed:
            self.fill(
                intent_id,
                signature,
                slot=change.slot,
                base_delta=change.of(BONK),
                quote_delta=change.of(SOL_MINT),
                lamport_delta=change.lamports,
                base_fee_lamports=change.base_fee,
                priority_fee_lamports=change.priority_fee,
                tip_lamports=change.tip,
                rent_lamports=change.rent,
                finalized=int(finalized),
            )

    def fill(self, intent_id: str, signature: str, *, paper: int = 0, **row: Any) -> None:
        defaults = dict.fromkeys(
            (
                "slot",
                "base_delta",
                "quote_delta",
                "lamport_delta",
                "base_fee_lamports",
                "priority_fee_lamports",
                "tip_lamports",
                "rent_lamports",
            ),
            0,
        )
        row = {**defaults, "finalized": 1, **row}
        self._insert(
            "fills",
            intent_id=intent_id,
            attempt=1,
            position_id=intent_id,
            signature=signature,
            block_time_ms=0,
            side="BUY",
            paper=paper,
            **row,
        )
