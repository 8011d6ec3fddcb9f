"""Swaps end to end: quoted and built over HTTP, signed here, sent to a node, read back from the chain."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.faults import parse_fault
from tradingbot_engine.localnet.market import Market
from tradingbot_engine.localnet.market.accounts import associated
from tradingbot_engine.localnet.market.world import reserves
from tradingbot_engine.market.layouts import token_amount

SOL = "So11111111111111111111111111111111111111112"
USDC = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
BONK = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
WIF = "EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm"
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
PACKET = 1232
WALLET_SOL = 100 * 10**9


@dataclass
class Stage:
    """A cluster in virtual time with a market that stands still, a wallet with SOL, and ways to ask."""

    cluster: Cluster
    market: Market
    session: aiohttp.ClientSession
    user: Keypair

    @property
    def me(self) -> str:
        return str(self.user.pubkey())

    async def get(self, path: str, status: int = 200, **query: object) -> Any:
        params = {name: str(value) for name, value in query.items()}
        async with self.session.get(self.cluster.gateway_url + path, params=params) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def post(self, path: str, body: dict[str, Any], status: int = 200) -> Any:
        async with self.session.post(self.cluster.gateway_url + path, json=body) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def rpc(self, method: str, *params: object) -> Any:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with self.session.post(self.cluster.nodes[0].http_url, json=request) as answer:
            body = await answer.json()
        assert "error" not in body, body
        return body["result"]

    def fault(self, **fault: Any) -> None:
        self.cluster.faults.add(parse_fault({"target": "swap", **fault}))

    async def quote(self, mint_in: str, mint_out: str, amount: int, **more: object) -> dict[str, Any]:
        query = {"inputMint": mint_in, "outputMint": mint_out, "amount": amount, "slippageBps": 50, **more}
        quoted: dict[str, Any] = await self.get("/swap/v1/quote", **query)
        return quoted

    async def land(self, transaction: VersionedTransaction) -> dict[str, Any]:
        raw = bytes(transaction)
        assert len(raw) <= PACKET
        options = {"encoding": "base64", "preflightCommitment": "confirmed", "skipPreflight": True}
        signature = await self.rpc("sendTransaction", base64.b64encode(raw).decode(), options)
        self.cluster.bank.tick(2)
        wanted = {"encoding": "json", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
        landed: dict[str, Any] = await self.rpc("getTransaction", signature, wanted)
        return landed

    def signed(self, encoded: str) -> VersionedTransaction:
        unsigned = VersionedTransaction.from_bytes(base64.b64decode(encoded))
        return VersionedTransaction(unsigned.message, [self.user])

    async def swap(self, quoted: dict[str, Any], **more: object) -> dict[str, Any]:
        body = {"quoteResponse": quoted, "userPublicKey": self.me, "dynamicComputeUnitLimit": True, **more}
        built = await self.post("/swap/v1/swap", body)
        landed = await self.land(self.signed(built["swapTransaction"]))
        landed["prioritizationFeeLamports"] = built["prioritizationFeeLamports"]
        return landed

    def token_delta(self, landed: dict[str, Any], mint: str) -> int:
        def total(balances: list[dict[str, Any]]) -> int:
            mine = [one for one in balances if one["owner"] == self.me and one["mint"] == mint]
            return sum(int(one["uiTokenAmount"]["amount"]) for one in mine)

        return total(landed["meta"]["postTokenBalances"]) - total(landed["meta"]["preTokenBalances"])

    def held(self, mint: str) -> int:
        account = self.cluster.bank.account(associated(self.user.pubkey(), Pubkey.from_string(mint)))
        return token_amount(bytes(account.data)) if account is not None else 0


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    cluster = Cluster(nodes=1, slot_ms=0, speed=750)  # few slots make its history: born in no time
    market = Market(cluster.bank, seed=3)
    market.trading = False
    market.open()
    market.mount(cluster.gateway)
    async with cluster, aiohttp.ClientSession() as session:
        user = Keypair()
        cluster.bank.airdrop(user.pubkey(), WALLET_SOL)
        cluster.bank.tick()
        yield Stage(cluster, market, session, user)
    market.close()


async def test_swap_lands_with_exactly_what_was_quoted_in_both_directions(stage: Stage) -> None:
    """SOL → token → SOL: amounts to the unit, and every lamport accounted for: swap, base fee, priority fee, rent."""
    for token in (BONK, WIF, USDC):
        start = stage.held(token)
        buy = await stage.quote(SOL, token, 10**9)
        bought = await stage.swap(buy)
        assert bought["meta"]["err"] is None
        assert stage.token_delta(bought, token) == int(buy["outAmount"]) == stage.held(token) - start
        rent = stage.cluster.bank.rent(165) if start == 0 else 0
        paid = bought["meta"]["preBalances"][0] - bought["meta"]["postBalances"][0]
        assert paid == 10**9 + 5000 + bought["prioritizationFeeLamports"] + rent
        assert bought["meta"]["fee"] == 5000 + bought["prioritizationFeeLamports"]

        sell = await stage.quote(token, SOL, int(buy["outAmount"]))
        sold = await stage.swap(sell, prioritizationFeeLamports=7_000)
        assert sold["meta"]["err"] is None
        assert stage.token_delta(sold, token) == -int(buy["outAmount"])
        got = sold["meta"]["postBalances"][0] - sold["meta"]["preBalances"][0]
        assert got == int(sell["outAmount"]) - sold["meta"]["fee"]
        assert sold["meta"]["fee"] == 5000 + 7_000
        assert stage.held(SOL) == 0


async def test_swap_with_usdc_as_quote_currency(stage: Stage) -> None:
    """The same with USDC in between pays and receives dollars, and touches no wrapped SOL."""
    await stage.swap(await stage.quote(SOL, USDC, 10 * 10**9))
    dollars = stage.held(USDC)
    buy = await stage.quote(USDC, WIF, 500 * 10**6, onlyDirectRoutes="true")
    bought = await stage.swap(buy)
    assert stage.held(WIF) == int(buy["outAmount"])
    sell = await stage.quote(WIF, USDC, stage.held(WIF), onlyDirectRoutes="true")
    await stage.swap(sell)
    assert stage.held(USDC) == dollars - 500 * 10**6 + int(sell["outAmount"])
    assert stage.token_delta(bought, SOL) == 0


async def test_faucet_gives_tokens_by_a_transaction_that_the_wallet_did_not_sign(stage: Stage) -> None:
    """Minted to the unit, again and again, and spendable; localnet's own key signs and pays."""
    lamports = stage.cluster.bank.account(stage.user.pubkey())
    body = {"address": stage.me, "mint": USDC, "amount": 1_000_000_007}
    signature = (await stage.post("/localnet/fund", body, status=201))["signature"]
    assert stage.held(USDC) == 1_000_000_007
    assert stage.cluster.bank.account(stage.user.pubkey()) == lamports
    stage.cluster.bank.tick(2)
    await stage.post("/localnet/fund", {**body, "amount": "1"}, status=201)
    assert stage.held(USDC) == 1_000_000_008
    landed = await stage.rpc(
        "getTransaction", signature, {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    )
    assert landed["transaction"]["message"]["accountKeys"][0] == str(stage.cluster.bank.faucet.pubkey())
    await stage.swap(await stage.quote(USDC, WIF, 500 * 10**6, onlyDirectRoutes="true"))
    assert stage.held(USDC) == 500_000_008


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"mint": SOL}, 400, "requestAirdrop"),
        ({"mint": str(MEMO)}, 400, "--token"),
        ({"amount": 0}, 400, "amount"),
        ({"amount": True}, 400, "amount"),
        ({"amount": 2**64 - 1}, 409, "nothing was minted"),
        ({"address": "me"}, 400, "address"),
    ],
)
async def test_faucet_refuses_what_it_cannot_give(stage: Stage, change: dict[str, Any], status: int, told: str) -> None:
    """One sentence says why, and nothing changed."""
    body = {"address": stage.me, "mint": USDC, "amount": 5, **change}
    assert told in (await stage.post("/localnet/fund", body, status=status))["error"]
    assert stage.held(USDC) == 0


@pytest.mark.parametrize(
    ("mint_in", "mint_out", "amount"), [(SOL, BONK, 5 * 10**11), (SOL, WIF, 10**6), (BONK, WIF, 10**6)]
)
async def test_exact_out_gives_the_amount_for_no_more_than_the_threshold(
    stage: Stage, mint_in: str, mint_out: str, amount: int
) -> None:
    """Within the slippage the price may move and the amount still comes; what was not needed comes back."""
    await stage.swap(await stage.quote(SOL, BONK, 10 * 10**9))
    quoted = await stage.quote(mint_in, mint_out, amount, swapMode="ExactOut", slippageBps=200)
    held = stage.held(mint_in), stage.held(mint_out)
    landed = await stage.swap(quoted)
    assert landed["meta"]["err"] is None
    assert amount <= stage.held(mint_out) - held[1] <= amount + 20_000  # what a lamport or two buy
    if mint_in != SOL:
        assert held[0] - stage.held(mint_in) == int(quoted["inAmount"])
    # somebody buys before us: the price is less good, within the slippage
    mover = await stage.quote(mint_in, mint_out, 10**10 if mint_in == SOL else 3 * 10**12)
    quoted = await stage.quote(mint_in, mint_out, amount, swapMode="ExactOut", slippageBps=2_000)
    assert (await stage.swap(mover))["meta"]["err"] is None
    held = stage.held(mint_in), stage.held(mint_out)
    assert (await stage.swap(quoted))["meta"]["err"] is None
    assert amount <= stage.held(mint_out) - held[1] <= amount + 20_000  # what a lamport or two buy
    if mint_in != SOL:
        assert int(quoted["inAmount"]) < held[0] - stage.held(mint_in) <= int(quoted["otherAmountThreshold"])


async def test_exact_out_beyond_the_threshold_fails_with_6001(stage: Stage) -> None:
    """The most that may go in is the client's limit."""
    quoted = await stage.quote(SOL, BONK, 5 * 10**11, swapMode="ExactOut", slippageBps=1, onlyDirectRoutes="true")
    moved = await stage.swap(await stage.quote(SOL, BONK, 10**10, onlyDirectRoutes="true"))
    assert moved["meta"]["err"] is None
    held = stage.held(BONK)
    landed = await stage.swap(quoted)
    assert landed["meta"]["err"]["InstructionError"][1] == {"Custom": 6001}
    assert stage.held(BONK) == held


async def test_tokens_without_a_common_pool_go_over_two_hops(stage: Stage) -> None:
    """WIF → BONK finds SOL or USDC between, in one transaction that leaves nothing of it behind."""
    await stage.swap(await stage.quote(SOL, WIF, 5 * 10**9))
    quoted = await stage.quote(WIF, BONK, stage.held(WIF))
    assert len(quoted["routePlan"]) == 2
    first, second = (step["swapInfo"] for step in quoted["routePlan"])
    assert first["outputMint"] == second["inputMint"]
    assert first["outAmount"] == second["inAmount"]
    landed = await stage.swap(quoted)
    assert landed["meta"]["err"] is None
    assert (stage.held(WIF), stage.held(BONK), stage.held(SOL)) == (0, int(quoted["outAmount"]), 0)


async def test_price_that_moved_beyond_the_slippage_fails_with_6001_and_costs_the_fee(stage: Stage) -> None:
    """The limit is on chain: a quote that went stale takes nothing but the fee."""
    quoted = await stage.quote(SOL, BONK, 10**9, slippageBps=10)
    other = await stage.quote(SOL, BONK, 20 * 10**9)
    await stage.swap(other)
    before = stage.held(BONK)
    landed = await stage.swap(quoted)
    assert landed["meta"]["err"]["InstructionError"][1] == {"Custom": 6001}
    assert stage.held(BONK) == before
    assert landed["meta"]["preBalances"][0] - landed["meta"]["postBalances"][0] == landed["meta"]["fee"]


async def test_swap_instructions_and_the_chains_lookup_table_fit_a_packet_with_a_mark(stage: Stage) -> None:
    """What an engine does: instructions, a memo, the lookup table as the chain has it, its own blockhash."""
    quoted = await stage.quote(SOL, WIF, 10**9)
    body = {"quoteResponse": quoted, "userPublicKey": stage.me, "dynamicComputeUnitLimit": True}
    parts = await stage.post("/swap/v1/swap-instructions", body)

    def decoded(one: dict[str, Any]) -> Instruction:
        metas = [AccountMeta(Pubkey.from_string(a["pubkey"]), a["isSigner"], a["isWritable"]) for a in one["accounts"]]
        return Instruction(Pubkey.from_string(one["programId"]), base64.b64decode(one["data"]), metas)

    memo = Instruction(MEMO, b"tb1:" + b"0123456789abcdef" * 2, [AccountMeta(stage.user.pubkey(), True, False)])
    groups = parts["computeBudgetInstructions"] + parts["setupInstructions"] + parts["otherInstructions"]
    ixs = [decoded(one) for one in groups] + [
        memo,
        decoded(parts["swapInstruction"]),
        decoded(parts["cleanupInstruction"]),
    ]
    tables = []
    for address in parts["addressLookupTableAddresses"]:
        found = await stage.rpc("getAccountInfo", address, {"encoding": "base64"})
        data = base64.b64decode(found["value"]["data"][0])
        assert found["value"]["owner"] == "AddressLookupTab1e1111111111111111111111111"
        addresses = [Pubkey(data[at : at + 32]) for at in range(56, len(data), 32)]
        tables.append(AddressLookupTableAccount(Pubkey.from_string(address), addresses))
    blockhash = (await stage.rpc("getLatestBlockhash", {"commitment": "confirmed"}))["value"]["blockhash"]
    message = MessageV0.try_compile(stage.user.pubkey(), ixs, tables, Hash.from_string(blockhash))
    landed = await stage.land(VersionedTransaction(message, [stage.user]))
    assert landed["meta"]["err"] is None
    assert stage.held(WIF) == int(quoted["outAmount"])
    assert any("tb1:" in line for line in landed["meta"]["logMessages"])


async def test_wrapped_sol_stays_wrapped_when_asked(stage: Stage) -> None:
    """wrapAndUnwrapSol false: the proceeds stay in the token account, nothing is closed."""
    buy = await stage.quote(SOL, WIF, 10**9)
    await stage.swap(buy)
    sell = await stage.quote(WIF, SOL, stage.held(WIF))
    await stage.swap(sell, wrapAndUnwrapSol=False)
    assert stage.held(SOL) == int(sell["outAmount"])


async def test_order_and_execute(stage: Stage) -> None:
    """v2: the order's transaction comes back signed, is landed for us, and its sums are the chain's."""
    query = {"inputMint": SOL, "outputMint": USDC, "amount": 2 * 10**9, "taker": stage.me}
    order = await stage.get("/swap/v2/order", **query)
    body = {
        "signedTransaction": base64.b64encode(bytes(stage.signed(order["transaction"]))).decode(),
        "requestId": order["requestId"],
    }
    waiting = asyncio.create_task(stage.post("/swap/v2/execute", body))
    while not waiting.done():
        await asyncio.sleep(0.02)
        stage.cluster.bank.tick()
    done = await waiting
    assert (done["status"], done["code"]) == ("Success", 0)
    assert (done["totalInputAmount"], done["totalOutputAmount"]) == (str(2 * 10**9), order["outAmount"])
    assert stage.held(USDC) == int(order["outAmount"])
    assert (await stage.post("/swap/v2/execute", {**body, "requestId": "other"}, status=400))["error"]
    poor = await stage.get("/swap/v2/order", **{**query, "amount": 10**15})
    assert (poor["transaction"], poor["errorCode"]) == ("", 1)
    assert (await stage.get("/swap/v2/order", **{**query, "taker": str(Keypair().pubkey())}))["errorMessage"]
    without = await stage.get("/swap/v2/order", inputMint=SOL, outputMint=USDC, amount=10**9)
    assert without["transaction"] is None


async def test_build_gives_all_that_a_client_needs_without_a_node(stage: Stage) -> None:
    """v2 build: instructions, the tables' addresses, and a blockhash that is still good."""
    built = await stage.get("/swap/v2/build", inputMint=SOL, outputMint=BONK, amount=10**9, taker=stage.me)
    metadata = built["blockhashWithMetadata"]
    assert await stage.rpc("isBlockhashValid", str(Hash(bytes(metadata["blockhash"]))), {"commitment": "confirmed"})
    latest = await stage.rpc("getLatestBlockhash", {"commitment": "confirmed"})
    assert metadata["lastValidBlockHeight"] == latest["value"]["lastValidBlockHeight"]
    tables = built["addressesByLookupTableAddress"]
    assert {account["pubkey"] for account in built["swapInstruction"]["accounts"]} & set(next(iter(tables.values())))


async def test_stale_quotes_and_other_faults_on_demand(stage: Stage) -> None:
    """A fault of the swap API is one object: old reserves, an error status, a delay; nothing is left when it goes."""
    old = await stage.quote(SOL, BONK, 10**9)
    await stage.swap(old)
    stage.cluster.bank.tick(3)
    stage.fault(kind="stale", slots=5)
    stale = await stage.quote(SOL, BONK, 10**9)
    assert stale["outAmount"] == old["outAmount"]
    assert stale["contextSlot"] == stage.cluster.bank.slot - 5
    for status in (429, 500, 503):
        stage.cluster.faults.clear()
        stage.fault(kind="http_error", status=status, paths=["/swap"])
        assert (await stage.get("/swap/v1/quote", status=status))["error"]
        assert await stage.get("/price/v3", ids=SOL)
    stage.cluster.faults.clear()
    fresh = await stage.quote(SOL, BONK, 10**9)
    assert int(fresh["outAmount"]) < int(old["outAmount"])


async def test_swaps_land_while_the_traders_trade() -> None:
    """In wall time, with everybody at work: the fill is within the slippage of the quote."""
    cluster = Cluster(nodes=1, slot_ms=50, speed=10)
    market = Market(cluster.bank, seed=3, scenario="Viral", transactions_per_slot=6)
    market.open()
    market.mount(cluster.gateway)
    user = Keypair()
    async with cluster, aiohttp.ClientSession() as session:
        stage = Stage(cluster, market, session, user)
        cluster.bank.airdrop(user.pubkey(), WALLET_SOL)
        quoted = await stage.quote(SOL, BONK, 10**9, slippageBps=300)
        built = await stage.post("/swap/v1/swap", {"quoteResponse": quoted, "userPublicKey": stage.me})
        raw = base64.b64encode(bytes(stage.signed(built["swapTransaction"]))).decode()
        signature = await stage.rpc("sendTransaction", raw, {"encoding": "base64", "preflightCommitment": "confirmed"})
        for _ in range(200):
            await asyncio.sleep(0.05)
            (status,) = (await stage.rpc("getSignatureStatuses", [signature]))["value"]
            if status and status["confirmationStatus"] in ("confirmed", "finalized"):
                break
        assert status["err"] is None
        assert stage.held(BONK) >= int(quoted["otherAmountThreshold"])
        assert market.failed_trades == 0
    market.close()


async def test_world_and_history_come_back_from_the_state_directory(tmp_path: Path) -> None:
    """A restarted localnet has its pools where they were, their reserves, and the bars that were final."""

    async def run(slots: int, seed: int) -> tuple[Market, list[Any], tuple[int, int], int]:
        cluster = Cluster(nodes=1, slot_ms=0, speed=60, state_dir=tmp_path)
        # another seed and other tokens than at birth: the born world wins
        market = Market(cluster.bank, seed=seed, scenario="Viral", state_dir=tmp_path)
        market.open()
        async with cluster:
            cluster.bank.tick(slots)
            pool = market.world.pools[1]
            bars = market.histories[pool.address].bars()
            final = reserves(cluster.bank, pool, cluster.bank.finalized_slot)
            final_ms = cluster.bank.clock.at_ms(cluster.bank.finalized_slot)
            market.close()
        return market, bars, final, final_ms

    first, before, final, final_ms = await run(100, seed=1)
    second, after, _, _ = await run(1, seed=2)
    assert second.world == first.world
    assert second.origin_ms == first.origin_ms
    known = {bar.start_ms: bar for bar in after}
    settled = [bar for bar in before if bar.start_ms < final_ms - 120_000 and bar.start_ms in known]
    assert len(settled) > 1400
    assert all(known[bar.start_ms] == bar for bar in settled)
    starts = [bar.start_ms for bar in after]
    assert starts == list(range(starts[0], starts[-1] + 1, 60_000))
    assert abs(after[-1].close / (final[1] / final[0] * 10 ** (5 - 9)) - 1) < 0.05
