"""What the screen asks of the chain, from a real localnet: supply, holders without pools, age."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from support.localnet_process import engine_settings, localnet_process

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.events import TokenFacts
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.market.event_time import EventTime
from tradingbot_engine.market.facts import REFRESH_S, FactsReader
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EngineSettings

MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"


@pytest.mark.timeout(60)
async def test_the_facts_of_a_token_are_read_from_the_chain(tmp_path) -> None:
    """The supply is the mint's; what pools hold counts for nobody; a token is asked again only after ten minutes."""
    async with localnet_process("--nodes", "1", "--slot-ms", "40", "--seed", "5") as line:
        raw = engine_settings(line, folder=tmp_path, wallet=Keypair(), tokens={MINT: "BONK"})
        settings = EngineSettings(**raw)
        clock = SystemClock()
        told: list[TokenFacts] = []
        async with RpcPool(settings.rpc.endpoints, request_timeout_s=5, max_in_flight=10, clock=clock) as rpc:
            supply = (await rpc.call("getTokenSupply", [MINT])).result["value"]
            largest = (await rpc.call("getTokenLargestAccounts", [MINT])).result["value"]
            reader = FactsReader(
                rpc=rpc,
                tokens=[Token(MINT, "BONK", supply["decimals"])],
                emit=told.append,
                event_time=EventTime(settings.market.event_time, clock=clock),
                clock=clock,
            )
            await reader.learn()
            await reader.learn()
            (facts,) = told
            assert facts.mint == MINT
            assert facts.supply == pytest.approx(int(supply["amount"]) / 10 ** supply["decimals"])

            owners = {}
            for row in largest:
                parsed = (await rpc.call("getAccountInfo", [row["address"], {"encoding": "jsonParsed"}])).result
                owner = Pubkey.from_string(parsed["value"]["data"]["parsed"]["info"]["owner"])
                if owner.is_on_curve():
                    owners[owner] = owners.get(owner, 0) + int(row["amount"])
            expected = sum(sorted(owners.values())[-10:]) / int(supply["amount"])
            assert facts.top_share == pytest.approx(expected)
            assert len(owners) < len(largest), "no pool among the largest holders: this test shows nothing"
    assert REFRESH_S > 60
