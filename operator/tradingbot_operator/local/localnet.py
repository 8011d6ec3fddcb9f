"""How the embedded cluster is started, and how its first line is read."""

import asyncio
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tradingbot_operator.errors import Failed
from tradingbot_operator.local.process import ENGINE, Child, how_it_ended, last_lines
from tradingbot_operator.local.state_dir import StateDir, write_private

START_S = 60.0
"""How long localnet may take to be born with its 25 hours of history."""


@dataclass(frozen=True)
class LocalnetOptions:
    """What kind of cluster and market."""

    nodes: int
    scenario: str
    speed: float
    tokens: tuple[tuple[str, str], ...]
    """(mint, symbol) of every token that the bot trades."""
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
    for mint, symbol in options.tokens:
        command += ["--token", f"{mint}:{symbol}"]
    command += ["--seed", str(options.seed)] if options.seed is not None else []
    command += ["--replay", options.replay] if options.replay is not None else []
    command += ["--slot-ms", str(options.slot_ms)] if options.slot_ms is not None else []
    command += ["--faults", options.faults] if options.faults is not None else []
    command += ["--port", str(port)] if port is not None else []
    return command


async def wait_for_line(child: Child, out: Path, *, log: Path) -> dict[str, Any]:
    """
    Return what localnet announces in its first line of standard output.

    Raises:
        Failed: It ended before, said something else, or took too long; the text ends with its log.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if (line := announced(out)) is not None:
            return line
        if child.ended:
            code = await child.wait()
            raise Failed(f"localnet did not start ({how_it_ended(code)}):\n{last_lines(log, count=5)}")
        await asyncio.sleep(0.05)
    raise Failed(f"localnet did not start within {START_S:g} s; log: {log}")


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
        return LocalnetOptions(**{**data, "tokens": tuple((mint, symbol) for mint, symbol in data["tokens"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise Failed(f"{state.path} does not say how its localnet was started: run the bot once more") from None
