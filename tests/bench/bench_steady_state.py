"""
`steady-state`: requests to the API server per bot and minute while nothing changes but what engines count.

Counted in the API server's own audit log, for the operator's account: its Lease, its lists and its watches included, which few bots
must bear (BOTS=1000 tells what many do). Every engine's numbers differ at every question, which is the worst case: a status is
written as often as one ever is. The window holds two rounds of all lists.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench.bench_reconcile import all_trade
from support.bot_fleet import all_reconciled, an_api_server, at_once, engines, let_run, manifest
from support.kube_account import audit_arguments, kubeconfig_of
from support.kube_person import Person
from support.operator_rig import SYSTEM, operator

BOTS = int(os.environ.get("BOTS", "50"))
SETTLE_S = 30.0
WINDOW_S = 600.0


async def main(emit: Callable[..., None]) -> None:
    """Emit requests and processor time."""
    with tempfile.TemporaryDirectory() as name, an_api_server(arguments=audit_arguments(Path(name))) as api:
        folder = Path(name)
        api.kubectl("create", "serviceaccount", "operator", f"--namespace={SYSTEM}")
        api.kubectl(
            "create", "clusterrolebinding", "operator", "--clusterrole=cluster-admin", f"--serviceaccount={SYSTEM}:operator"
        )  # fmt: skip
        kubeconfig = kubeconfig_of(api, folder, namespace=SYSTEM, account="operator")
        async with Person(api.kubeconfig) as person, engines() as port:
            with operator(kubeconfig, folder / "operator", "--engine-every", "5s") as running:
                await running.ready()
                await at_once(person.create, [manifest(number) for number in range(BOTS)])
                await all_reconciled(person, BOTS)

                async def run(number: int) -> None:
                    await let_run(person, number, port=port)

                await at_once(run, range(BOTS))
                await all_trade(person)
                await asyncio.sleep(SETTLE_S)
                at, began_s, cpu_s = (folder / "audit.log").stat().st_size, time.monotonic(), running.cpu_s()
                await asyncio.sleep(WINDOW_S)
                minutes = (time.monotonic() - began_s) / 60
                cpu_s = running.cpu_s() - cpu_s
                rss_mib = running.rss_mib()
                log = (folder / "audit.log").read_bytes()[at:]
    whole = log[: log.rfind(b"\n") + 1]
    asked = Counter(filter(None, map(request, whole.splitlines())))
    print(asked.most_common(8), file=sys.stderr, flush=True)
    emit("steady-state requests per bot and minute", asked.total() / BOTS / minutes, "requests", "lower", None, 1.0)
    emit("steady-state processor time", cpu_s / minutes / 60 * 100, "% of a core", "lower")
    emit("steady-state RSS", rss_mib, "MiB", "lower", None, 250)


def request(line: bytes) -> str:
    """Return what was asked for, in words; nothing for the begin of a watch, whose end is told as well."""
    event = json.loads(line)
    if event["stage"] != "ResponseComplete":
        return ""
    what = event.get("objectRef") or {}
    return f"{event['verb']} {what.get('resource', event['requestURI'])}"
