"""A manifest that grows: `tradingbot run` on the same state directory with one token more."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

SAMPLE = Path(__file__).parents[2] / "crds" / "samples" / "first-bot.yaml"
ADDED = "SRMuApVNdxXokk5GT7XD5cUUgXMBCoAz2LHeuAoKWRt"
PATIENCE_S = 90.0


class Runs:
    """Runs of one bot, one after the other, each with a manifest of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.manifest = folder / "bot.yaml"

    def run(self, *, tokens: list[dict[str, str]], until: Any) -> dict[str, Any]:
        """Run until the engine's log satisfies `until`, drain, and return the summary."""
        manifest = yaml.safe_load(SAMPLE.read_text())
        manifest["spec"]["market"]["tokens"] = tokens
        self.manifest.write_text(yaml.safe_dump(manifest))
        log = self.state / "logs" / "engine.log"
        begins = log.stat().st_size if log.exists() else 0
        command = (sys.executable, "-m", "tradingbot_operator", "run", "-f", str(self.manifest))
        options = ("--slot-ms", "50", "--speed", "240", "--seed", "11", "--output", "json")
        runner = subprocess.Popen(
            [*command, "--state-dir", str(self.state), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline and runner.poll() is None:
                if log.exists() and until(log.read_bytes()[begins:].decode()):
                    break
                time.sleep(0.05)
            else:
                runner.terminate()
                raise AssertionError(f"did not happen\n{runner.communicate(timeout=PATIENCE_S)[1]}")
            runner.send_signal(signal.SIGINT)
            out, err = runner.communicate(timeout=PATIENCE_S)
        finally:
            if runner.poll() is None:
                runner.kill()
                runner.communicate()
        assert runner.returncode == 0, err
        return json.loads(out)


def filled(log: str, mint: str) -> int:
    """Return how many trades of a token the log says were filled."""
    return sum('"trade settled"' in line and '"DONE"' in line and mint in line for line in log.splitlines())


def test_a_token_added_to_the_manifest_is_traded_by_the_next_run(tmp_path: Path):
    """Localnet lists it on resume; what was held and known before is as it was; the audit is 0/0/0."""
    runs = Runs(tmp_path)
    tokens = yaml.safe_load(SAMPLE.read_text())["spec"]["market"]["tokens"]
    first = runs.run(tokens=tokens, until=lambda log: '"trade settled"' in log and '"DONE"' in log)
    added = {"mint": ADDED, "symbol": "SRM"}
    second = runs.run(tokens=[*tokens, added], until=lambda log: filled(log, ADDED) >= 1)
    assert min(first["filled"], second["filled"]) >= 1  # each counts its own run
    for summary in (first, second):
        assert (summary["doubled"], summary["lost"], summary["phantom"], summary["open"]) == (0, 0, 0, 0)
