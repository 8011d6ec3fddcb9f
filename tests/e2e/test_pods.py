"""Engines that are ended in the middle of a trade, and pauses that outlive them."""

from __future__ import annotations

import subprocess
import time

from e2e.bot import ADMIN, Bot, restarts
from e2e.kube import wait_for
from e2e.story import Story
from e2e.world import World

WATCH_PAUSE = (
    ADMIN
    + """
wanted = sys.argv[1] == "true"
while ask("/v1/status")["paused"] != wanted:
    time.sleep(0.02)
print(time.time())
"""
)


def test_pod_deleted_mid_trade(trading: Bot, story: Story) -> None:
    """It drains within its grace period, and its successor goes on with the same ledger."""
    before, ledger, pod = trading.fills(), trading.engine()["botId"], trading.pod()
    count = trading.wait_in_flight()
    story.breaks(f"engine's pod deleted with {count} trade(s) in flight")
    with story.measured("pod deleted until the next trades"):
        trading.kube.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
        wait_for("another pod", lambda: trading.pod()["metadata"]["uid"] != pod["metadata"]["uid"])
        trading.wait_trading()
    engine = trading.engine()
    assert engine["botId"] == ledger, "a bot's id is drawn when its ledger is made"
    assert engine["intents"].get("DONE", 0) >= before, "trades are gone from the ledger"
    trading.wait_fills(before + 1)


def test_engine_killed_mid_trade(trading: Bot, story: Story, breakable: World) -> None:
    """No hook runs: what was in flight is found in the ledger and followed to its end by the same pod's next container."""
    before, pod = trading.fills(), trading.pod()
    count = trading.wait_in_flight()
    breakable.kill(pod)
    story.breaks(f"engine killed (SIGKILL) with {count} trade(s) in flight")
    with story.measured("kill until it trades again"):
        wait_for("a restart", lambda: restarts(trading.pod()) > restarts(pod))
        trading.wait_trading()
    assert trading.pod()["metadata"]["uid"] == pod["metadata"]["uid"]
    trading.wait_fills(before + 1)


def test_pause_reaches_the_engine_and_outlives_a_kill_within_a_second(
    trading: Bot, story: Story, breakable: World
) -> None:
    """What was told to an engine once is in its ledger: a crash takes no pause back."""
    pod = trading.pod()
    told_s = switched(trading, story, "pause", paused=True)
    breakable.kill(pod)
    story.breaks(f"engine killed {time.time() - told_s:.2f} s after it knew of its pause")
    wait_for("a restart", lambda: restarts(trading.pod()) > restarts(pod))
    engine = wait_for("its engine", trading.engine)
    assert engine["paused"], "the pause was lost with the process"
    trading.wait_condition("Ready", "True")
    trading.wait_condition("Trading", "False", "Paused")
    entries = [fill for fill in trading.engine()["fills"] if fill["purpose"] == "ENTRY"]
    time.sleep(15)
    later = [fill for fill in trading.engine()["fills"] if fill["purpose"] == "ENTRY"]
    assert {fill["signature"] for fill in later} <= {fill["signature"] for fill in entries}, "it bought while paused"
    fills = trading.fills()
    switched(trading, story, "resume", paused=False)
    trading.wait_trading()
    trading.wait_fills(fills)


def switched(bot: Bot, story: Story, word: str, *, paused: bool) -> float:
    """Change spec.paused; note how long until the engine knows; return when it knew, on the wall's clock."""
    line = [*bot.kube.program, f"--kubeconfig={bot.kube.kubeconfig}", f"--namespace={bot.kube.namespace}", "exec"]
    line += [f"deploy/{bot.engine_name}", "--container=engine", "--", "python3", "-c", WATCH_PAUSE, str(paused).lower()]
    watching = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(5)  # until it watches
        began_s = time.time()
        bot.patch(paused=paused)
        knew_s = float(watching.communicate(timeout=120)[0])
    finally:
        watching.kill()
        watching.wait()
    story.figure(f"{word}: write until the engine knows", knew_s - began_s)
    return knew_s
