"""What a bot needs to know of its chain: nodes, swap API, history, clock; localnet tells it in one line of JSON."""

from dataclasses import dataclass, field
from typing import Any

from tradingbot_operator.errors import Failed


@dataclass(frozen=True)
class Node:
    """One JSON-RPC node."""

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
        event_time: How event time follows from the slot, in the engine's own shape; None: wall time.
    """

    nodes: tuple[Node, ...]
    swap_url: str | None = None
    history_url: str | None = None
    price_url: str | None = None
    event_time: dict[str, Any] | None = field(default=None)


MANY = 10_000


def localnet_chain(line: dict[str, Any]) -> Chain:
    """
    Return the chain that a localnet announced.

    Args:
        line: {"nodes": [{"http", "websocket"}], "swap", "history", "price", "event_time", "genesis_hash"}.

    Raises:
        Failed: It announced no node.
    """
    nodes = tuple(
        Node(f"localnet-{n}", node["http"], node.get("websocket"), requests_per_second=MANY, concurrency=MANY)
        for n, node in enumerate(line.get("nodes") or [], start=1)
    )
    if not nodes:
        raise Failed("localnet announced no node")
    return Chain(
        nodes=nodes,
        swap_url=line.get("swap"),
        history_url=line.get("history"),
        price_url=line.get("price"),
        event_time=line.get("event_time"),
    )
