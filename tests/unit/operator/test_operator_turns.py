"""Whose turn it is when a thousand bots want one: how many at once, who goes first, and what is no reason for another turn."""

import asyncio

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration
from support.operator_stage import KEY, Stage

from tradingbot_operator.engine_port import Address
from tradingbot_operator.engines import Engines
from tradingbot_operator.handlers import work as work_module
from tradingbot_operator.handlers.events import changes
from tradingbot_operator.handlers.work import AT_ONCE, Work
from tradingbot_operator.kube import client as client_module
from tradingbot_operator.kube.access import configuration, kopf_login
from tradingbot_operator.kube.client import KubeClient
from tradingbot_operator.kube.kinds import CONFIG_MAP
from tradingbot_operator.ports import put_right
from tradingbot_operator.turnstile import Turnstile


def keys(count: int) -> list[tuple[str, str]]:
    return [("n", f"bot-{number}") for number in range(count)]


async def test_only_some_of_a_thousand_passes_are_under_way_and_each_has_its_turn():
    """Passes that are all begun are all told of last."""
    running, most, done = 0, 0, 0

    async def run(_: object) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running, done = running - 1, done + 1

    work = Work(run)
    for key in keys(1000):
        work.wake(key)
    while work.waiting:
        await asyncio.sleep(0)
    assert (most, done) == (AT_ONCE, 1000)


async def test_passes_that_hang_slow_the_others_down_and_stop_none(monkeypatch):
    """However many of them there are, each place is free again after a while."""
    monkeypatch.setattr(work_module, "SLOW_S", 0.01)
    done = []

    async def run(key: tuple[str, str]) -> None:
        if int(key[1].removeprefix("bot-")) < 3 * AT_ONCE:
            await asyncio.Event().wait()
        done.append(key)

    work = Work(run)
    for key in keys(4 * AT_ONCE):
        work.wake(key)
    async with asyncio.timeout(30):
        while len(done) < AT_ONCE:
            await asyncio.sleep(0.005)
    assert sorted(done) == sorted(keys(4 * AT_ONCE)[3 * AT_ONCE :])
    assert work.waiting == 3 * AT_ONCE, "one that hangs was taken for done"
    await work.stop()


async def test_a_pass_that_waits_for_an_engine_alone_takes_no_place():
    """Engines that hang, however many, are not noticed by the bots of others."""
    done = []

    async def run(key: tuple[str, str]) -> None:
        if int(key[1].removeprefix("bot-")) < 3 * AT_ONCE:
            work.idle(key)
            await asyncio.Event().wait()
        done.append(key)

    work = Work(run)
    for key in keys(4 * AT_ONCE):
        work.wake(key)
    await asyncio.sleep(0.05)
    assert len(done) == AT_ONCE
    await work.stop()


async def test_bots_with_engines_go_first():
    """A pause must not wait until all bots are made that somebody applied before."""
    order: list[tuple[str, str]] = []

    async def run(key: tuple[str, str]) -> None:
        order.append(key)
        await asyncio.sleep(0)

    trades = keys(100)[-1]
    work = Work(run, first=lambda key: key == trades)
    for key in keys(100):
        work.wake(key)
    while work.waiting:
        await asyncio.sleep(0)
    assert order.index(trades) <= 2 * AT_ONCE
    assert len(order) == 100


async def test_what_waited_for_a_place_and_was_given_up_leaves_it_to_the_next():
    """Or the limit would shrink with every one."""
    turnstile = Turnstile(1, patience_s=60.0)
    entered: list[str] = []

    async def enter(name: str) -> None:
        async with turnstile.enter():
            entered.append(name)

    async with turnstile.enter():
        tasks = [asyncio.create_task(enter(name)) for name in ("given up", "next")]
        await asyncio.sleep(0)
    tasks[0].cancel()  # in the very moment in which it was given its place
    await asyncio.wait(tasks, timeout=5)
    assert entered == ["next"]
    async with asyncio.timeout(5), turnstile.enter():
        pass


async def test_what_a_pass_wrote_itself_is_no_reason_for_another_one_and_all_else_is():
    """The watch tells of our own writes before their answers come; a word about anybody else's must not be lost."""
    passes: list[tuple[str, str]] = []
    told: list[tuple[str, str] | None] = []

    async def run(key: tuple[str, str]) -> None:
        passes.append(key)
        if len(passes) == 1:
            for cause in told:
                work.wake(key, cause)
            work.wrote(key, ("uid-1", "7"))

    work = Work(run)
    for causes, expected in (
        ([("uid-1", "7")], 1),
        ([("uid-1", "7"), ("uid-1", "6")], 2),  # somebody's, from before ours
        ([("uid-1", "7"), ("uid-1", "8")], 2),
        ([("uid-2", "7")], 2),
        ([("uid-1", "7"), None], 2),
    ):
        passes.clear()
        told[:] = causes
        work.wake(KEY)
        while work.waiting:
            await asyncio.sleep(0)
        assert len(passes) == expected, causes


async def test_what_was_told_before_a_pass_looked_needs_no_second_one():
    """It will see it."""
    passes = []

    async def run(key: tuple[str, str]) -> None:
        passes.append(key)
        await asyncio.sleep(0)

    work = Work(run)
    for _ in range(3):
        work.wake(KEY)
        work.wake(KEY, ("uid", "1"))
    while work.waiting:
        await asyncio.sleep(0)
    assert passes == [KEY]


async def test_the_wait_for_a_place_is_no_part_of_a_requests_time(monkeypatch):
    """Or a thousand bots that are applied at once time out in our own queue, and do it all again."""
    monkeypatch.setattr(client_module, "REQUEST_S", 0.5)
    monkeypatch.setattr(client_module, "AT_ONCE", 2)
    running, most = 0, 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return web.json_response({"metadata": {}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    access = Configuration()
    access.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    client = KubeClient(access)
    try:
        found = await asyncio.gather(*(client.get(CONFIG_MAP, "n", f"x-{n}") for n in range(40)))
    finally:
        await client.close()
        await runner.cleanup()
    assert (len(found), most) == (40, 2)


async def test_a_new_bot_is_made_without_a_single_question():
    """A thousand at once are a thousand times what one costs; the answer to a creation says all that a question would."""
    stage = Stage()
    asked: list[tuple[str, str]] = []
    stage.kube.fault = lambda verb, kind, name: asked.append((verb, kind)) if verb in ("get", "list") else None
    stage.apply()
    await stage.turn()
    assert stage.bot["status"]["observedGeneration"] == 1
    assert {"Deployment", "Secret"} <= stage.kinds()
    await stage.turn()
    assert asked == []
    assert stage.woken == []
    secret = stage.kube.objects["Secret", "trading", "bonk-admin"]["data"]["token"]
    assert stage.reconciler._lookups.token(KEY)
    assert secret


async def test_a_secret_that_an_earlier_bot_left_behind_is_found_and_kept():
    """The wallet of a bot on localnet outlives it, as its ledger does."""
    stage = Stage()
    stage.apply(cluster="localnet", rpc={})
    await stage.turn(2)
    before = stage.kube.objects["Secret", "trading", "bonk-wallet"]
    for place in [place for place in stage.kube.objects if place[2] != "bonk-wallet"]:
        stage.kube.objects[place]["metadata"].pop("finalizers", None)
        stage.kube.remove(*place)
    await stage.turn()
    stage.restart()
    stage.woken.clear()
    stage.apply(cluster="localnet", rpc={})
    await stage.turn()
    assert KEY in stage.woken, "what was there already is read by the next pass"
    stage.kube.writes.clear()
    await stage.turn(2)
    assert ("create", "Secret", "bonk-wallet") not in stage.kube.writes
    assert stage.kube.objects["Secret", "trading", "bonk-wallet"] == before


def test_a_bot_that_starts_is_no_news_and_one_that_stops_is():
    """No pod yet, and then one that is not ready, is how every bot begins."""
    no_pod = {"type": "Trading", "status": "False", "reason": "NoPod"}
    not_ready = {"type": "Ready", "status": "False", "reason": "PodNotReady"}
    unknown = {"type": "Ready", "status": "Unknown", "reason": "Pending"}
    trades = {"type": "Trading", "status": "True", "reason": "Trading"}
    ready = {"type": "Ready", "status": "True", "reason": "AllReady"}
    assert changes({"conditions": [unknown]}, [no_pod, not_ready]) == []
    assert changes({"conditions": [trades, ready]}, [no_pod, not_ready]) == [no_pod, not_ready]


# --- what an engine says
class Port:
    """An engine that says what a test wants, asked as fast as can be."""

    def __init__(self) -> None:
        self.page: dict[str, object] = {}
        self.asked = asyncio.Event()

    async def status(self, address: Address, token: str) -> dict[str, object]:
        self.asked.set()
        return dict(self.page)

    async def again(self) -> None:
        """Wait until it was asked twice more: then the first of these answers was looked at."""
        for _ in range(3):
            self.asked.clear()
            await self.asked.wait()


async def test_trouble_of_a_waiting_exit_is_told_at_once_and_numbers_are_not():
    """Only what a person would act upon wakes the bot; numbers in it move all the time."""
    port, woken = Port(), []
    engines = Engines(port=port, every_s=0.001, wake=woken.append, monotonic_s=asyncio.get_running_loop().time)  # type: ignore[arg-type]

    def page(trouble: str, why: str, left: int = 2) -> dict[str, object]:
        position = {"symbol": "BONK", "strategy": "momentum", "trouble": trouble}
        reasons = [{"type": "ClosingOut", "since": 1, "message": why}]
        return {"phase": "READY", "reasons": reasons, "closing": {"positionsLeft": left, "positions": [position]}}

    port.page = page("", "2 positions left")
    async with asyncio.timeout(30):
        engines.watch(KEY, {"pod": Address("127.0.0.1", 1)}, "token")
        await port.again()
        for changed, tells in (
            (page("ABANDONED: no route", "2 positions left"), True),
            (page("ABANDONED: slippage of 120 bps", "2 positions left"), True),
            (page("ABANDONED: slippage of 131.5 bps", "2 positions left"), False),
            (page("ABANDONED: slippage of 131.5 bps", "2 positions left: no RPC node may be asked"), True),
            (page("ABANDONED: slippage of 131.5 bps", "3 positions left: no RPC node may be asked"), False),
            (page("ABANDONED: slippage of 131.5 bps", "3 positions left: no RPC node may be asked", left=1), True),
            (page("", "3 positions left: no RPC node may be asked", left=1), True),
        ):
            woken.clear()
            port.page = changed
            await port.again()
            assert bool(woken) is tells, changed
    await engines.stop()


# --- ports that somebody changed
def deployment(*ports: dict[str, object], strategy: str = "Recreate") -> dict[str, object]:
    containers = [
        {"name": "mesh", "ports": [{"name": "admin", "containerPort": 1}]},
        {"name": "engine", "ports": [*ports]},
    ]
    return {
        "kind": "Deployment",
        "spec": {"strategy": {"type": strategy}, "template": {"spec": {"containers": containers}}},
    }


def test_a_port_that_bears_our_name_is_replaced_in_place_and_others_stay():
    """In one write with the strategy, which says whether a second engine may start beside the first."""
    admin, mesh = {"name": "admin", "containerPort": 8080, "protocol": "TCP"}, {"name": "extra", "containerPort": 9}
    wanted = deployment(admin)
    wanted["spec"]["template"]["spec"]["containers"].pop(0)
    for moved in ({**admin, "containerPort": 81}, {**admin, "protocol": "UDP"}):
        assert put_right(wanted, deployment(mesh, moved, strategy="RollingUpdate")) == {
            "/spec/template/spec/containers/1/ports": [admin, mesh],
            "/spec/strategy": {"type": "Recreate"},
        }
    assert put_right(wanted, deployment(admin, mesh)) == {}
    assert put_right(wanted, deployment()) == {}
    service = {"kind": "Service", "spec": {"ports": [{"name": "admin", "port": 80, "protocol": "TCP"}]}}
    moved = {"kind": "Service", "spec": {"ports": [{"name": "admin", "port": 81}]}}
    assert put_right(service, moved) == {"/spec/ports": service["spec"]["ports"]}
    assert put_right({"kind": "ConfigMap"}, {"kind": "ConfigMap"}) == {}


# --- how the API server is reached
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: x, user: x}}]
clusters: [{name: x, cluster: {server: "http://api.test:8001"}}]
users: [{name: x, user: {token: secret-token}}]
"""


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"http_proxy": "http://127.0.0.1:3128"}, "http://127.0.0.1:3128"),
        ({"http_proxy": "http://127.0.0.1:3128", "no_proxy": "api.test"}, None),
    ],
)
async def test_the_environments_proxy_is_looked_up_once_and_no_netrc(tmp_path, monkeypatch, environment, proxy):
    """A password for the host in ~/.netrc must not stand in the token's way, and no request costs two threads."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "netrc").write_text("machine api.test login a password b")
    (tmp_path / "config").write_text(KUBECONFIG)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    access = await configuration(kubeconfig=str(tmp_path / "config"))
    assert access.proxy == proxy
    assert (await kopf_login(access)).proxy_url == proxy
    client = KubeClient(access)
    try:
        session = client._api.rest_client._create_pool_manager()
        assert not session.trust_env
        await session.close()
    finally:
        await client.close()
