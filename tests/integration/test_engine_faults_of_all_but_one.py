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
MADE = "SELECT i.purpose, i.position_id, i.id, a.n FROM intents i LEFT JOIN attempts a ON a.intent_id = i.id"
"""Every intent, with every attempt at it."""


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
        old = set(bot.rows(MADE))  # told apart by what the ledger holds, not by any clock
        await bot.fault("down", nodes=ALL_NODES[1:])
        alone_s = time.monotonic()
        await bot.start()
        told = await bot.until(lambda s: s["phase"] == "READY" and ONE_NODE in reasons(s))
        assert not told["trading"]
        assert time.monotonic() - alone_s >= ALONE_S, "the second node was not waited for"
        await bot.until(lambda s: not before & {row[0] for row in bot.rows(held)})
        still = await bot.status()
        assert ONE_NODE in reasons(still), "two nodes are dead"
        alone = set(bot.rows(MADE)) - old
        await bot.heal()
        await bot.until(lambda s: s["trading"] and ONE_NODE not in reasons(s))
        await bot.until(lambda s: done(s) >= done(still) + 4)
        later = set(bot.rows(MADE)) - old - alone
        await bot.prove()
    assert before, "nothing was held"
    assert before <= {position for purpose, position, _, _ in alone if purpose == "EXIT"}, f"{sorted(before)}: {alone}"
    assert not [made for made in alone if made[0] == "ENTRY"], "an entry went out by the word of one node"
    assert any(purpose == "ENTRY" for purpose, _, _, _ in later), "no entry followed when the others were back"
