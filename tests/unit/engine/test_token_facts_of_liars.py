"""Facts of tokens from nodes that say what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from rpc_pools import pool_over
from scripted_rpc import ScriptedNode

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.domain.events import TokenFacts
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.market.event_time import EventTime
from tradingbot_engine.market.facts import FactsReader
from tradingbot_engine.rpc.errors import RpcUnavailable

MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"


@pytest.mark.parametrize("amount", ["9" * 400, str(2**64), "-1", "", "٣", "1e3", 5, None])
async def test_an_amount_that_no_token_can_have_is_the_nodes_fault_and_ends_nothing(amount: Any) -> None:
    """An error of another kind would end the loop that reads facts, and with it trading."""
    told: list[TokenFacts] = []

    def node(method: str, params: list[Any]) -> Any:
        supply = {"amount": amount, "decimals": 5}
        return {"context": {"slot": 1}, "value": supply if method == "getTokenSupply" else []}

    async with pool_over(ScriptedNode(node)) as rpc:
        reader = FactsReader(
            rpc=rpc,
            tokens=[Token(MINT, "BONK", 5)],
            emit=told.append,
            event_time=EventTime(None, clock=SystemClock()),
            clock=SystemClock(),
        )
        with pytest.raises(RpcUnavailable, match="malformed answer to getTokenSupply"):
            await reader.learn()
    assert not told
