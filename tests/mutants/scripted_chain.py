"""
A chain whose every block is put there by a script, and nodes that answer from it in JSON: the environment of the mutants.

It keeps the rules that the protocol leans on: a block may hold a transaction while its parent's height is at most L, a
signature lands once per branch, forks replace what is not final, a node on a dead fork goes on with growing slots. A script
that asks for something else fails loudly, so that no mutant is killed by an impossible chain.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from tradingbot_engine.rpc.errors import RpcUnavailable, SlotSkipped
from tradingbot_engine.rpc.pool import RpcAnswer

VALIDITY = 150
"""L of a blockhash is the height of its block plus this."""
CONFIRM_DEPTH, FINAL_DEPTH = 1, 4
"""How many blocks above make a block confirmed, and final."""
GENESIS = "11111111111111111111111111111111"


@dataclass(frozen=True)
class Block:
    """One block: transactions as signature → failed?"""

    slot: int
    height: int
    landed: dict[str, bool]


@dataclass
class ScriptedChain:
    """The living chain, what has been handed to nodes, and an abandoned fork that a node may sit on."""

    blocks: list[Block] = field(default_factory=lambda: [Block(1_000, 900, {"filler-1000": False})])
    dead: list[Block] | None = None
    """The blocks of a node that stayed behind when the others forked away."""
    last_valid: dict[str, int] = field(default_factory=dict)
    handed: list[str] = field(default_factory=list)
    """Signatures of transactions that some node was given, in order; they may land later."""
    slot: int = 1_000

    @property
    def height(self) -> int:
        return self.blocks[-1].height

    @property
    def finalized(self) -> Block:
        return self.blocks[max(0, len(self.blocks) - 1 - FINAL_DEPTH)]

    def make(self, count: int = 1, *, land: Sequence[str] = (), failed: bool = False) -> None:
        """Make blocks; the first holds the transactions `land`, which must have been handed over and be valid there."""
        for n in range(count):
            parent = self.blocks[-1]
            self.slot += 1
            landed = {f"filler-{self.slot}": False}
            for signature in land if n == 0 else ():
                assert signature in self.handed, f"the script lands {signature}, which no node was given"
                assert parent.height <= self.last_valid[signature], (
                    f"{signature} is too old for height {parent.height + 1}"
                )
                assert not self.where(signature), f"{signature} is in the chain already"
                landed[signature] = failed
            self.blocks.append(Block(self.slot, parent.height + 1, landed))

    def fork(self, keep_height: int, *, leave_a_node: bool = False) -> None:
        """Abandon every block above `keep_height`; `leave_a_node`: one node stays on them."""
        assert keep_height >= self.finalized.height, "a finalized block is never abandoned"
        if leave_a_node:
            self.dead = list(self.blocks)
        self.blocks = [b for b in self.blocks if b.height <= keep_height]

    def where(self, signature: str) -> Block | None:
        """Return the block of the living chain that holds a signature."""
        return next((b for b in self.blocks if signature in b.landed), None)

    def land_what_can(self) -> None:
        """Make a block with every handed transaction that still may land."""
        parent = self.blocks[-1]
        able = [s for s in dict.fromkeys(self.handed) if not self.where(s) and parent.height <= self.last_valid[s]]
        self.make(land=able)

    # --- views
    def view(self, node: str) -> tuple[list[Block], int, int]:
        """Return (blocks, index of the newest finalized one, processed slot) of a node named "tip" or "dead"."""
        if node == "dead":
            assert self.dead is not None, "no node stayed behind"
            return self.dead, max(0, len(self.dead) - 1 - FINAL_DEPTH), self.slot
        return self.blocks, max(0, len(self.blocks) - 1 - FINAL_DEPTH), self.slot

    def status(self, node: str, signature: str) -> dict[str, Any] | None:
        """Return a row of `getSignatureStatuses` as `node` sees it."""
        blocks, final, _ = self.view(node)
        for index, block in enumerate(blocks):
            if signature in block.landed:
                depth = len(blocks) - 1 - index
                shown = "finalized" if index <= final else "confirmed" if depth >= CONFIRM_DEPTH else "processed"
                error = {"InstructionError": [0, {"Custom": 6001}]} if block.landed[signature] else None
                return {"slot": block.slot, "err": error, "confirmationStatus": shown, "confirmations": None}
        return None


class ScriptedPool:
    """
    Stands in for the `RpcPool`: answers JSON-RPC methods from the chain.

    `routes` says which node answers which method of which provider ("tip" unless told): a URL behind a load balancer may
    be several nodes. `before` holds actions that run just before the n-th call of a method is answered.
    """

    def __init__(self, chain: ScriptedChain, *, providers: Sequence[str] = ("a", "b")) -> None:
        self.chain = chain
        self.providers = list(providers)
        self.routes: dict[tuple[str, str], str] = {}
        self.before: dict[tuple[str, int], Callable[[], None]] = {}
        self.calls: Counter[str] = Counter()
        self.log: list[str] = []

    def independent(self, name: str) -> str:
        return name

    def order(self, turn: int = 0) -> list[str]:
        first = turn % len(self.providers)
        return self.providers[first:] + self.providers[:first]

    async def call(
        self,
        method: str,
        params: Sequence[Any] = (),
        *,
        decode: Callable[[Any], Any] | None = None,
        provider: str | None = None,
        exclude: Collection[str] = (),
        timeout_s: float | None = None,
    ) -> RpcAnswer[Any]:
        self.calls[method] += 1
        action = self.before.pop((method, self.calls[method]), None)
        if action is not None:
            action()
        name = provider or next(p for p in self.providers if p not in exclude)
        raw = self._answer(self.routes.get((name, method), "tip"), method, list(params))
        self.log.append(f"{method} by {name}")
        slot = raw["context"]["slot"] if isinstance(raw, dict) and "context" in raw else None
        return RpcAnswer(decode(raw) if decode else raw, name, slot)

    def _answer(self, node: str, method: str, params: list[Any]) -> Any:
        if node == "away":
            raise RpcUnavailable("scripted to be away")
        blocks, final, slot = self.chain.view(node)
        config = params[-1] if params and isinstance(params[-1], dict) else {}
        newest = {
            "processed": len(blocks) - 1,
            "confirmed": max(final, len(blocks) - 1 - CONFIRM_DEPTH),
            "finalized": final,
        }[config.get("commitment", "finalized")]
        match method:
            case "getGenesisHash":
                return GENESIS
            case "getFirstAvailableBlock":
                return 0
            case "getEpochInfo":
                return {"absoluteSlot": blocks[newest].slot, "blockHeight": blocks[newest].height}
            case "getBlock":
                block = next((b for b in blocks[: newest + 1] if b.slot == params[0]), None)
                if block is None:
                    raise SlotSkipped("skipped")
                return {
                    "blockHeight": block.height,
                    "blockhash": f"hash-{block.slot}",
                    "parentSlot": max((b.slot for b in blocks if b.slot < block.slot), default=0),
                    "signatures": list(block.landed),
                }
            case "getBlocks":
                return [b.slot for b in blocks[: newest + 1] if params[0] <= b.slot <= params[1]]
            case "getSignatureStatuses":
                rows = [self.chain.status(node, signature) for signature in params[0]]
                return {"context": {"slot": slot}, "value": rows}
            case "sendTransaction":
                signature = base64.b64decode(params[0]).decode()
                self.chain.handed.append(signature)
                return signature
        raise AssertionError(f"the script has no answer to {method}")
