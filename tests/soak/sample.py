"""One look at a running engine: from outside through /proc, from inside through its metrics."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import aiohttp

PAGE = os.sysconf("SC_PAGE_SIZE")
_METRIC = re.compile(r"^(\w+)(?:\{([^}]*)\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the engine used and did at one moment."""

    at_s: float
    """Since the engine was ready."""
    resident_bytes: int
    open_fds: int
    sockets: int
    connections: int
    """Sockets that pools of HTTP clients hold: in use by requests and websockets, or kept for later use."""
    sockets_unpooled: int
    """All others."""
    descriptors_unpooled: int
    """Descriptors that are no such connection."""
    threads: int
    tasks: int
    """asyncio tasks that are not done."""
    in_flight: int
    """Trades that a task follows; each has a task and, while it asks a node, requests of its own."""
    queued_signals: int
    queued_events: int
    utilization: float
    done: int
    """Trades that reached DONE since the engine's start."""


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def descriptors(pid: int) -> tuple[int, int]:
    """Return how many descriptors a process has open, and how many of them are sockets."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except FileNotFoundError:  # closed while we looked
            continue
    return len(links), sum(link.startswith("socket:") for link in links)


def threads(pid: int) -> int:
    """How many threads a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def parse_metrics(text: str) -> dict[str, float]:
    """Return every value of a metrics page by `name` or `name{labels}`."""
    return {f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in _METRIC.findall(text)}


async def take(pid: int, http: aiohttp.ClientSession, port: int, *, at_s: float) -> Sample | None:
    """Take one sample; None if the engine did not answer in time."""
    try:
        async with http.get(f"http://127.0.0.1:{port}/metrics", timeout=aiohttp.ClientTimeout(total=3)) as answer:
            inside = parse_metrics(await answer.text())
    except (aiohttp.ClientError, TimeoutError):
        return None
    if "soak_sockets_unpooled" not in inside:
        return None  # it has just started
    fds, sockets = descriptors(pid)
    return Sample(
        at_s=at_s,
        resident_bytes=resident_bytes(pid),
        open_fds=fds,
        sockets=sockets,
        connections=int(inside["soak_connections"]),
        sockets_unpooled=int(inside["soak_sockets_unpooled"]),
        descriptors_unpooled=int(inside["soak_descriptors_unpooled"]),
        threads=threads(pid),
        tasks=int(inside["tradingbot_process_tasks"]),
        in_flight=int(inside["tradingbot_in_flight_trades"]),
        queued_signals=int(inside["tradingbot_queued_signals"]),
        queued_events=int(inside["tradingbot_queued_events"]),
        utilization=inside["tradingbot_queue_utilization"],
        done=int(inside.get('tradingbot_intent_moves_total{state="DONE"}', 0)),
    )
