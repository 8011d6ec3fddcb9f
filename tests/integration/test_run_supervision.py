"""The runner as a process: what it starts, how it stops, what it survives; the engine is a stand-in (fake_engine.py)."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.small_disk import fill, small_disk

SAMPLE = Path(__file__).parents[2] / "crds" / "samples" / "first-bot.yaml"
FAKE = Path(__file__).with_name("fake_engine.py")
PATIENCE_S = 90.0


def eventually(check: Callable[[], Any], why: str = "") -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError(f"did not happen: {why or check}")


class Bench:
    """Runners that use the stand-in, and what the stand-in noted."""

    def __init__(self, root: Path) -> None:
        self.root, self.state = root, root / "state"
        package = root / "path" / "tradingbot_engine"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(FAKE.read_text())
        self.manifest = root / "bot.yaml"
        self.manifest.write_text(SAMPLE.read_text())
        self.told = root / "told.json"
        self.running: list[subprocess.Popen[str]] = []

    def tell(self, **what: Any) -> None:
        self.told.write_text(json.dumps(what))

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-m", "tradingbot_operator", name, "-f", str(self.manifest)]

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(p for p in (str(self.root / "path"), os.environ.get("PYTHONPATH", "")) if p)
        return {**os.environ, "PYTHONPATH": path, "FAKE": str(self.told), "TRADINGBOT_X": "leaks"}

    def run(self, *args: str, output: str = "json") -> subprocess.Popen[str]:
        runner = subprocess.Popen(
            [*self.command("run"), "--state-dir", str(self.state), "--output", output, *args],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.running.append(runner)
        return runner

    def call(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `tradingbot` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "tradingbot_operator", *args],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def noted(self, event: str, role: str = "run") -> list[dict[str, Any]]:
        log = Path(f"{self.told}.log")
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [line for line in lines if line["event"].startswith(event) and line["role"] == role]

    def trading(self) -> dict[str, Any]:
        """Wait until an engine runs and its admin port is known."""
        before = len(self.noted("runs"))
        return eventually(
            lambda: (
                (self.state / "admin.port").exists()
                and len(self.noted("runs")) >= max(1, before)
                and self.noted("runs")[-1]
            ),
            "an engine runs",
        )

    def end(self) -> None:
        for runner in self.running:
            if runner.poll() is None:
                runner.kill()
            runner.communicate()
        log = Path(f"{self.told}.log")
        for line in log.read_text().splitlines() if log.exists() else []:
            pid = json.loads(line)["pid"]
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.end()


def finish(runner: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = runner.communicate(timeout=PATIENCE_S)
    lines = out.splitlines()
    return runner.returncode, json.loads(lines[-1]) if lines else {}, err


def test_sigterm_drains_the_engine_then_asks_the_audit_then_ends_localnet(bench: Bench):
    """
    In this order: the engine needs the chain to finish, the audit needs it to compare. Nothing stays behind.

    Standard output holds one line of JSON and nothing else; news go to standard error. SIGINT and SIGHUP: see below.
    """
    runner = bench.run()
    bench.trading()
    runner.send_signal(signal.SIGTERM)
    out, err = runner.communicate(timeout=PATIENCE_S)
    assert runner.returncode == 0, err
    (line,) = out.splitlines()
    summary = json.loads(line)
    assert set(summary) == {
        "bot", "seconds", "signals", "intents", "filled", "failed", "expired", "abandoned", "open", "doubled", "lost",
        "phantom", "foreign", "equity_start_lamports", "equity_end_lamports", "restarts", "p50_signal_to_send_ms",
        "p99_signal_to_send_ms",
    }  # fmt: skip
    assert summary["bot"] == "default/first-bot"
    assert (summary["doubled"], summary["lost"], summary["phantom"], summary["signals"]) == (0, 0, 0, 7)
    assert "draining (SIGTERM)" in err
    log = [json.loads(line) for line in Path(f"{bench.told}.log").read_text().splitlines()]
    order = [(line["role"], line["event"]) for line in log]
    assert order == [
        ("localnet", "runs"),
        ("localnet", "airdrop"),
        ("run", "runs"),
        ("run", "drain"),
        ("run", "leaves with 0"),
        ("audit", "audit"),
        ("localnet", "leaves with 0"),
    ]
    assert not any(alive(line["pid"]) for line in log)


def test_plain_output_ends_with_the_summary(bench: Bench):
    """Lines where there is no terminal; the last is the same JSON."""
    runner = bench.run("--duration", "700ms", output="text")
    out, _ = runner.communicate(timeout=PATIENCE_S)
    lines = out.splitlines()
    assert json.loads(lines[-1])["bot"] == "default/first-bot"
    assert any("READY" in line for line in lines[:-1])
    assert any("60 times as fast" in line for line in lines[:-1])


def test_closing_the_terminal_drains(bench: Bench):
    """The picture is drawn in it while it is there; when it goes, the kernel's SIGHUP drains like Ctrl-C."""
    master, slave = pty.openpty()
    takes_terminal = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); os.open(os.ttyname(0), os.O_RDWR); os.execv(sys.executable, sys.argv[1:])"
    runner = subprocess.Popen(
        [sys.executable, "-c", takes_terminal, *bench.command("run"), "--state-dir", str(bench.state)],
        env={**bench.environment, "TERM": "xterm"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + PATIENCE_S
    while b"READY" not in seen and time.monotonic() < deadline:
        seen += os.read(master, 65536)
    assert b"default/first-bot" in seen
    assert "60 × wall time".encode() in seen
    os.close(master)
    assert runner.wait(PATIENCE_S) == 0
    assert len(bench.noted("drain")) == 1
    assert not any(alive(line["pid"]) for line in bench.noted("runs", "localnet") + bench.noted("runs"))


def test_nohup_goes_on_without_its_terminal(bench: Bench):
    """SIGHUP that was set to be ignored stays ignored; SIGTERM drains."""
    runner = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *bench.command("run"), "--state-dir", str(bench.state)],
        env=bench.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    bench.running.append(runner)
    bench.trading()
    runner.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert not bench.noted("drain")
    runner.send_signal(signal.SIGTERM)
    assert finish(runner)[0] == 0


def test_a_reader_that_leaves_drains(bench: Bench):
    """`tradingbot run | head` closes standard output: nobody watches any more."""
    runner = bench.run(output="text")
    bench.trading()
    assert runner.stdout is not None
    runner.stdout.close()
    eventually(lambda: bench.noted("drain"), "the drain")
    assert runner.wait(PATIENCE_S) == 0
    assert runner.stderr is not None
    assert "Traceback" not in runner.stderr.read()
    runner.stdout = None


def test_a_second_simultaneous_run_is_refused_and_names_the_first(bench: Bench):
    """Two runners of one ledger are what the lock is for; the first goes on."""
    first = bench.run()
    bench.trading()
    second = bench.run()
    code, summary, err = finish(second)
    assert (code, summary) == (1, {})
    assert f"pid {first.pid}" in err
    assert first.poll() is None
    assert len(bench.noted("runs")) == 1


def test_a_crashed_engine_is_started_again_and_said_so(bench: Bench):
    """With growing pauses; the count stands in the summary, signals of the crashed one are kept."""
    bench.tell(crashes_after_s=1.2)
    runner = bench.run()
    eventually(lambda: len(bench.noted("runs")) == 3, "two restarts")
    bench.tell()
    runner.send_signal(signal.SIGTERM)
    code, summary, err = finish(runner)
    assert code in (0, 1)
    assert summary["restarts"] >= 2
    assert summary["signals"] >= 14
    assert "the engine ended (exit code 1), starting it again in 0.5 s" in err
    assert "starting it again in 1 s" in err


def test_settings_that_the_engine_refuses_are_bad_input(bench: Bench):
    """A restart makes them no better: exit code 2, with what the engine said."""
    bench.tell(bad_settings=True)
    code, summary, err = finish(bench.run())
    assert (code, summary) == (2, {})
    assert "risk.capital: must be greater than 0" in err
    assert "Traceback" not in err
    assert not any(alive(line["pid"]) for line in bench.noted("runs", "localnet"))


def test_localnet_that_does_not_start_is_told_with_its_log(bench: Bench):
    """Exit code 1 and the reason."""
    bench.tell(localnet_fails=True)
    code, _, err = finish(bench.run())
    assert code == 1
    assert "localnet did not start (exit code 1)" in err
    assert "no port to be had" in err


def test_a_recording_that_localnet_refuses_is_bad_input_and_not_remembered(bench: Bench):
    """Exit code 2, told in localnet's words; a later audit wakes localnet as it last worked."""
    assert finish(bench.run("--duration", "300ms"))[0] == 0
    recording = bench.root / "bad.csv"
    recording.write_text("no prices")
    bench.tell(refuses=str(recording))
    code, _, err = finish(bench.run("--replay", str(recording)))
    assert code == 2
    assert f"{recording}: no time" in err
    bench.tell()
    assert bench.call("audit", "--state-dir", str(bench.state)).returncode == 0
    assert "--replay" not in bench.noted("runs", "localnet")[-1]["args"]


def test_kill_9_of_the_runner_leaves_no_orphan_and_the_next_run_resumes(bench: Bench):
    """Engines notice; what did not is ended before a new engine starts. Wallet and money stay."""
    bench.tell(localnet_stays=True)
    runner = bench.run()
    engine = bench.trading()
    wallet = (bench.state / "wallet.json").read_text()
    runner.kill()
    runner.communicate()
    eventually(lambda: not alive(engine["pid"]), "the engine notices")
    orphan = bench.noted("runs", "localnet")[-1]["pid"]
    assert alive(orphan)
    bench.tell()
    code, _, err = finish(bench.run("--duration", "300ms"))
    assert code == 0
    assert f"ending the localnet (pid {orphan})" in err
    assert not alive(orphan)
    assert (bench.state / "wallet.json").read_text() == wallet
    assert len(bench.noted("airdrop", "localnet")) == 1


def test_an_orphan_engine_that_hangs_is_killed_before_the_next_one_starts(bench: Bench):
    """SIGSTOP keeps it from noticing; on SQLite two engines must never meet."""
    runner = bench.run()
    engine = bench.trading()
    os.kill(engine["pid"], signal.SIGSTOP)
    runner.kill()
    runner.communicate()
    assert alive(engine["pid"])
    code, _, err = finish(bench.run("--duration", "300ms"))
    assert code == 0
    assert f"ending the engine (pid {engine['pid']})" in err
    assert not alive(engine["pid"])


def test_a_second_ctrl_c_does_not_shorten_the_drain_but_sigquit_does(bench: Bench):
    """What is open stays journalled: exit code 3."""
    bench.tell(never_drains=True, open=2)
    runner = bench.run()
    bench.trading()
    runner.send_signal(signal.SIGINT)
    eventually(lambda: bench.noted("drain"), "the drain begins")
    runner.send_signal(signal.SIGINT)
    runner.send_signal(signal.SIGTERM)
    time.sleep(1.5)
    assert runner.poll() is None
    assert alive(bench.noted("runs")[-1]["pid"])
    began = time.monotonic()
    runner.send_signal(signal.SIGQUIT)
    code, summary, err = finish(runner)
    assert code == 3
    assert time.monotonic() - began < 15
    assert "still draining" in err
    assert summary["open"] == 2


def test_a_drain_ends_after_the_trade_timeout_with_trades_open(bench: Bench):
    """Exit code 3, and the audit's number of what is open."""
    bench.manifest.write_text(SAMPLE.read_text() + "  shutdown: {tradeTimeoutSeconds: 1, forceTimeoutSeconds: 4}\n")
    bench.tell(never_drains=True, open=1)
    runner = bench.run()
    bench.trading()
    runner.send_signal(signal.SIGTERM)
    code, summary, _ = finish(runner)
    assert (code, summary["open"]) == (3, 1)


def test_a_run_whose_disk_is_full_says_by_its_code_that_trades_are_open(tmp_path: Path):
    """3 and a line of what to do, not 1: the same disk keeps the runner from noting what it ended."""
    with small_disk(tmp_path / "small") as place:
        bench = Bench(tmp_path)
        bench.state = place / "state"
        try:
            bench.tell(open=2)
            runner = bench.run()
            bench.trading()
            fill(place)
            runner.send_signal(signal.SIGTERM)
            out, err = runner.communicate(timeout=PATIENCE_S)
            assert runner.returncode == 3, (out, err)
            assert "No space left on device" in err
            assert "trades are still open" in err
        finally:
            bench.end()


def test_an_engine_that_does_not_drain_is_killed_after_the_force_timeout(bench: Bench):
    """It may hang; the ledger holds what was open."""
    bench.manifest.write_text(SAMPLE.read_text() + "  shutdown: {tradeTimeoutSeconds: 1, forceTimeoutSeconds: 4}\n")
    bench.tell(never_drains=True, ignores_sigterm=True)
    runner = bench.run()
    engine = bench.trading()
    runner.send_signal(signal.SIGTERM)
    code, _, err = finish(runner)
    assert code == 1
    assert "did not drain (signal SIGKILL)" in err
    assert not alive(engine["pid"])


def test_localnet_that_is_killed_comes_back_on_the_same_ports(bench: Bench):
    """The engine goes on; its nodes stay where they are."""
    runner = bench.run()
    bench.trading()
    first = json.loads((bench.state / "localnet.json").read_text())
    os.kill(bench.noted("runs", "localnet")[-1]["pid"], signal.SIGKILL)
    eventually(lambda: len(bench.noted("runs", "localnet")) == 2, "localnet comes back")
    eventually(lambda: (bench.state / "localnet.json").read_text().strip(), "it announces itself")
    assert json.loads((bench.state / "localnet.json").read_text()) == first
    assert not [start for start in bench.noted("runs", "localnet") if "--port" in start["args"]], (
        "it knows its own best"
    )
    runner.send_signal(signal.SIGTERM)
    code, _, err = finish(runner)
    assert code == 0
    assert "localnet ended (signal SIGKILL)" in err
    assert len(bench.noted("runs")) == 1


def test_a_doubled_trade_fails_the_run_whatever_the_drain_said(bench: Bench):
    """The audit's word counts: exit code 1."""
    bench.tell(doubled=1)
    code, summary, _ = finish(bench.run("--duration", "300ms"))
    assert (code, summary["doubled"]) == (1, 1)


def test_an_audit_that_cannot_be_done_leaves_its_numbers_empty(bench: Bench):
    """Null, not 0: nothing was proven. The exit code still says that it drained."""
    bench.tell(audit_fails=True)
    code, summary, err = finish(bench.run("--duration", "300ms"))
    assert (summary["doubled"], summary["lost"], summary["phantom"]) == (None, None, None)
    assert "the audit could not be done: the node does not answer" in err
    assert code == 0


def test_an_edited_manifest_is_applied_while_the_bot_runs(bench: Bench):
    """The pause within two seconds and without a restart; what needs a new start, or is wrong, is said and not used."""
    runner = bench.run()
    bench.trading()
    bench.manifest.write_text(SAMPLE.read_text().replace("  mode: Live", "  paused: true\n  mode: Live"))
    event = eventually(lambda: bench.noted("live"), "the change arrives")[-1]["event"]
    assert json.loads(event.removeprefix("live "))["paused"] is True
    assert json.loads((bench.state / "engine.json").read_text())["bot"]["paused"] is True
    bench.manifest.write_text(SAMPLE.read_text().replace("mode: Live", "mode: Lve"))
    time.sleep(1.5)
    bench.manifest.write_text(SAMPLE.read_text().replace("speed: 60", "speed: 30"))
    time.sleep(1.5)
    runner.send_signal(signal.SIGTERM)
    code, _, err = finish(runner)
    assert code == 0
    assert "goes on as it was: " in err
    assert "did you mean Live?" in err
    assert "needs a new start" in err
    assert len(bench.noted("runs")) == 1


def test_the_state_directory_and_its_files_are_the_owners_alone(bench: Bench):
    """Keys and tokens lie there; no secret stands in any argument, and no setting leaks in from the environment."""
    runner = bench.run()
    bench.trading()
    assert bench.state.stat().st_mode & 0o777 == 0o700
    for name in ("wallet.json", "engine.json", "lock", "bot.json"):
        assert (bench.state / name).stat().st_mode & 0o077 == 0, name
    key = json.loads((bench.state / "wallet.json").read_text())
    assert len(key) == 64
    environment = Path(f"/proc/{bench.noted('runs')[-1]['pid']}/environ").read_text()
    assert "TRADINGBOT_X" not in environment
    runner.send_signal(signal.SIGTERM)
    assert finish(runner)[0] == 0


def test_the_audit_of_an_ended_run_wakes_its_localnet_and_passes_the_exit_code_on(bench: Bench):
    """The chain is what is asked, so it has to be there; afterwards it is gone again."""
    assert finish(bench.run("--duration", "300ms", "--seed", "7"))[0] == 0
    answer = bench.call("audit", "--state-dir", str(bench.state), "--output", "json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["doubled"] == 0
    woken = bench.noted("runs", "localnet")[-1]
    assert "--seed" in woken["args"]
    assert not alive(woken["pid"])
    asked = bench.noted("audit", "audit")[-1]["args"]
    assert asked[asked.index("--rpc") + 1].startswith("http://127.0.0.1:")
    bench.tell(doubled=1)
    assert bench.call("audit", "--state-dir", str(bench.state)).returncode == 1
    nodes = len(bench.noted("runs", "localnet"))
    bench.call("audit", "--state-dir", str(bench.state), "--rpc", "http://node.example", "--ledger", "/x.db")
    asked = bench.noted("audit", "audit")[-1]["args"]
    assert asked[asked.index("--rpc") + 1] == "http://node.example"
    assert asked[asked.index("--ledger") + 1] == "/x.db"
    assert len(bench.noted("runs", "localnet")) == nodes


def test_the_audit_of_a_running_bot_asks_its_localnet(bench: Bench):
    """Without disturbing the run."""
    runner = bench.run()
    bench.trading()
    answer = bench.call("audit", "--state-dir", str(bench.state), "--output", "json")
    assert answer.returncode == 0, answer.stderr
    assert len(bench.noted("runs", "localnet")) == 1
    runner.send_signal(signal.SIGTERM)
    assert finish(runner)[0] == 0


def test_commands_on_a_bot_that_never_ran_say_so(bench: Bench):
    """Exit code 2, with the place that was looked at."""
    for command in (("audit",), ("reset-tier", "--reason", "x")):
        answer = bench.call(*command, "--state-dir", str(bench.state))
        assert answer.returncode == 2
        assert f"no bot ever ran in {bench.state}" in answer.stderr
    assert bench.call("audit").returncode == 2


def test_reset_tier_is_the_engines_own_command(bench: Bench):
    """With the reason; by the bot's name in the default place as well."""
    assert finish(bench.run("--duration", "300ms"))[0] == 0
    answer = bench.call("reset-tier", "--state-dir", str(bench.state), "--reason", "looked into it")
    assert (answer.returncode, answer.stdout) == (0, "reset: looked into it\n")
