"""A transaction by which a node shows that it is on our chain."""

from __future__ import annotations

from tradingbot_engine.rpc.errors import SlotSkipped
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool

TRIES = 8
"""Slots in a row that may be skipped, or whose block may be empty."""


async def final_signature(rpc: RpcPool) -> str:
    """
    Return the signature of a transaction of the newest finalized block: too old for no status cache.

    The pool asks only endpoints that serve our chain, see `RpcPool.expect_genesis`.

    Raises:
        RpcError: Temporary or permanent by its class.
    """
    node = Rpc(rpc)
    slot = (await rpc.call("getSlot", [{"commitment": "finalized"}], decode=int)).result
    for _ in range(TRIES):
        try:
            block = (await node.get_block_signatures(slot)).result
        except SlotSkipped:
            block = None
        if block is not None and block.signatures:
            return block.signatures[0]
        slot -= 1
    raise SlotSkipped(f"no transaction in {TRIES} finalized slots up to {slot}")
