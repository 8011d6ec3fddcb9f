"""The main job with nothing left out: the runner, a real engine, the real localnet, real transactions, and the audit."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tradingbot_operator.local.board import Board
from tradingbot_operator.local.text import amount, clock, price
from tradingbot_operator.local.view import picture

SAMPLE = Path(__file__).parents[2] / "crds" / "samples" / "first-bot.yaml"
RUN = (sys.executable, "-m", "tradingbot_operator", "run", "-f", str(SAMPLE))
FAST = ("--slot-ms", "50", "--speed", "240", "--seed", "11", "--output", "json")
"""Slots of 50 ms: finality comes after a second and a half instead of twelve."""
PATIENCE_S = 90.0


class Laptop:
    """One state directory, and runners on it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.runners: list[subprocess.Popen[str]] = []

    def start(self, *args: str) -> subprocess.Popen[str]:
        runner = subprocess.Popen(
            [*RUN, "--state-dir", str(self.state), *FAST, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.runners.append(runner)
        return runner

    def pids(self) -> dict[str, int]:
        """Return the pids of the children, by role."""
        try:
            known = json.loads((self.state / "processes.json").read_text())
        except (OSError, ValueError):
            return {}
        return {role: entry["pid"] for role, entry in known.items()}

    def phase(self) -> str:
        return str(self.status().get("phase", ""))

    def status(self) -> dict[str, Any]:
        """Return what the engine says of itself on its admin port; nothing if it is gone."""
        try:
            url = f"http://127.0.0.1:{(self.state / 'admin.port').read_text()}/v1/status"
            token = (self.state / "admin.token").read_text()
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request, timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            return {}

    def filled(self) -> int:
        """Return how many trades the engine's log tells of that were filled; others may be given up, fail or expire."""
        log = self.state / "logs" / "engine.log"
        lines = log.read_text().split("\n")[:-1] if log.exists() else []
        told = [json.loads(line) for line in lines if '"trade settled"' in line]
        return len({line["key"] for line in told if line["kind"] == "DONE"})  # each is told once at least

    def audit(self) -> tuple[int, dict[str, Any]]:
        answer = subprocess.run(
            [sys.executable, "-m", "tradingbot_operator", "audit", "--state-dir", str(self.state), "--output", "json"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert answer.stdout, answer.stderr
        return answer.returncode, json.loads(answer.stdout)

    def end(self) -> None:
        for runner in self.runners:
            if runner.poll() is None:
                runner.kill()
            runner.communicate()
        for pid in self.pids().values():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def eventually(check: Callable[[], Any], why: str, runner: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := check():
            return found
        if runner.poll() is not None:
            break
        time.sleep(0.05)
    runner.terminate()
    raise AssertionError(f"did not happen: {why}\n{runner.communicate(timeout=PATIENCE_S)[1]}")


def finish(runner: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = runner.communicate(timeout=PATIENCE_S)
    (line,) = out.splitlines() or ["{}"]
    return runner.returncode, json.loads(line), err


def shows(status: dict[str, Any]) -> None:
    """The view finds in a real engine's status what it looks for."""
    board = Board(bot="b", mode="Live", cluster="localnet", quote="SOL", speed=1.0, scenario="Viral", state_dir="/x")
    board.take(status)
    stream = io.StringIO()
    Console(file=stream, width=200).print(picture(board))
    text = stream.getvalue()
    fill = status["fills"][0]
    tokens = [price(token["price"]) for token in status["tokens"]]
    nodes = [node["name"] for node in status["rpc"]]
    assert len(tokens) == 2
    assert "–" not in tokens
    assert len(nodes) == 3
    sums = [amount(status["wallet"]["lamports"], "SOL"), amount(status["equity"]["now"], "SOL")]
    for word in (status["wallet"]["address"], *sums, *tokens, *nodes, fill["signature"][:16], fill["symbol"], "NORMAL"):
        assert word in text, (word, text)
    assert clock(status["market"]["timeMs"]) in text


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    laptop = Laptop(tmp_path / "state")
    yield laptop
    laptop.end()


def test_the_first_sample_trades_drains_and_is_proven_by_the_chain(laptop: Laptop):
    """One command: trades land on localnet, Ctrl-C drains, the audit finds nothing doubled, lost or invented."""
    runner = laptop.start()
    eventually(lambda: laptop.filled() >= 2, "two trades settle", runner)
    children, status = laptop.pids(), laptop.status()
    runner.send_signal(signal.SIGINT)
    code, summary, err = finish(runner)
    assert code == 0, err
    assert summary["filled"] >= 2, (summary, status.get("intents"), err)
    assert (summary["doubled"], summary["lost"], summary["phantom"], summary["open"]) == (0, 0, 0, 0)
    assert summary["signals"] >= summary["intents"] >= summary["filled"]
    assert summary["equity_start_lamports"] > 0
    assert summary["p50_signal_to_send_ms"] > 0
    shows(status)
    assert set(children) == {"engine", "localnet"}
    assert not any(alive(pid) for pid in children.values())
    code, audit = laptop.audit()
    assert (code, audit["verdict"], audit["filled"]) == (0, "proven", summary["filled"])


def test_the_summary_is_whole_though_the_engine_could_never_be_asked(laptop: Laptop):
    """On a busy machine the runner asks in vain, and the engine is drained by a signal: it leaves its last numbers behind."""
    runner = laptop.start()
    eventually(lambda: (laptop.state / "admin.port").exists(), "the engine tells its port", runner)
    (laptop.state / "admin.port").write_text("1")  # nobody listens there
    eventually(lambda: laptop.filled() >= 1, "a trade is filled", runner)
    runner.send_signal(signal.SIGINT)
    code, summary, err = finish(runner)
    assert code == 0, err
    assert summary["filled"] == laptop.filled() >= 1
    assert summary["signals"] >= summary["intents"] >= summary["filled"]
    assert summary["equity_start_lamports"] > 0
    assert summary["p50_signal_to_send_ms"] > 0
    assert laptop.audit()[1]["filled"] == summary["filled"]


@pytest.mark.timeout(300)
def test_kill_9_of_engine_localnet_and_runner_loses_and_doubles_nothing(laptop: Laptop):
    """Each in the middle of trading; the next run resumes the same wallet and ledger, and the audit is 0/0/0."""
    runner = laptop.start()
    eventually(lambda: laptop.filled() >= 1, "a trade is filled", runner)
    first = laptop.pids()
    os.kill(first["engine"], signal.SIGKILL)
    eventually(lambda: laptop.pids().get("engine") not in (None, first["engine"]), "the engine comes back", runner)
    os.kill(first["localnet"], signal.SIGKILL)
    eventually(lambda: laptop.pids().get("localnet") not in (None, first["localnet"]), "localnet comes back", runner)
    filled = laptop.filled()
    eventually(lambda: laptop.filled() > filled, "it trades on", runner)
    wallet = (laptop.state / "wallet.json").read_text()
    runner.kill()
    runner.communicate()
    deadline = time.monotonic() + PATIENCE_S
    while laptop.phase() == "READY" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert laptop.phase() != "READY", "an orphan goes on trading"
    orphan = laptop.pids().get("engine")
    runner = laptop.start()
    eventually(
        lambda: laptop.pids().get("engine") not in (None, orphan), "the next run has an engine of its own", runner
    )
    eventually(lambda: laptop.phase() == "READY", "the next run is ready", runner)
    filled = laptop.filled()
    status = laptop.status()
    at_start = status["atStart"]
    eventually(lambda: laptop.filled() > filled, "the next run trades on", runner)
    runner.send_signal(signal.SIGTERM)
    code, summary, err = finish(runner)
    assert code == 0, err
    assert (summary["doubled"], summary["lost"], summary["phantom"], summary["open"]) == (0, 0, 0, 0), err
    assert (laptop.state / "wallet.json").read_text() == wallet
    code, audit = laptop.audit()
    assert (code, audit["doubled"], audit["lost"], audit["phantom"]) == (0, 0, 0, 0)
    assert 1 <= summary["filled"] <= audit["filled"] - 2, "the summary is this run's, the audit the bot's whole life's"
    assert summary["equity_start_lamports"] == at_start["equity"] != status["equity"]["start"]
