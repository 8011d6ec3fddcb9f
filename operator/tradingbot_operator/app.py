"""The operator wired together: settings in, a running operator out."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import aiohttp
import kopf

from tradingbot_operator import __version__
from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.clock import Clock, SystemClock
from tradingbot_operator.desired.bot import Context
from tradingbot_operator.engine_port import EnginePort
from tradingbot_operator.engines import Engines
from tradingbot_operator.errors import Failed
from tradingbot_operator.handlers.events import Events
from tradingbot_operator.handlers.kopf_tasks import run_kopf, take_signals
from tradingbot_operator.handlers.lookups import Lookups
from tradingbot_operator.handlers.reconcile import Reconciler
from tradingbot_operator.handlers.resync import Resync
from tradingbot_operator.handlers.wanted import Wants
from tradingbot_operator.handlers.watches import Watches, kopf_settings
from tradingbot_operator.handlers.work import Work
from tradingbot_operator.kube.access import configuration, kopf_login
from tradingbot_operator.kube.client import KubeClient
from tradingbot_operator.kube.errors import KubeError
from tradingbot_operator.kube.guard import LeaderOnly
from tradingbot_operator.kube.kinds import NAMESPACE, TRADING_BOT
from tradingbot_operator.kube.lease import RENEW_S, Leadership
from tradingbot_operator.kube.store import Store
from tradingbot_operator.metrics import Metrics
from tradingbot_operator.probes import Probes
from tradingbot_operator.settings import OperatorSettings

_log = logging.getLogger(__name__)
RETRY_S = 5.0


class Operator:
    """One operator; `run` it once."""

    def __init__(self, settings: OperatorSettings, *, clock: Clock | None = None) -> None:
        self._settings, self._clock = settings, clock or SystemClock()
        self._metrics = Metrics()
        self._stop = asyncio.Event()
        self._watching = asyncio.Event()

    def stop(self) -> None:
        """End: pods go on, and the next operator begins with what it then finds."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until told to stop; raise Failed if the watches cannot be kept."""
        take_signals(self.stop)
        serving = asyncio.create_task(self._serve(), name="serving")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        if serving.done() and not self._stop.is_set():
            await _end([stopping])
            serving.result()
            return
        began_s = self._clock.monotonic_s()
        await _end([serving, stopping])
        _log.info(
            "ended in %.1f s: bots go on, and the next operator begins with what it then finds",
            self._clock.monotonic_s() - began_s,
        )

    async def _serve(self) -> None:
        """Serve until cancelled; what was begun first is ended last."""
        settings, clock, metrics = self._settings, self._clock, self._metrics
        async with AsyncExitStack() as at_the_end:
            access = await configuration(kubeconfig=settings.kubeconfig, context=settings.context)
            client = KubeClient(access, observe=metrics.request)
            at_the_end.push_async_callback(client.close)
            # Connections of its own: a renewal that queues behind what a thousand bots ask for comes too late.
            leases = KubeClient(access, observe=metrics.request)
            at_the_end.push_async_callback(leases.close)
            session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), trust_env=False)
            at_the_end.push_async_callback(session.close)
            port = EnginePort(session=session, timeout_s=settings.engine_timeout_s)
            leadership = Leadership(
                gateway=leases,
                namespace=settings.operator_namespace,
                identity=settings.identity,
                monotonic_s=clock.monotonic_s,
                now=clock.now,
            )
            gateway = LeaderOnly(client, leads=lambda: leadership.leads)
            store = Store()
            lookups = Lookups(gateway=gateway, clock=clock)
            # A pause must reach a running engine in seconds, however many bots are being made.
            work = Work(lambda key: reconciler.run(key), first=lambda key: engines.asks(key))
            engines = Engines(port=port, every_s=settings.engine_every_s, wake=work.wake, monotonic_s=clock.monotonic_s)
            resync = Resync(
                gateway=client,
                store=store,
                namespaces=settings.namespaces or (None,),
                every_s=settings.resync_s,
                wake=work.wake,
                clock=clock,
                missed=lambda kind, seconds: metrics.stale_s.labels(kind.name).set(seconds),
            )
            watches = Watches(store=store, wake=work.wake, relisted=resync.soon)

            def refresh() -> None:
                metrics.bots.set(len(store.bots()))
                metrics.running.set(work.waiting)
                metrics.leads.set(leadership.leads)

            probes = Probes(
                metrics=metrics, stale_s=lambda: resync.stale_s, ready=self._watching.is_set, refresh=refresh
            )
            at_the_end.push_async_callback(probes.stop)
            await probes.start(settings.host, settings.port, settings.port_file)
            context = await self._until_it_works(client)
            reconciler = Reconciler(
                gateway=gateway,
                store=store,
                wants=Wants(context=context, catalogue=catalogue()),
                lookups=lookups,
                engines=engines,
                port=port,
                events=Events(gateway=gateway, clock=clock, identity=settings.identity),
                metrics=metrics,
                clock=clock,
                leads=lambda: leadership.leads,
                failures=work.failures,
                wake=work.wake,
                wrote=work.wrote,
                idle=work.idle,
                woken_ago_s=work.woken_ago_s,
                numbers_every_s=settings.numbers_every_s,
            )
            at_the_end.push_async_callback(leadership.release)
            at_the_end.push_async_callback(engines.stop)
            tasks = [
                asyncio.create_task(self._lead(leadership, store, work, watches, resync), name="leadership"),
                asyncio.create_task(resync.run(), name="resync"),
                asyncio.create_task(self._watch(watches, access), name="watches"),
            ]
            at_the_end.push_async_callback(_end, tasks)
            at_the_end.push_async_callback(work.stop)  # first of all: what a pass has begun it may finish
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ended = next(task for task in tasks if task.done())
            error = ended.exception()
            raise Failed(f"{ended.get_name()} ended: {error or 'nobody told it to'}") from error

    async def _until_it_works(self, client: KubeClient) -> Context:
        """Wait for the API server and the definition of the resource."""
        settings, said = self._settings, ""
        while True:
            try:
                if await client.served(TRADING_BOT):
                    return Context(
                        engine_image=settings.engine_image,
                        operator_version=__version__,
                        operator_namespace=settings.operator_namespace,
                        cluster_id=settings.cluster_id or await self._cluster_id(client),
                        pull_policy=settings.pull_policy,
                        pull_secrets=settings.pull_secrets,
                        scraper_namespaces=settings.scraper_namespaces,
                    )
                why = "the cluster knows no TradingBot: install the chart tradingbot-crds"
            except KubeError as error:
                why = str(error)
            if why != said:
                _log.warning("waiting: %s", why)
                said = why
            await asyncio.sleep(RETRY_S)

    async def _cluster_id(self, client: KubeClient) -> str:
        found = await client.get(NAMESPACE, "", "kube-system")
        if found is None:
            raise Failed("the cluster has no namespace kube-system: name the cluster by --cluster-id")
        return str(found["metadata"]["uid"])

    async def _lead(self, leadership: Leadership, store: Store, work: Work, watches: Watches, resync: Resync) -> None:
        """Hold the Lease; wake every bot when it becomes ours, and when it was not for a moment: passes did nothing then."""
        term, told = 0, ""
        while True:
            try:
                await leadership.step()
            except KubeError as error:
                _log.warning("the Lease cannot be renewed: %s", error)
            await self._notice_readiness(watches, resync)
            if leadership.leads and leadership.terms != term:
                term = leadership.terms
                _log.info("this operator acts (%s)", self._settings.identity)
                if watches.complete:
                    for bot in store.bots():
                        work.wake((bot.namespace, bot.name))
            elif not leadership.leads and leadership.holder != told:
                told = leadership.holder
                _log.warning("another operator acts (%s): this one watches and changes nothing", told)
            await asyncio.sleep(RENEW_S if leadership.leads and self._watching.is_set() else RENEW_S / 5)

    async def _notice_readiness(self, watches: Watches, resync: Resync) -> None:
        """Ready is who has seen everything once, whether it acts or waits for its turn."""
        if self._watching.is_set():
            return
        with suppress(KubeError):
            if watches.complete or await resync.nothing_there():
                self._watching.set()
                _log.info("everything was listed")

    async def _watch(self, watches: Watches, access: object) -> None:
        """Run kopf until cancelled."""
        registry = watches.registry()

        async def login(**_: object) -> kopf.ConnectionInfo:
            return await kopf_login(access)  # type: ignore[arg-type]

        kopf.on.login(registry=registry)(login)
        namespaces = self._settings.namespaces
        await run_kopf(registry, settings=kopf_settings(namespaces), namespaces=namespaces, told_to_end=self.stop)


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
