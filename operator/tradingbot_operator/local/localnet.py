"""How the embedded cluster is started, and how its first line is read."""

import asyncio
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tradingbot_operator.errors import BadInput, Failed
from tradingbot_operator.local.process import ENGINE, Child, how_it_ended
from tradingbot_operator.local.state_dir import StateDir, write_private

BAD_INPUT = 2
"""Localnet's exit code for what no second start makes better: a token, a recording, a file of faults."""
START_S = 60.0
"""How long localnet may take to be born with its 25 hours of history."""


@dataclass(frozen=True)
class LocalnetOptions:
    """What kind of cluster and market."""

    nodes: int
    scenario: str
    speed: float
    tokens: tuple[str, ...]
    """Mints of the tokens that the bot trades."""
    seed: int | None = None
    replay: str | None = None
    slot_ms: int | None = None
    faults: str | None = None


def localnet_command(
    options: LocalnetOptions,
    *,
    state_dir: Path,
    parent_pid: int,
    port: int | None,
    engine: tuple[str, ...] = ENGINE,
) -> list[str]:
    """Return the command line that starts localnet, on the same ports again if `port` is given."""
    command = [*engine, "localnet", "--output", "json", "--state-dir", str(state_dir)]
    command += ["--parent-pid", str(parent_pid), "--nodes", str(options.nodes)]
    command += ["--scenario", options.scenario, "--speed", f"{options.speed:g}"]
    command += ["--audit-node", str(options.nodes - 1)]
    for mint in options.tokens:
        command += ["--token", mint]
    command += ["--seed", str(options.seed)] if options.seed is not None else []
    command += ["--replay", options.replay] if options.replay is not None else []
    command += ["--slot-ms", str(options.slot_ms)] if options.slot_ms is not None else []
    command += ["--faults", options.faults] if options.faults is not None else []
    command += ["--port", str(port)] if port is not None else []
    return command


async def ask_info(session: aiohttp.ClientSession, line: dict[str, Any]) -> dict[str, Any]:
    """
    Return what localnet tells of itself beyond its first line: its market's clock.

    Raises:
        Failed: It does not answer.
    """
    try:
        timeout = aiohttp.ClientTimeout(total=10)
        async with session.get(f"{str(line.get('swap')).rstrip('/')}/localnet/info", timeout=timeout) as answer:
            info = await answer.json(content_type=None)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        raise Failed(f"localnet does not tell its clock: {type(error).__name__}: {error}") from None
    return info if isinstance(info, dict) else {}


async def wait_for_line(child: Child, out: Path) -> dict[str, Any]:
    """
    Return what localnet announces in its first line of standard output.

    Raises:
        BadInput: It refuses what it was given.
        Failed: It ended before, said something else, or took too long; the text ends with its log.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if (line := announced(out)) is not None:
            return line
        if child.ended:
            code = await child.wait()
            if code == BAD_INPUT:
                raise BadInput(f"localnet refuses what it was given:\n{child.last_words()}")
            raise Failed(f"localnet did not start ({how_it_ended(code)}):\n{child.last_words()}")
        await asyncio.sleep(0.05)
    raise Failed(f"localnet did not start within {START_S:g} s; log: {child.log}")


def announced(out: Path) -> dict[str, Any] | None:
    """
    Return the first line of localnet's standard output, or None while it has not written one.

    Raises:
        Failed: It is no JSON object.
    """
    text = out.read_text(encoding="utf-8", errors="replace") if out.exists() else ""
    if "\n" not in text:
        return None
    try:
        line = json.loads(text.split("\n", 1)[0])
    except ValueError:
        line = None
    if not isinstance(line, dict):
        raise Failed(f"localnet announced no JSON but: {text[:200]}")
    return line


def remember(state: StateDir, options: LocalnetOptions) -> None:
    """Keep how localnet was started, so that an audit can wake the same one."""
    write_private(state.path / "localnet-options.json", json.dumps(asdict(options)))


def recall(state: StateDir) -> LocalnetOptions:
    """Return how localnet was last started; raise Failed if that is not known."""
    try:
        data = json.loads((state.path / "localnet-options.json").read_text(encoding="utf-8"))
        return LocalnetOptions(**{**data, "tokens": tuple(data["tokens"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise Failed(f"{state.path} does not say how its localnet was started: run the bot once more") from None
