"""What a bot needs to know of its chain: nodes, swap API, history, clock; localnet tells it in one line of JSON."""

from dataclasses import dataclass, field
from typing import Any

from tradingbot_operator.errors import Failed


@dataclass(frozen=True)
class Node:
    """One JSON-RPC node; an empty address is told by the engine's environment, from a Secret."""

    name: str
    url: str
    websocket_url: str | None = None
    requests_per_second: float = 50.0
    concurrency: int = 10
    priority: int = 0


@dataclass(frozen=True)
class Chain:
    """
    Where a bot trades.

    Attributes:
        nodes: JSON-RPC nodes, at least one.
        swap_url: Base of the swap API; None: Jupiter's.
        history_url: Base of the history API, or None.
        price_url: Base of the price API, or None.
        genesis_hash: What every node must show; None: the public cluster's own.
        event_time: How event time follows from the slot, in the engine's own shape; None: wall time.
        clock_url: Where the engine asks for it when it starts, or None.
    """

    nodes: tuple[Node, ...]
    swap_url: str | None = None
    history_url: str | None = None
    price_url: str | None = None
    genesis_hash: str | None = None
    event_time: dict[str, Any] | None = field(default=None)
    clock_url: str | None = None


MANY = 10_000


def localnet_chain(line: dict[str, Any], info: dict[str, Any]) -> Chain:
    """
    Return the chain that a localnet announced.

    Args:
        line: {"nodes": [{"http", "websocket"}], "swap", "genesis_hash"}; swap, history and price APIs share one address.
        info: {"market_clock": {"origin_slot", "origin_ms", "ms_per_slot"}, …}, or empty where the clock does not matter.

    Raises:
        Failed: It announced no node.
    """
    nodes = tuple(
        Node(f"localnet-{n}", node["http"], node.get("websocket"), requests_per_second=MANY, concurrency=MANY)
        for n, node in enumerate(line.get("nodes") or [], start=1)
    )
    if not nodes:
        raise Failed("localnet announced no node")
    gateway = line.get("swap")
    return Chain(
        nodes=nodes,
        swap_url=gateway,
        history_url=gateway,
        price_url=gateway,
        genesis_hash=line.get("genesis_hash"),
        event_time=info.get("market_clock"),
    )


def same_time(one: dict[str, Any] | None, other: dict[str, Any] | None) -> bool:
    """Return whether two clocks tell the same time at every slot, as a clock and its own continuation do."""
    if not one or not other or one["ms_per_slot"] != other["ms_per_slot"]:
        return one == other
    slots = other["origin_slot"] - one["origin_slot"]
    return bool(abs(one["origin_ms"] + slots * one["ms_per_slot"] - other["origin_ms"]) <= 1.0)
