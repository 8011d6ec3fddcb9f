"""
`first-trade`: from a TradingBot's apply to its first trade, beside a plain Deployment of the same image becoming Ready.

On the cluster of the end-to-end tests (E2E_CLUSTER, E2E_NAME), images on all nodes, the localnet of the namespace there already,
as any other chain would be, and the wallet funded by an earlier life of the bot, whose ledger it goes on with: a new wallet waits
some 13 s for its play money to be final. The bot's strategy buys whatever has risen at all: it is the way to a trade that is measured, not
the market's mood. Both are done in turn, ROUNDS times; the goal stands for the medians. A trade is done when the ledger holds it
as confirmed by the chain; how long each part of the way took goes to standard error.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from e2e.bot import Bot, manifest
from e2e.kube import Json, Kube, Refused, wait_for
from e2e.nursery import keeper, remove
from e2e.world import the_world

ROUNDS = int(os.environ.get("ROUNDS", "5"))
ALLOWED_S = 3.0
"""What a bot may take longer than a container that does nothing: to start, to look into its ledger and its market, to trade."""
EAGER: list[Json] = [
    {
        "name": "momentum",
        "type": "momentum_5m",
        "allocationPercent": 50,
        "parameters": {"minReturnPercent": 0.1, "volumeRatio": 0, "minLiquidityUsd": 0, "maxImpactPercent": 50},
    }
]
STEPS = """\
import json, sqlite3, sys
db = sqlite3.connect("file:/var/lib/tradingbot/ledger.db?mode=ro", uri=True)
sql = "SELECT event, to_state, min(at_ms) FROM transitions WHERE at_ms > ? GROUP BY event, to_state ORDER BY 3"
print(json.dumps(db.execute(sql, (int(sys.argv[1]),)).fetchall()))
"""


async def main(emit: Callable[..., None]) -> None:
    """Emit the medians."""
    with the_world() as world:
        kube = world.kube.of("first-trade")
        kube.run("create", "namespace", kube.namespace)
        try:
            kube.apply(keeper())
            first_trade(Bot(kube))
            plain: list[float] = []
            ours: list[float] = []
            for number in range(ROUNDS):
                plain.append(becoming_ready(kube, f"plain-{number}", world.engine_image))
                ours.append(first_trade(Bot(kube)))
        finally:
            remove(kube)
    baseline_s = statistics.median(plain)
    emit(
        "first-trade from apply to a confirmed trade",
        statistics.median(ours),
        "s",
        "lower",
        baseline_s,
        round(baseline_s + ALLOWED_S, 3),
    )


def becoming_ready(kube: Kube, name: str, image: str) -> float:
    """Return how long a Deployment takes whose container only sleeps."""
    labels = {"app": name}
    container = {"name": "sleeps", "image": image, "command": ["python3", "-c", "import time; time.sleep(1e6)"]}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }
    began_s = time.monotonic()
    kube.apply(body)
    kube.run("rollout", "status", f"deployment/{name}")
    took_s = time.monotonic() - began_s
    kube.run("delete", "deployment", name)
    wait_for("its pod is gone", lambda: not kube.items("pods", f"--selector=app={name}"))
    print(f"{name}: Ready after {took_s:.2f} s", file=sys.stderr, flush=True)
    return took_s


def first_trade(bot: Bot) -> float:
    """Return how long a bot takes to its first confirmed trade; times are the ledger's, on the same machine's clock."""
    began_ms = time.time() * 1000
    bot.kube.apply(manifest(bot.name, strategies=EAGER))
    steps = wait_for("a confirmed trade", lambda: confirmed(steps_of(bot, since_ms=began_ms)), every_s=1.0)
    pod = bot.pod()
    starts = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    way = {name: round((at_ms - began_ms) / 1000, 2) for name, at_ms in steps.items()}
    said = {"pod": pod["metadata"]["creationTimestamp"], "container": starts, **way}
    print(f"{bot.name}: {said}", file=sys.stderr, flush=True)
    bot.kube.run("delete", "tradingbot", bot.name, "--timeout=240s", within_s=300)
    return way["CONFIRMED"]


def steps_of(bot: Bot, *, since_ms: float) -> dict[str, float]:
    """Return when each kind of step was first taken since then, by its name."""
    try:
        said = bot.kube.python(f"deploy/{bot.engine_name}", STEPS, str(int(since_ms)), container="engine")
        rows: list[Any] = json.loads(said)
    except Refused:
        return {}
    return {str(to_state or event): float(at_ms) for event, to_state, at_ms in reversed(rows)}


def confirmed(steps: dict[str, float]) -> dict[str, float] | None:
    return steps if "CONFIRMED" in steps else None
