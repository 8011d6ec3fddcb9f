"""A node that lags hands out the blockhash of the attempt that has just expired: the same bytes are not a new attempt."""

from __future__ import annotations

from pathlib import Path

from mutants.stage import ScriptedExecutor, Stage, an_order, open_stage

from tradingbot_engine.domain.intents import Attempt, IntentRecord, IntentState
from tradingbot_engine.domain.units import Epoch, UnixMs
from tradingbot_engine.execution.port import Quote


class StaleExecutor(ScriptedExecutor):
    """Prepares the expired attempt's very transaction twice before a fresh blockhash comes."""

    stale = 2

    async def prepare(self, record: IntentRecord, quote: Quote, *, epoch: Epoch, now_ms: UnixMs) -> Attempt:
        last = record.current
        if last is not None and self.stale:
            self.stale -= 1
            return Attempt(
                intent_id=last.intent_id, n=last.n + 1, signature=last.signature, wire=last.wire, blockhash=last.blockhash,
                blockhash_slot=last.blockhash_slot, last_valid_block_height=last.last_valid_block_height, epoch=epoch,
                signed_at_ms=now_ms, quoted_out=quote.amount_out,
            )  # fmt: skip
        return await super().prepare(record, quote, epoch=epoch, now_ms=now_ms)


async def test_a_blockhash_that_is_no_younger_than_the_expired_attempts_makes_no_attempt(tmp_path: Path) -> None:
    """The driver waits for a younger one, and trades on."""
    stage: Stage = await open_stage(tmp_path)
    executor = StaleExecutor(stage.pool, stage.settings)
    stage.driver._executor = executor
    stage.acts = [lambda: stage.chain.make(40)] * 5
    ownership = await stage.take("only")
    last = await stage.drive(await stage.claim(ownership, an_order()), ownership)
    assert (last.state, last.attempt) == (IntentState.DONE, 2)
    assert executor.stale == 0
    assert not await stage.verdict()
    await stage.ledger.close()
