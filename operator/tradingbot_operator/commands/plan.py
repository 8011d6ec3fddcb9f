"""`tradingbot plan`: what the operator would do next for the bots of a manifest, without changing anything."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import click

from tradingbot_operator import __version__
from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.clock import SystemClock
from tradingbot_operator.crd.v1alpha1 import TradingBotSpec
from tradingbot_operator.desired.bot import Context
from tradingbot_operator.errors import BadInput, Failed
from tradingbot_operator.handlers.lookups import Lookups
from tradingbot_operator.handlers.wanted import Sound, Wants
from tradingbot_operator.handlers.watches import MANAGED
from tradingbot_operator.kube.access import configuration
from tradingbot_operator.kube.client import KubeClient
from tradingbot_operator.kube.errors import Forbidden, KubeError
from tradingbot_operator.kube.gateway import Object
from tradingbot_operator.kube.kinds import NAMESPACE, TRADING_BOT, WATCHED
from tradingbot_operator.kube.store import Store
from tradingbot_operator.manifest.load import load
from tradingbot_operator.observed import Observed, children_of, pods_of
from tradingbot_operator.plan import plan
from tradingbot_operator.steps import Step, as_data, in_words

NEW_UID = "00000000-0000-0000-0000-000000000000"
"""Of a bot that does not exist yet."""


def show_plan(
    files: Sequence[str], *, kubeconfig: str | None, context: str | None, image: str, namespace: str, output: str
) -> None:
    """
    Print the plan of each bot in the manifests.

    Raises:
        BadInput: A manifest is wrong, or no cluster can be reached.
        Failed: The cluster does not answer.
    """
    bundle = load(files, catalogue())
    if bundle.problems:
        raise BadInput("\n".join(str(problem) for problem in bundle.problems))
    if not bundle.bots:
        raise BadInput("the files hold no TradingBot")
    documents = [bot.bot.model_dump(by_alias=True, exclude_none=True, mode="json") for bot in bundle.bots]
    try:
        found = asyncio.run(
            _plans(documents, kubeconfig=kubeconfig, context=context, image=image, operator_namespace=namespace)
        )
    except KubeError as error:
        raise Failed(str(error)) from None
    if output == "json":
        out = [{"namespace": n, "name": m, "steps": [as_data(step) for step in steps]} for n, m, steps in found]
        click.echo(json.dumps(out, indent=2))
        return
    for where, name, steps in found:
        click.echo(f"{where}/{name}: {'nothing to do' if not steps else f'{len(steps)} steps'}")
        for step in steps:
            click.echo(f"  {in_words(step)}")


async def _plans(
    documents: Sequence[dict[str, Any]],
    *,
    kubeconfig: str | None,
    context: str | None,
    image: str,
    operator_namespace: str,
) -> list[tuple[str, str, tuple[Step, ...]]]:
    client = KubeClient(await configuration(kubeconfig=kubeconfig, context=context))
    try:
        kube_system = await _maybe(client)
        wants = Wants(
            context=Context(
                engine_image=image,
                operator_version=__version__,
                operator_namespace=operator_namespace,
                cluster_id=kube_system,
            ),
            catalogue=catalogue(),
        )
        return [await _plan(client, wants, document) for document in documents]
    finally:
        await client.close()


async def _maybe(client: KubeClient) -> str:
    """Return the uid of kube-system; a person may have no right to read it, which changes one setting in the plan."""
    try:
        found = await client.get(NAMESPACE, "", "kube-system")
    except Forbidden:
        found = None
    return str(found["metadata"]["uid"]) if found else "unknown"


async def _plan(client: KubeClient, wants: Wants, document: dict[str, Any]) -> tuple[str, str, tuple[Step, ...]]:
    meta = document["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    store = Store()
    for body in await client.list(TRADING_BOT, namespace):
        store.put(body)
    for kind in WATCHED:
        for body in await client.list(kind, namespace, labels=MANAGED):
            store.put(body)
    there = store.bot((namespace, name))
    bot = _as_if_applied(document, there.body if there else None)
    verdict = wants.verdict(bot)
    if not isinstance(verdict, Sound):
        raise BadInput("; ".join(verdict.problems))
    others = [wants.verdict(other.body) for other in store.bots(namespace) if other.name != name]
    peers = [peer for peer in others if isinstance(peer, Sound) and peer.localnet == verdict.localnet]
    wanted = wants.wanted(verdict, [verdict, *peers] if verdict.localnet else ())
    lookups = Lookups(gateway=client, clock=SystemClock())
    stored = store.children((namespace, name))
    observed = Observed(
        now=SystemClock().now(),
        bot=bot,
        children=children_of(stored),
        localnet=children_of(store.localnet(namespace, verdict.localnet)) if verdict.localnet else {},
        localnet_users=frozenset({name, *(peer.bot.name for peer in peers)}),
        pods=pods_of(stored),
        secrets=await lookups.own((namespace, name), wanted.secrets),
        missing=await lookups.missing((namespace, name), verdict.references),
    )
    return (namespace, name, plan(observed, wanted))


def _as_if_applied(document: dict[str, Any], there: Object | None) -> Object:
    """Return the bot as it would stand in the cluster after the manifest was applied."""
    if there is None:
        return {**document, "metadata": {**document["metadata"], "uid": NEW_UID, "generation": 1, "finalizers": []}}
    specs = [TradingBotSpec.model_validate(body.get("spec")) for body in (there, document)]  # defaults filled in both
    generation = int(there["metadata"]["generation"]) + (specs[0] != specs[1])
    return {**there, "spec": document["spec"], "metadata": {**there["metadata"], "generation": generation}}
