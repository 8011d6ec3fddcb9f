"""
The operator with no more rights than its chart grants, on a real API server: it can do all of its work, and needs each right.

Bots live their whole lives under it, once with rights in the whole cluster and once in one namespace; the API server's audit
log tells which rights that took. Then each right is taken away by itself, and what needs it is refused by name.
"""

import copy
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.api_server import a_kube_api
from support.helm_charts import Rendered
from support.kube_account import asked_for, audit_arguments, install_rights, kubeconfig_of
from support.kube_person import Person, eventually
from support.operator_rig import CRD, SYSTEM, Bench, operator
from support.operator_stage import CONTEXT, PAPER
from support.rights import Right, operator_rules, rights

from tradingbot_cluster.control_plane import ControlPlane
from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.desired.role import role
from tradingbot_operator.handlers.wanted import Sound, Wants
from tradingbot_operator.kube.access import configuration
from tradingbot_operator.kube.client import KubeClient
from tradingbot_operator.kube.errors import Forbidden
from tradingbot_operator.kube.kinds import BY_NAME, LEASE, NAMESPACE, SECRET, TRADING_BOT, Kind

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes]
HERE = "bots"
"""The namespace of the operator that looks after one alone."""
CHART = "tradingbot-operator"
OWN = rights(operator_rules("operator.own-rules")) | rights(operator_rules("operator.cluster-rules"))
KINDS = {(kind.group, kind.plural): kind for kind in (*BY_NAME.values(), NAMESPACE)}
LOCALNET = {"cluster": "localnet", "rpc": None, "localnet": {"name": "play"}}
GOT = {"Secret": "kept-admin", "Lease": CHART, "Namespace": "kube-system"}
"""What the operator reads by name."""


def a_bot(name: str) -> Sound:
    """Return a bot of `HERE` on a localnet of its own, judged as the operator does."""
    document = yaml.safe_load(PAPER)
    document["spec"] |= {"cluster": "localnet", "localnet": {"name": name}}
    del document["spec"]["rpc"]
    meta = {"name": name, "namespace": HERE, "uid": name, "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    verdict = Wants(context=CONTEXT, catalogue=catalogue()).verdict({**document, "metadata": meta})
    assert isinstance(verdict, Sound), verdict
    return verdict


GRANTED_ON = rights(role(a_bot("any").bot, context=CONTEXT)["rules"])
"""What engines' Roles hold: nobody grants what he has not."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "audit"
    found.mkdir()
    return found


@pytest.fixture
def api(folder: Path) -> Iterator[ControlPlane]:
    """
    An API server of its own that also checks what some clusters check: who may block the deletion of an owner.

    Nobody collects garbage there, so the children of one life would be in the way of the next: to take over what names another
    owner takes the right to delete it, which the operator does not have of all of them.
    """
    plugins = "--enable-admission-plugins=OwnerReferencesPermissionEnforcement"
    with a_kube_api(apiserver_arguments=[plugins, *audit_arguments(folder)]) as found:
        for name in (SYSTEM, HERE):
            found.kubectl("create", "namespace", name)
        found.kubectl("apply", "--server-side", "-f", CRD)
        found.kubectl("wait", "--for=condition=Established", "crd/tradingbots.tradingbot.dev", "--timeout=60s")
        yield found


@asynccontextmanager
async def a_bench(api: ControlPlane, namespace: str, folder: Path) -> AsyncIterator[Bench]:
    async with Person(api.kubeconfig) as person, Person(api.kubeconfig, manager="kubelet") as kubelet:
        bench = Bench(person, kubelet, namespace, folder)
        try:
            yield bench
        finally:
            bench.close()


async def live_and_die(bench: Bench) -> None:
    """Let a bot on a localnet be made, trade, be changed and paused, and be deleted with a trade open that a Job settles."""
    engine = await bench.trading(**LOCALNET)
    await bench.apply(**LOCALNET, logging={"level": "debug"})
    await bench.observed()
    await bench.apply(**LOCALNET, logging={"level": "debug"}, paused=True)
    await bench.condition("Trading", "Paused")
    assert (await bench.condition("Degraded", "AsExpected"))["status"] == "False"
    assert await bench.person.list("Event", bench.namespace), "a person is told"
    engine.tell(drain_open=1)
    await bench.person.delete("TradingBot", bench.namespace, "bonk")
    await bench.condition("Drained", "PodStillRunning")
    await bench.person.delete("Pod", bench.namespace, "bonk-engine-1", grace_s=0)
    await bench.condition("Drained", "Settling")
    at = {"lastTransitionTime": "2026-01-01T00:00:00Z", "lastProbeTime": "2026-01-01T00:00:00Z", "status": "True"}
    done = {"conditions": [{"type": "SuccessCriteriaMet", **at}, {"type": "Complete", **at}], "succeeded": 1}
    done |= {"startTime": at["lastProbeTime"], "completionTime": at["lastProbeTime"], "uncountedTerminatedPods": {}}

    async def settled() -> bool:
        job = await bench.person.get("Job", bench.namespace, "bonk-settle")
        return bool(
            job and await bench.kubelet.edit("Job", bench.namespace, "bonk-settle", {"status": done}, status=True)
        )

    async def gone() -> bool:
        left = await bench.versions()
        return not await bench.bot() and not [
            key for key in left if "settle" in key[1] or key == ("Deployment", "play")
        ]

    await eventually(settled)
    await eventually(gone)


@pytest.mark.parametrize("namespaces", [(), (HERE,)], ids=["the whole cluster", "one namespace"])
async def test_bots_live_and_die_under_exactly_the_rights_of_the_chart(
    api: ControlPlane, folder: Path, tmp_path: Path, namespaces: tuple[str, ...]
) -> None:
    """Nothing is refused, and nothing was granted that no step of a bot's life takes, or that its engine's Role has to hold."""
    release = "one" if namespaces else "all"
    account = f"{release}-{CHART}"
    options = [f"--set=watch.namespaces={{{','.join(namespaces)}}}"] if namespaces else []
    install_rights(api, *options, f"--set=fullnameOverride={account}", release=release, namespace=SYSTEM)
    kubeconfig = kubeconfig_of(api, tmp_path, namespace=SYSTEM, account=account)
    scope = [f"--namespaces={name}" for name in namespaces]
    async with a_bench(api, HERE, tmp_path) as bench:
        with operator(kubeconfig, tmp_path / "operator", "--identity", account, *scope) as running:
            await running.ready()
            await live_and_die(bench)
            assert running.end() == 0
            text = running.text()
    assert "forbidden" not in text.lower(), text
    used = asked_for(folder, namespace=SYSTEM, account=account)
    granted = rights(operator_rules()) | OWN
    checked_by_admission = {("tradingbot.dev", "tradingbots/finalizers", "update")}
    assert used <= granted
    assert granted - used - GRANTED_ON - checked_by_admission == set(), "granted, and needed by nothing"


def objects_of(name: str) -> dict[str, dict[str, Any]]:
    """Return one object of each kind that a bot becomes, an Event and the operator's Lease among them."""
    sound = a_bot(name)
    wanted = Wants(context=CONTEXT, catalogue=catalogue()).wanted(sound, [sound])
    made = [make() for make in wanted.secrets.values()]
    found = [*wanted.localnet, *wanted.settle(False), *wanted.objects, *made]
    involved = {"kind": "TradingBot", "name": name, "namespace": HERE}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.1", "namespace": HERE},
        "involvedObject": involved,
    }
    lease = {
        "apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"name": CHART, "namespace": SYSTEM},
        "spec": {"holderIdentity": name},
    }  # fmt: skip
    return {body["kind"]: copy.deepcopy(dict(body)) for body in [*found, event, lease]}


async def make(client: KubeClient, body: dict[str, Any]) -> dict[str, Any]:
    """Make an object, or make it so, in the operator's way."""
    once = body["kind"] in ("Secret", "Event", "Lease")
    return dict(await (client.create if once else client.apply)(body))


async def use(client: KubeClient, right: Right, namespace: str, name: str) -> None:
    """
    Make the operator's own request that takes a right; raise Forbidden, or LookupError if there is none.

    Args:
        client: Acts as the operator.
        right: What is to be used.
        namespace: Where; "" for the whole cluster.
        name: No other object has it.
    """
    group, resource, verb = right
    plural, _, part = resource.partition("/")
    kind, fresh, mine = KINDS[group, plural], objects_of(name), objects_of("kept")
    match part, verb:
        case _ if namespace == HERE and right in GRANTED_ON:
            await client.apply(fresh["Role"])
        case "finalizers", "update":
            await client.apply(fresh["Deployment"])
        case "status", "patch":
            body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": "kept", "namespace": HERE}}
            await client.apply_status({**body, "status": {"phase": "Starting"}})
        case "", "patch" if kind is TRADING_BOT:
            (bot,) = await client.list(kind, HERE)
            await client.set_finalizers(kind, bot, ["tradingbot.dev/drain", f"example.org/{name}"])
        case "", "list":
            await client.list(kind, namespace)
        case "", "watch":  # kopf's; the same request, ended by the server at once
            await client._ask("watch", kind, "GET", kind.path(namespace), query={"watch": "1", "timeoutSeconds": "1"})
        case "", "get" if kind.name in GOT:
            await client.get(kind, "" if kind is NAMESPACE else namespace, GOT[kind.name])
        case "", "update" if kind is LEASE:
            found = await client.get(kind, namespace, CHART)
            assert found is not None
            await client.replace(found)
        case "", "create" if kind is LEASE:
            await client.create({**fresh["Lease"], "metadata": {"name": name, "namespace": namespace}})
        case "", "create":
            if kind.name == "RoleBinding":
                await client.apply(fresh["Role"])  # what is bound must be there, and be ours to grant
            await make(client, fresh[kind.name])
        case "", "patch" if kind is not SECRET:
            await client.apply(mine[kind.name])
        case "", "delete":
            body = await make(client, fresh[kind.name])
            await client.delete(kind, namespace, body["metadata"]["name"], uid=body["metadata"]["uid"])
        case _:
            raise LookupError("no request of the operator takes it")


async def may(client: KubeClient, right: Right, namespace: str) -> bool:
    """Return the API server's own answer on who acts here."""
    group, resource, verb = right
    plural, _, part = resource.partition("/")
    named = {"leases": CHART, "namespaces": "kube-system"}.get(plural, "") if namespace != HERE else ""
    asked = {"verb": verb, "group": group, "resource": plural, "subresource": part, "namespace": namespace}
    asked |= {"name": named} if verb != "create" else {}
    kind = Kind("SelfSubjectAccessReview", "authorization.k8s.io", "v1", "selfsubjectaccessreviews")
    body = {"apiVersion": kind.api_version, "kind": kind.name, "spec": {"resourceAttributes": asked}}
    answer = await client._ask("ask for", kind, "POST", kind.path(None), body=body)
    return bool(answer["status"]["allowed"])


async def is_(client: KubeClient, right: Right, namespace: str, wanted: bool) -> bool:
    return await may(client, right, namespace) is wanted


async def put(person: Person, body: dict[str, Any]) -> None:
    """Replace the rules of a Role or ClusterRole."""
    meta = body["metadata"]
    root = "/apis/rbac.authorization.k8s.io/v1"
    place = f"namespaces/{meta['namespace']}/roles" if "namespace" in meta else "clusterroles"
    patch = {"rules": body["rules"]}
    await person.ask("PATCH", f"{root}/{place}/{meta['name']}", patch, content="application/merge-patch+json")


def each_right(rendered: Rendered) -> Iterator[tuple[dict[str, Any], dict[str, Any], str, str]]:
    """Yield for each right its Role, the same Role without it, its resource and its verb."""
    for (kind, _), body in rendered.items():
        for number, rule in enumerate(body["rules"] if kind in ("Role", "ClusterRole") else ()):
            if "aggregate" in str(body["metadata"]["labels"]):
                continue
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    less = copy.deepcopy(body)
                    others = [name for name in rule["resources"] if name != resource]
                    verbs = [name for name in rule["verbs"] if name != verb]
                    less["rules"][number : number + 1] = [
                        {**rule, "resources": resources, "verbs": left}
                        for resources, left in ((others, rule["verbs"]), ([resource], verbs))
                        if resources and left
                    ]
                    yield body, less, resource, verb


async def test_each_right_that_is_taken_away_is_missed_by_name(api: ControlPlane, tmp_path: Path) -> None:
    """One verb of one resource at a time; the server's refusal names it, and with the right back the same request succeeds."""
    account = f"less-{CHART}"
    options = [f"--set=watch.namespaces={{{HERE}}}", "--set=rbac.aggregate=false", f"--set=fullnameOverride={account}"]
    rendered = install_rights(api, *options, release="less", namespace=SYSTEM)
    kubeconfig = kubeconfig_of(api, tmp_path, namespace=SYSTEM, account=account)
    async with AsyncExitStack() as stack:
        client = KubeClient(await configuration(kubeconfig=str(kubeconfig)))
        stack.push_async_callback(client.close)
        person = await stack.enter_async_context(Person(api.kubeconfig))
        bench = Bench(person, person, HERE, tmp_path)
        await bench.apply("kept")
        for body in objects_of("kept").values():
            await make(client, body) if body["kind"] != "Lease" else None
        if await client.get(LEASE, SYSTEM, CHART) is None:
            await client.create(objects_of("kept")["Lease"])
        unnoticed: list[str] = []
        for number, (whole, less, resource, verb) in enumerate(each_right(rendered)):
            namespace = whole["metadata"].get("namespace", "")
            group = next(g for rule in whole["rules"] if resource in rule["resources"] for g in rule["apiGroups"])
            right, what = (group, resource, verb), f"{verb} {resource} in {namespace or 'the cluster'}"
            try:
                await use(client, right, namespace, f"a{number}")
            except LookupError as error:
                unnoticed.append(f"{what}: {error}")
                continue
            await put(person, less)
            await eventually(partial(is_, client, right, namespace, False), why=f"{what} is refused")
            with pytest.raises(Forbidden) as caught:
                await use(client, right, namespace, f"b{number}")
            plural = resource.partition("/")[0]
            named = plural in str(caught.value) or "blockOwnerDeletion" in str(caught.value)
            assert named, f"{what}: {caught.value}"
            assert verb in str(caught.value) or resource.endswith("/finalizers"), f"{what}: {caught.value}"
            print(f"without {what}: {caught.value}"[:200])
            await put(person, whole)
            await eventually(partial(is_, client, right, namespace, True), why=f"{what} is allowed again")
    assert not unnoticed, "\n".join(unnoticed)
