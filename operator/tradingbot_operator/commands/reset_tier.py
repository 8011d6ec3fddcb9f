"""`tradingbot reset-tier`: clear a drawdown tier by hand, journalled with the reason."""

import subprocess

from tradingbot_operator.local.process import ENGINE, child_environment
from tradingbot_operator.local.state_dir import StateDir


def reset_tier(state: StateDir, reason: str) -> int:
    """Run the engine's own command over a state directory and return its exit code."""
    command = [*ENGINE, "reset-tier", "--state-dir", str(state.path), "--reason", reason]
    done = subprocess.run(command, env=child_environment(), check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    return done.returncode if done.returncode >= 0 else 1
