"""An engine starts while one of three nodes answers: positions are left by its word, and nothing is bought before a second."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_stage import ALL_NODES, done, localnet, reasons, stage

ONE_NODE = "OneNodeOnly"
ALONE_S = 4
"""`rpc.one_node_after_s`: two minutes by default."""
TRIES = 8


@pytest.fixture(scope="module")
def line() -> Iterator[dict[str, Any]]:
    with localnet() as line:
        yield line


@pytest.mark.slow  # make faults
async def test_with_all_nodes_but_one_dead_exits_go_out_and_no_entry_does(line, tmp_path):
    """Every position of before is sold by one node's word; entries begin when a second one answers; 0/0/0."""
    async with stage(line, tmp_path, hold_bars=(6, 8), rpc={"one_node_after_s": ALONE_S}) as bot:
        held = "SELECT id FROM positions WHERE state != 'CLOSED'"
        before: set[str] = set()
        for _ in range(TRIES):  # on a busy machine the drain may find exits under way from everything
            await bot.start()
            await bot.until(lambda s: done(s) >= 2 and sum(bool(t["position"]) for t in s["tokens"]) >= 2)
            assert await bot.stop() in (0, 3)
            before = {row[0] for row in bot.rows("SELECT id FROM positions WHERE state = 'OPEN' AND exit_open = 0")}
            if before:
                break
        await bot.fault("down", nodes=ALL_NODES[1:])
        alone_ms = time.time() * 1000
        await bot.start()
        told = await bot.until(lambda s: s["phase"] == "READY" and ONE_NODE in reasons(s))
        assert not told["trading"]
        waited_s = time.time() - alone_ms / 1000
        assert waited_s >= ALONE_S, "the second node was not waited for"
        await bot.until(lambda s: not before & {row[0] for row in bot.rows(held)})
        still = await bot.status()
        assert ONE_NODE in reasons(still), "two nodes are dead"
        back_ms = time.time() * 1000
        await bot.heal()
        await bot.until(lambda s: s["trading"] and ONE_NODE not in reasons(s))
        await bot.until(lambda s: done(s) >= done(still) + 4)
        made = bot.rows(
            "SELECT i.purpose, i.position_id, a.signed_at_ms FROM attempts a JOIN intents i ON i.id = a.intent_id "
            f"WHERE a.signed_at_ms > {alone_ms}"
        )
        claimed = bot.rows(f"SELECT purpose, created_at_ms FROM intents WHERE created_at_ms > {alone_ms}")
        await bot.prove()
    assert before, "nothing was held"
    assert before <= {position for purpose, position, _ in made if purpose == "EXIT"}
    early = [at for purpose, _, at in made if purpose == "ENTRY" and at < back_ms]
    early += [at for purpose, at in claimed if purpose == "ENTRY" and at < back_ms]
    assert not early, "an entry went out by the word of one node"
    assert any(purpose == "ENTRY" for purpose, _, _ in made), "no entry followed when the others were back"
