"""The operator's promises at a real API server, without controllers: a test plays the rest of Kubernetes."""

import asyncio
import json
import re
import time

import pytest
from support.kube_person import eventually
from support.operator_fixtures import an_api_that_knows_bots, bench, running
from support.operator_rig import SYSTEM, operator

__all__ = ["bench", "running"]
pytestmark = pytest.mark.kubernetes


@pytest.fixture(scope="module")
def api():
    with an_api_that_knows_bots() as found:
        yield found


async def test_a_bot_becomes_its_children_and_a_status_about_its_generation(bench, running):
    """The thinnest path."""
    await running.ready()
    await bench.apply()
    bot = await bench.observed()
    kinds = {kind for kind, _ in await bench.versions()}
    assert {
        "Deployment",
        "ConfigMap",
        "Service",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PersistentVolumeClaim",
        "Secret",
    } <= kinds
    assert bot["metadata"]["finalizers"] == ["tradingbot.dev/drain"]
    assert {c["type"] for c in bot["status"]["conditions"]} == {
        "Ready",
        "Progressing",
        "Degraded",
        "Trading",
        "Drained",
        "Drifted",
    }
    assert all(c["observedGeneration"] == 1 for c in bot["status"]["conditions"])
    deployment = await bench.person.get("Deployment", bench.namespace, "bonk-engine")
    assert deployment["metadata"]["managedFields"][0]["manager"] == "tradingbot-operator"
    assert "kopf" not in json.dumps(deployment)
    assert "kopf" not in json.dumps(bot)


async def test_a_bot_that_is_as_wanted_is_written_no_more_also_by_the_next_operator(bench, running, api):
    """A restart at any moment has no effect on running pods: not one object gets a new version."""
    await bench.trading()
    before = await bench.quiet()
    running.end(kill=True)
    running.start()
    await running.ready()
    assert await bench.quiet() == before


async def test_a_changed_spec_changes_the_template_and_a_pause_does_not(bench, running):
    """The one restarts pods, the other reaches them by the admin port."""
    engine = await bench.trading()
    template = (await bench.person.get("Deployment", bench.namespace, "bonk-engine"))["spec"]["template"]
    asked = time.time()
    await bench.apply(paused=True, risk={"capital": 10, "maxPositionPercent": 1.5})

    async def told():
        return [line for line in engine.heard("live") if line["paused"]]

    (line, *_) = await eventually(told, why="the engine was told of the pause")
    print(f"pause → engine: {line['at'] - asked:.2f} s")
    assert line["kept"]
    assert line["risk"]["max_position_percent"] == 1.5
    await bench.condition("Trading", "Paused")
    await bench.observed()
    assert (await bench.person.get("Deployment", bench.namespace, "bonk-engine"))["spec"]["template"] == template
    await bench.apply(paused=True, engine={"image": "tradingbot-engine:next"})

    async def rolled():
        found = await bench.person.get("Deployment", bench.namespace, "bonk-engine")
        return found["spec"]["template"]["spec"]["containers"][0]["image"] == "tradingbot-engine:next"

    await eventually(rolled)


async def test_a_pause_sticks_though_the_engine_is_killed_at_once(bench, running):
    """The engine keeps it; one that starts with nothing is told again."""
    engine = await bench.trading()
    await bench.apply(paused=True)

    async def told():
        return engine.heard("live")

    await eventually(told)
    before = len(engine.heard("live"))
    engine.end()
    (engine.folder / "state.json").unlink()  # as if the ledger were lost, too
    engine.start()
    await bench.pod_status("bonk-engine-1", containerStatuses=[], podIP="127.0.0.1")
    await bench.person.delete("Pod", bench.namespace, "bonk-engine-1", grace_s=0)
    await bench.pod(suffix="2", engine=engine)

    async def told_again():
        return engine.heard("live")[before:]

    heard = await eventually(told_again)
    assert all(line["paused"] and line["kept"] for line in heard), "the new process is never told to trade"
    await bench.condition("Trading", "Paused")


async def test_a_change_by_hand_to_a_field_of_ours_is_put_back(bench, running):
    """Scalars, list elements, whole objects, and lists that are ours alone."""
    await bench.trading()
    person, here = bench.person, bench.namespace
    before = await person.get("Deployment", here, "bonk-engine")
    await person.edit("Deployment", here, "bonk-engine", {"spec": {"replicas": 0}})
    command = {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": "evil:1"}]}}}}
    await person.strategic("Deployment", here, "bonk-engine", command)
    policy = await person.get("NetworkPolicy", here, "bonk-engine")
    await person.edit("NetworkPolicy", here, "bonk-engine", {"spec": {"ingress": [*policy["spec"]["ingress"], {}]}})
    role = await person.get("Role", here, "bonk-engine")
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    await person.edit("Role", here, "bonk-engine", {"rules": [*role["rules"], everything]})
    await person.delete("Service", here, "bonk-engine")

    async def put_back():
        found = await person.get("Deployment", here, "bonk-engine")
        return (
            found["spec"] == before["spec"]
            and (await person.get("NetworkPolicy", here, "bonk-engine"))["spec"] == policy["spec"]
            and (await person.get("Role", here, "bonk-engine"))["rules"] == role["rules"]
            and await person.get("Service", here, "bonk-engine")
        )

    await eventually(put_back)
    changed = [await person.get(kind, here, "bonk-engine") for kind in ("Deployment", "NetworkPolicy", "Role")]
    assert "evil:1" not in json.dumps(changed)
    assert everything not in changed[2]["rules"]


async def test_a_port_changed_by_hand_is_put_back(bench, running):
    """To the API server it is another port than ours, and two of one name are refused."""
    await bench.trading()
    person, here = bench.person, bench.namespace
    service = await person.get("Service", here, "bonk-engine")
    before = service["spec"]["ports"]
    await person.edit("Service", here, "bonk-engine", {"spec": {"ports": [{**before[0], "port": 81}, *before[1:]]}})

    async def put_back():
        found = await person.get("Service", here, "bonk-engine")
        return found if found and found["spec"]["ports"] == before else {}

    made = await eventually(put_back)
    await bench.condition("Degraded", "AsExpected")
    await bench.quiet()
    assert await put_back(), "no write without end"
    assert made["metadata"]["uid"] == service["metadata"]["uid"], "in place: whoever reads metrics by it goes on"


async def test_a_container_port_changed_by_hand_is_put_back_in_one_roll_out(bench, running):
    """In place and in one write, the strategy with it; what somebody added beside it stays and is told."""
    await bench.trading()
    person, here = bench.person, bench.namespace
    before = await person.get("Deployment", here, "bonk-engine")
    assert before["spec"]["strategy"] == {"type": "Recreate"}
    (admin,) = before["spec"]["template"]["spec"]["containers"][0]["ports"]
    for changed in ({**admin, "containerPort": 8081}, {**admin, "protocol": "UDP"}):
        mesh = {"name": "mesh", "containerPort": 9999, "protocol": "TCP"}
        found = await person.get("Deployment", here, "bonk-engine")
        containers = found["spec"]["template"]["spec"]["containers"]
        containers[0]["ports"] = [changed, mesh]
        spec = {"strategy": {"type": "RollingUpdate"}, "template": {"spec": {"containers": containers}}}
        by_hand = await person.edit("Deployment", here, "bonk-engine", {"spec": spec})

        async def put_back(mesh=mesh):
            found = await person.get("Deployment", here, "bonk-engine")
            ports = found["spec"]["template"]["spec"]["containers"][0]["ports"]
            return found if ports == [admin, mesh] and found["spec"]["strategy"] == {"type": "Recreate"} else {}

        made = await eventually(put_back, why="ours and theirs")
        assert made["metadata"]["generation"] == by_hand["metadata"]["generation"] + 1, "one roll-out"
        assert made["metadata"]["uid"] == before["metadata"]["uid"]
        drifted = await bench.condition("Drifted", "ForeignFields")
        assert "9999" in drifted["message"]
        await bench.quiet()
        after = await person.get("Deployment", here, "bonk-engine")
        assert after["metadata"]["generation"] == made["metadata"]["generation"], "no write without end"
        await bench.rolled_out()
        await bench.condition("Degraded", "AsExpected")


async def test_what_somebody_added_is_left_alone_and_listed(bench, running):
    """A container and an environment entry of a mesh or a person are no business of ours, but a person should know."""
    await bench.trading()
    sidecar = {"name": "sidecar", "image": "mesh:1"}
    engine = {"name": "engine", "env": [{"name": "EXTRA", "value": "1"}]}
    patch = {"spec": {"template": {"spec": {"containers": [sidecar, engine]}}}}
    await bench.person.strategic("Deployment", bench.namespace, "bonk-engine", patch)
    found = await bench.condition("Drifted", "ForeignFields")
    assert (
        "Deployment bonk-engine: spec.template.spec.containers[engine].env[EXTRA], spec.template.spec.containers[sidecar]"
        in found["message"]
    )
    await bench.quiet()
    deployment = await bench.person.get("Deployment", bench.namespace, "bonk-engine")
    assert {c["name"] for c in deployment["spec"]["template"]["spec"]["containers"]} == {"engine", "sidecar"}
    drop = {
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "sidecar", "$patch": "delete"},
                        {"name": "engine", "env": [{"name": "EXTRA", "$patch": "delete"}]},
                    ]
                }
            }
        }
    }
    await bench.person.strategic("Deployment", bench.namespace, "bonk-engine", drop)
    await bench.condition("Drifted", "InSync")


async def test_a_wrong_manifest_touches_nothing_until_it_is_put_right(bench, running):
    """What CEL cannot say becomes a condition."""
    await bench.trading()
    before = {place: v for place, v in (await bench.quiet()).items() if place[0] not in ("TradingBot", "Event")}
    await bench.apply(strategies=[{"name": "momentum", "type": "moment_5m"}])
    found = await bench.condition("Degraded", "InvalidSpec")
    assert "spec.strategies[0].type" in found["message"]
    assert "momentum_5m" in found["message"]
    after = {place: v for place, v in (await bench.quiet()).items() if place[0] not in ("TradingBot", "Event")}
    assert after == before
    await bench.apply()
    await bench.condition("Degraded", "AsExpected")


async def test_a_missing_secret_is_named_and_its_coming_noticed(bench, running):
    """No pod is made before it is there."""
    ref = {"secretKeyRef": {"name": "keys", "key": "url"}}
    await bench.apply(rpc={"endpoints": [{"name": "one", "urlFrom": ref}]})
    found = await bench.condition("Degraded", "SecretMissing")
    assert "spec.rpc.endpoints[0].urlFrom: Secret keys does not exist" in found["message"]
    assert not await bench.person.list("Deployment", bench.namespace)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": bench.namespace}}
    await bench.person.create({**secret, "stringData": {"url": "https://rpc.example.org"}})
    await bench.condition("Degraded", "AsExpected")


async def test_a_quota_that_is_used_up_is_told_and_its_raise_noticed(bench, running):
    """The API server's own words, and what to do."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none"},
        "spec": {"hard": {"count/services": "0"}},
    }
    path = f"/api/v1/namespaces/{bench.namespace}/resourcequotas"
    await bench.person.ask("POST", path, quota)
    await bench.person.ask(
        "PATCH",
        f"{path}/none/status",
        {"status": {"hard": {"count/services": "0"}, "used": {"count/services": "0"}}},
        content="application/merge-patch+json",
    )
    await bench.apply()
    found = await bench.condition("Degraded", "QuotaExceeded")
    assert "count/services" in found["message"]
    await bench.person.ask("DELETE", f"{path}/none")
    await bench.condition("Degraded", "AsExpected")


async def test_a_deletion_drains_first_and_waits_for_the_pod(bench, running):
    """Engine drained → pods ended → gone; what the ledger holds stays."""
    engine = await bench.trading()
    await bench.person.delete("TradingBot", bench.namespace, "bonk")
    await bench.condition("Drained", "NothingOpen")
    assert engine.heard("drain")

    async def no_deployment():
        return not await bench.person.list("Deployment", bench.namespace)

    await eventually(no_deployment)
    assert await bench.bot(), "held while its pod is there"
    await bench.person.delete("Pod", bench.namespace, "bonk-engine-1", grace_s=0)

    async def gone():
        return not await bench.bot()

    await eventually(gone)
    assert {kind for kind, _ in await bench.versions()} >= {"PersistentVolumeClaim"}
    assert not await bench.person.list("Job", bench.namespace)


async def test_a_deletion_with_trades_open_settles_them_by_a_job(bench, running):
    """The finalizer holds until the Job says that nothing is open; then nothing of the Job is left."""
    engine = await bench.trading()
    engine.tell(drain_open=1)
    await bench.person.delete("TradingBot", bench.namespace, "bonk")
    await bench.condition("Drained", "PodStillRunning")
    await bench.person.delete("Pod", bench.namespace, "bonk-engine-1", grace_s=0)
    found = await bench.condition("Drained", "Settling")
    assert "force-delete" in found["message"]

    async def job():
        return await bench.person.get("Job", bench.namespace, "bonk-settle")

    made = await eventually(job)
    assert made["spec"]["template"]["spec"]["containers"][0]["command"][:2] == ["tradingbot-engine", "settle"]
    assert not made["metadata"].get("ownerReferences"), "a foreground deletion would take it"
    await complete(bench)

    async def gone():
        return not await bench.bot() and not [k for k in await bench.versions() if k[1] == "bonk-settle"]

    await eventually(gone)


async def complete(bench):
    """Say as the Job controller would that the settle Job has done its work."""
    at = "2026-01-01T00:00:00Z"
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": at, "lastProbeTime": at}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    status = {
        "conditions": conditions,
        "startTime": at,
        "completionTime": at,
        "succeeded": 1,
        "uncountedTerminatedPods": {},
    }
    await bench.kubelet.edit("Job", bench.namespace, "bonk-settle", {"status": status}, status=True)


async def test_a_deletion_that_closes_positions_drains_only_when_the_engine_has_sold_them(bench, running):
    """Told for whom to sell; how many are left and what holds them up is said; then it goes as ever, without a Job."""
    engine = await bench.trading(deletionPolicy="ClosePositions")
    uid = (await bench.bot())["metadata"]["uid"]
    await bench.person.delete("TradingBot", bench.namespace, "bonk")
    await bench.condition("Drained", "ClosingPositions")

    async def told():
        return engine.heard("close-out")

    by = (await eventually(told))[0]["by"]
    assert by == f"deletion of {bench.namespace}/bonk ({uid})"
    trouble = {"symbol": "BONK", "strategy": "momentum", "trouble": "ABANDONED: no route"}
    engine.tell(closing={"by": by, "done": False, "positionsLeft": 3, "stuck": None, "positions": [trouble]})

    async def said():
        (found,) = [c for c in (await bench.bot())["status"]["conditions"] if c["type"] == "Drained"]
        return "3 positions left; BONK of momentum: ABANDONED: no route" in found["message"]

    await eventually(said)
    assert not engine.heard("drain")
    engine.tell(closing={"by": by, "done": True, "positionsLeft": 0, "stuck": None, "positions": []})
    await bench.condition("Drained", "NothingOpen")
    assert engine.heard("drain")
    await bench.person.delete("Pod", bench.namespace, "bonk-engine-1", grace_s=0)

    async def gone():
        return not await bench.bot()

    await eventually(gone)
    assert not await bench.person.list("Job", bench.namespace)


async def test_the_way_out_of_a_deletion_that_waits(bench, running):
    """tradingbot.dev/force-delete: "true" lets the bot go, whatever is open; what settled it goes, too."""
    engine = await bench.trading()
    engine.tell(drain_open=1)
    await bench.person.delete("TradingBot", bench.namespace, "bonk")
    await bench.condition("Drained", "PodStillRunning")
    await bench.person.delete("Pod", bench.namespace, "bonk-engine-1", grace_s=0)
    await bench.condition("Drained", "Settling")
    force = {"metadata": {"annotations": {"tradingbot.dev/force-delete": "true"}}}
    await bench.person.edit("TradingBot", bench.namespace, "bonk", force)

    async def gone():
        return not await bench.bot() and not await bench.person.list("Job", bench.namespace)

    await eventually(gone)
    left = {name for kind, name in await bench.versions() if kind == "PersistentVolumeClaim"}
    assert left == {"bonk-ledger"}, "what is still open can be settled from it later"


async def test_an_orphaning_deletion_settles_nothing(bench, running):
    """deletionPolicy Orphan ends the pods and leaves the chain alone."""
    engine = await bench.trading(deletionPolicy="Orphan")
    engine.tell(drain_open=1)
    await bench.person.delete("TradingBot", bench.namespace, "bonk")
    await bench.condition("Drained", "PodStillRunning")
    await bench.person.delete("Pod", bench.namespace, "bonk-engine-1", grace_s=0)

    async def gone():
        return not await bench.bot()

    await eventually(gone)
    assert not await bench.person.list("Job", bench.namespace)


async def test_an_operator_that_was_away_finds_what_happened(bench, running):
    """A spec that changed, a bot that was deleted, a child that vanished: all while nobody watched."""
    await bench.trading()
    await bench.trading("wif")
    await bench.quiet()
    running.end(kill=True)
    await bench.apply(engine={"image": "tradingbot-engine:next"})
    await bench.person.delete("ConfigMap", bench.namespace, "bonk-settings")
    await bench.person.delete("TradingBot", bench.namespace, "wif")
    await bench.person.delete("Pod", bench.namespace, "wif-engine-1", grace_s=0)
    running.start()
    await running.ready()
    await bench.observed()
    assert await bench.person.get("ConfigMap", bench.namespace, "bonk-settings")
    await bench.condition("Drained", "Settling", "wif")  # nobody heard its engine drain


async def test_an_operator_told_to_end_in_the_middle_of_its_work_ends_soon_and_leaves_no_half_status(bench, running):
    """Its passes finish, or are not begun; the Lease is let go, so that the next operator begins at once where this one stopped."""
    names = [f"bot-{n}" for n in range(20)]
    (await bench.trading("hanging")).tell(hangs=True)
    await bench.apply("hanging", paused=True)
    for name in names:
        await bench.apply(name)
    assert running.end() == 0, running.text()
    took_s = float(re.findall(r"ended in ([0-9.]+) s", running.text())[-1])
    print(f"SIGTERM → end: {took_s} s")
    assert took_s < 4.5, "kopf's own end waits five seconds for what still runs"
    lease = await bench.person.get("Lease", SYSTEM, "tradingbot-operator")
    assert lease["spec"]["holderIdentity"] == ""
    for name in names:
        bot = await bench.bot(name)
        conditions = bot.get("status", {}).get("conditions", [])
        told_of = {c["type"] for c in conditions if c.get("observedGeneration") == 1}
        assert told_of in (set(), {"Ready", "Progressing", "Degraded", "Trading", "Drained", "Drifted"}), name
    running.start()
    for name in names:
        await bench.observed(name)


@pytest.mark.slow  # make cluster-test
async def test_a_second_operator_by_mistake_changes_nothing_and_takes_over_when_the_first_ends(
    bench, running, api, tmp_path
):
    """It watches, says who acts, and has all it needs the moment it is its turn."""
    await bench.trading()
    with operator(api.kubeconfig, tmp_path / "second", "--engine-image", "another:2") as second:
        await second.ready()
        before = await bench.quiet()
        assert "another operator acts" in second.text()
        await bench.apply(paused=True)
        await bench.condition("Trading", "Paused")
        deployment = await bench.person.get("Deployment", bench.namespace, "bonk-engine")
        assert deployment["metadata"]["resourceVersion"] == before["Deployment", "bonk-engine"]
        running.end()

        async def acts():
            found = await bench.person.get("Deployment", bench.namespace, "bonk-engine")
            return found["spec"]["template"]["spec"]["containers"][0]["image"] == "another:2"

        await eventually(acts)
    running.start()
    await running.ready()


async def test_an_engine_that_hangs_delays_no_other_bot(bench, running):
    """No lock, no queue and no connection is shared between bots."""
    hanging, well = await bench.trading("bonk"), await bench.trading("wif")
    hanging.tell(hangs=True)
    await bench.apply("bonk", paused=True)
    await bench.apply("wif", paused=True)

    async def told():
        return [line for line in well.heard("live") if line["paused"]]

    await eventually(told)
    assert not [line for line in hanging.heard("live") if line["paused"]]
    await bench.observed("bonk")
    found = await bench.condition("Degraded", "EngineUnreachable", "bonk")
    assert "bonk-engine-1" in found["message"]
    hanging.tell()
    await bench.condition("Trading", "Paused", "bonk")
    await bench.condition("Degraded", "AsExpected", "bonk")


async def test_a_namespace_that_is_being_deleted_is_said_and_holds_what_may_be_open(bench, running):
    """Nothing can be made in it any more; the way out is named."""
    engine = await bench.trading()
    engine.tell(drain_open=1)
    await bench.person.ask("DELETE", f"/api/v1/namespaces/{bench.namespace}")
    await bench.person.delete("TradingBot", bench.namespace, "bonk")  # what the namespace controller does next
    await bench.condition("Drained", "PodStillRunning")
    await bench.person.delete("Pod", bench.namespace, "bonk-engine-1", grace_s=0)
    found = await bench.condition("Drained", "NamespaceTerminating")
    assert "force-delete" in found["message"]
    await bench.condition("Degraded", "NamespaceTerminating")


@pytest.mark.slow  # make cluster-test
async def test_an_api_server_that_was_away_is_found_again(bench, running, api):
    """Killed and started anew: the operator goes on, and is told of what happened since."""
    await bench.trading()
    api.stop("kube-apiserver", kill=True)
    await asyncio.sleep(2)
    api.start("kube-apiserver")
    api.wait_ready()
    await bench.apply(paused=True)
    await bench.condition("Trading", "Paused")
    assert running.process.poll() is None, running.text()


async def test_events_tell_once_what_a_person_should_know(bench, running):
    """By the names of conditions' reasons, about the bot."""
    engine = await bench.trading()
    engine.tell(reasons=[{"type": "Halted", "since": 0, "message": "drawdown 5.1 %"}])
    await bench.condition("Trading", "Halted")
    await bench.quiet()
    events = await bench.person.list("Event", bench.namespace)
    told = [(e["type"], e["message"]) for e in events if e["reason"] == "Halted"]
    assert told == [("Warning", "Trading is False. drawdown 5.1 %")]


async def test_probes_and_metrics_tell_how_the_operator_is(bench, running):
    """/livez, /readyz, and a series per condition that goes with its bot."""
    await bench.trading("series")
    assert running.page("/livez")[0] == 200
    mine = f'tradingbot_condition{{name="series",namespace="{bench.namespace}",type="Trading"}} 1.0'
    assert mine in running.page("/metrics")[1]
    assert "tradingbot_operator_leads 1.0" in running.page("/metrics")[1]
    await bench.person.edit(
        "TradingBot", bench.namespace, "series", {"metadata": {"annotations": {"tradingbot.dev/force-delete": "true"}}}
    )
    await bench.person.delete("TradingBot", bench.namespace, "series")

    async def gone():
        return f'namespace="{bench.namespace}"' not in running.page("/metrics")[1]

    await eventually(gone)
