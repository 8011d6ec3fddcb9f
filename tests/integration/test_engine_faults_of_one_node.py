"""
One of three nodes is ill, in every way that a node can be: the engine trades on, says which one and why, and takes it back.

The engine and localnet are processes; the audit asks a fourth node, which has no faults and which the engine does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_stage import Stage, check, done, localnet, node, reasons, stage

ILL: dict[str, tuple[tuple[dict[str, Any], str], ...]] = {
    "silent or behind": (
        ({"kind": "hang"}, "no answer in time"),
        ({"kind": "lag", "slots": 150}, "behind by 150 slots"),
        ({"kind": "down"}, "EndpointFault"),
    ),
    "answering nonsense": (
        ({"kind": "rate_limited", "retry_after_s": 2}, "429"),
        ({"kind": "html", "status": 200}, "JSON"),
        ({"kind": "http_error", "status": 503}, "503"),
    ),
}
"""Faults, one after the other → what status says of the node that has it."""
FIRST_ILL = (0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow))
"""The node that has the first fault, the next one has the next: each fault meets the first choice and the last."""


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


async def trades_on(bot: Stage, before: dict[str, Any], *, trades: int = 3) -> dict[str, Any]:
    """Wait for more final trades than there were; on a busy machine a sound node may miss an answer, and that passes."""
    return await bot.until(lambda s: done(s) >= done(before) + trades and s["trading"])


@pytest.mark.parametrize("how", ILL)
@pytest.mark.parametrize("first", FIRST_ILL)
async def test_with_one_of_three_nodes_ill_the_engine_trades_on_and_says_which_and_why(line, tmp_path, how, first):
    """Final trades grow under each fault; `rpc` and the health check name the node; then it is well again; 0/0/0."""
    async with stage(line, tmp_path) as bot:
        await bot.start()
        await bot.trading()
        for n, (fault, words) in enumerate(ILL[how], start=first):
            name = f"n{n % 3}"
            await bot.fault(**fault, nodes=[n % 3])
            ill = await bot.until(
                lambda s, name=name, words=words: (
                    not node(s, name)["healthy"]
                    and words in node(s, name)["error"]
                    and check(s, "endpoints")[0] == "Degraded"
                    and f"2 of 3 RPC endpoints are sound: {name}: " in check(s, "endpoints")[1]
                )
            )
            await trades_on(bot, ill)
            await bot.heal()
            await bot.until(lambda s: all(e["healthy"] for e in s["rpc"]) and check(s, "endpoints")[0] == "Healthy")
        await bot.prove()


async def test_a_node_that_takes_every_transaction_and_loses_its_answer_doubles_nothing(line, tmp_path):
    """Nobody can know whether it was sent: the same bytes go to another node, trades come through, once each."""
    async with stage(line, tmp_path) as bot:
        await bot.start()
        await bot.trading()
        await bot.fault("lose_answer", how="reset", nodes=[0, 1])
        ((signed_before,),) = bot.rows("SELECT count(*) FROM attempts")
        await bot.until(lambda s: done(s) >= signed_before + 4)
        sample = 'tradingbot_rpc_requests_total{{endpoint="{}",outcome="EndpointFault"}}'
        lost = sum([await bot.metric(sample.format(name)) for name in ("n0", "n1")])
        proof = await bot.prove()
    assert lost, "the fault met no transaction"
    assert proof["filled"] >= 8


@pytest.mark.parametrize("n", FIRST_ILL)
async def test_a_node_that_comes_back_with_another_chain_is_named_and_not_asked(line, tmp_path, n):
    """It was away, so its chain is compared before its first word; the others are traded with."""
    name = f"n{n}"
    async with stage(line, tmp_path) as bot:
        await bot.start()
        await bot.trading()
        away = await bot.fault("down", nodes=[n])
        await bot.until(lambda s: not node(s, name)["healthy"])
        await bot.fault("wrong_genesis", nodes=[n])
        await bot.heal(away)
        other = await bot.until(lambda s: "WrongGenesis" in reasons(s))
        assert not node(other, name)["healthy"]
        assert [r["message"].startswith(f"{name}: ") for r in other["reasons"] if r["type"] == "WrongGenesis"] == [True]
        await trades_on(bot, other)
        assert await bot.stop() in (0, 3)
        await bot.heal()
        await bot.start()
        await bot.until(lambda s: s["phase"] == "READY" and node(s, name)["healthy"] and not reasons(s))
        await bot.prove()
