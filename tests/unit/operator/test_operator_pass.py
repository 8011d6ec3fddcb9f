"""One pass after another over one bot, with a test as the rest of the cluster."""

import pytest
from support.operator_stage import PAPER, Stage

from tradingbot_operator.engine_port import EngineUnreachable
from tradingbot_operator.kube.errors import Forbidden, NamespaceTerminating, QuotaExceeded, Throttled, Unavailable
from tradingbot_operator.observed import FINALIZER

POSTGRES = {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def running(stage: Stage):
    """Return the pod of a bot that trades."""
    stage.apply()
    await stage.turn(2)
    pod = stage.pod()
    stage.rolled_out()
    stage.says(pod)
    await stage.turn(2)
    return pod


async def test_a_bot_becomes_objects_and_a_status_of_its_generation(stage):
    """The thinnest path: applied, children, status."""
    stage.apply()
    await stage.turn()
    assert {"Deployment", "ConfigMap", "Service", "Secret", "NetworkPolicy", "Role"} <= stage.kinds()
    assert stage.bot["status"]["observedGeneration"] == 1
    assert FINALIZER in stage.bot["metadata"]["finalizers"]


async def test_the_finalizer_comes_before_the_first_object(stage):
    """A deletion in between must find the bot held."""
    stage.apply()
    await stage.turn()
    verbs = [(verb, kind) for verb, kind, _ in stage.kube.writes]
    assert verbs.index(("finalize", "TradingBot")) < verbs.index(("apply", "ConfigMap"))
    assert verbs.index(("apply", "Deployment")) > max(
        i for i, (v, k) in enumerate(verbs) if v == "apply" and k != "Deployment"
    )


async def test_a_pass_over_a_bot_that_is_as_wanted_writes_nothing(stage):
    """Level-triggered and quiet, also right after a restart of the operator."""
    await running(stage)
    stage.kube.writes.clear()
    await stage.turn(3)
    stage.restart()
    await stage.turn(3)
    heard = dict(stage.engines.heard)
    stage.engines.heard.clear()  # as right after the start, before the engine was asked
    stage.restart()
    await stage.turn(3)
    stage.engines.heard |= heard
    await stage.turn(3)
    assert stage.kube.writes == []
    assert {c["type"]: c["status"] for c in stage.bot["status"]["conditions"]} == {
        "Ready": "True", "Progressing": "False", "Degraded": "False", "Trading": "True", "Drained": "False", "Drifted": "False",
    }  # fmt: skip


async def test_pause_reaches_the_engine_before_and_beside_every_object(stage):
    """No object has to be written for it; only the mounted file follows, and the pod template stays."""
    await running(stage)
    template = stage.kube.objects["Deployment", "trading", "bonk-engine"]["spec"]["template"]
    stage.kube.writes.clear()
    stage.apply(paused=True)
    await stage.turn()
    assert [(host, live.paused) for host, live in stage.port.told] == [("10.0.0.1", True)]
    assert {kind for verb, kind, _ in stage.kube.writes if verb == "apply"} <= {"ConfigMap", "Deployment"}
    assert stage.kube.objects["Deployment", "trading", "bonk-engine"]["spec"]["template"] == template


async def test_an_engine_that_is_as_told_is_not_told_again(stage):
    """PUT /v1/live goes out for an older generation only."""
    pod = await running(stage)
    stage.apply(paused=True)
    await stage.turn()
    stage.says(pod, trading=False, paused=True, reasons=[{"type": "Paused", "message": "by the manifest"}])
    await stage.turn(3)
    assert len(stage.port.told) == 1
    assert (stage.reason("Trading"), stage.bot["status"]["phase"]) == ("Paused", "Paused")


async def test_a_bot_made_again_under_its_name_tells_engines_a_newer_generation(stage):
    """The ledger outlives the bot and takes no generation older than its newest."""
    from tradingbot_operator.handlers.wanted import live_generation

    assert live_generation("2026-01-01T00:00:01Z", 1) > live_generation("2026-01-01T00:00:00Z", 999_999)


async def test_an_engine_that_hangs_delays_neither_objects_nor_status(stage):
    """The pass goes on; the engine is told again soon."""
    await running(stage)
    stage.port.error = EngineUnreachable("timeout")
    stage.apply(paused=True)
    assert await stage.turn() == 0.5
    assert stage.bot["status"]["observedGeneration"] == 2


async def test_an_engine_that_was_asked_before_it_listened_alarms_nobody_when_it_is_ready(stage):
    """Its pod becomes ready between two questions; the one before met a closed door."""
    stage.apply()
    await stage.turn(2)
    pod = stage.pod()
    stage.rolled_out()
    stage.says(pod, error="connection refused", silent_s=1.0)
    await stage.turn()
    assert stage.reason("Degraded") == "AsExpected"
    stage.says(pod, error="connection refused", silent_s=60.0)
    await stage.turn()
    assert stage.reason("Degraded") == "EngineUnreachable"


async def test_a_pod_whose_wallet_is_being_funded_is_not_asked(stage):
    """Nothing in it listens before its init container is done."""
    stage.apply()
    await stage.turn(2)
    funding = {"name": "fund", "state": {"running": {}}, "restartCount": 0}
    pod = stage.pod(initContainerStatuses=[funding], containerStatuses=[], conditions=[], phase="Pending")
    await stage.turn()
    assert not any(stage.engines.watched.values())
    assert stage.reason("Trading") == "Starting"
    stage.kube.remove("TradingBot", "trading", "bonk")
    await stage.turn()
    assert stage.reason("Drained") == "PodStillRunning"
    assert pod is not None


async def test_a_wrong_manifest_touches_no_child_and_says_every_problem(stage):
    """Running pods go on."""
    pod = await running(stage)
    before = {place: body for place, body in stage.kube.objects.items() if place[0] != "TradingBot"}
    stage.apply(strategies=[{"name": "x", "type": "no_such_strategy"}], risk={"profile": "Wild"})
    await stage.turn(2)
    after = {place: body for place, body in stage.kube.objects.items() if place[0] not in ("TradingBot", "Event")}
    assert after == {place: body for place, body in before.items() if place[0] != "Event"}
    message = stage.condition("Degraded")["message"]
    assert stage.reason("Degraded") == "InvalidSpec"
    assert "no_such_strategy" in message
    assert "Wild" in message
    assert stage.reason("Trading") == "Trading"
    assert pod is not None


async def test_a_wrong_manifest_put_right_is_followed(stage):
    """The way out of InvalidSpec."""
    stage.apply(strategies=[])
    await stage.turn()
    assert stage.reason("Degraded") == "InvalidSpec"
    assert "finalizers" not in stage.bot["metadata"]
    stage.apply(strategies=[{"name": "momentum", "type": "momentum_5m"}])
    await stage.turn()
    assert stage.reason("Degraded") == "AsExpected"
    assert "Deployment" in stage.kinds()


async def test_a_field_of_ours_that_somebody_changed_is_put_back(stage):
    """And a field that only our last version had goes."""
    await running(stage)
    service = stage.kube.objects["Service", "trading", "bonk-engine"]
    stage.kube.put({**service, "spec": {**service["spec"], "publishNotReadyAddresses": False}})
    await stage.turn()
    assert stage.kube.objects["Service", "trading", "bonk-engine"]["spec"]["publishNotReadyAddresses"] is True


async def test_an_object_that_somebody_deleted_comes_back(stage):
    """Whatever it is."""
    await running(stage)
    for kind, name in (("NetworkPolicy", "bonk-engine"), ("ConfigMap", "bonk-settings"), ("Deployment", "bonk-engine")):
        stage.kube.remove(kind, "trading", name)
        await stage.turn()
        assert kind in stage.kinds()


async def test_a_missing_secret_is_named_and_stops_no_pod(stage):
    """A Deployment is only written when what its pods need is there; everything else is."""
    await running(stage)
    before = stage.kube.objects["Deployment", "trading", "bonk-engine"]
    ref = {"secretKeyRef": {"name": "keys", "key": "url"}}
    stage.apply(rpc={"endpoints": [{"name": "one", "urlFrom": ref}]})
    assert await stage.turn() == 5.0
    assert stage.kube.objects["Deployment", "trading", "bonk-engine"]["spec"] == before["spec"]
    assert stage.reason("Degraded") == "SecretMissing"
    assert "spec.rpc.endpoints[0].urlFrom: Secret keys does not exist" in stage.condition("Degraded")["message"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "trading"}}
    stage.kube.put({**secret, "data": {"other": "eA=="}})
    await stage.turn()
    assert "has no key url" in stage.condition("Degraded")["message"]
    stage.kube.put({**secret, "data": {"url": "eA=="}})
    await stage.turn()
    assert stage.reason("Degraded") == "AsExpected"
    assert stage.kube.objects["Deployment", "trading", "bonk-engine"]["spec"] != before["spec"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"replicas": 2, "ledger": POSTGRES}, "replicas is not yet in force: one pod trades all tokens"),
        ({"scaling": {"maxReplicas": 4}, "ledger": POSTGRES}, "scaling.maxReplicas is not yet in force"),
    ],
)
async def test_what_has_no_effect_is_told_though_nothing_is_wrong(stage, spec, said):
    """Nobody relies on what is accepted and not in force; nor is the bot in trouble for it."""
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": "trading"}}
    stage.kube.put({**keys, "data": {"url": "eA=="}})
    stage.apply(**spec)
    await stage.turn()
    degraded = stage.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("False", "NotInForce")
    assert degraded["message"].startswith(said)
    stage.apply(replicas=1, scaling={}, deletionPolicy="Drain")
    await stage.turn()
    assert (stage.reason("Degraded"), stage.condition("Degraded")["message"]) == ("AsExpected", "")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Forbidden("services is forbidden: cannot patch"), "Forbidden"),
        (QuotaExceeded("exceeded quota: count/services=0"), "QuotaExceeded"),
    ],
)
async def test_what_the_api_server_refuses_becomes_a_condition_and_passes_with_its_cause(stage, error, reason):
    """Never a stack trace, never silence; and no Deployment without what it needs."""
    stage.kube.fault = lambda verb, kind, name: error if (verb, kind) == ("apply", "Service") else None
    stage.apply()
    await stage.turn()
    assert stage.reason("Degraded") == reason
    assert error.message in stage.condition("Degraded")["message"]
    assert "To do:" in stage.condition("Degraded")["message"]
    assert "Deployment" not in stage.kinds()
    stage.kube.fault = lambda verb, kind, name: None
    await stage.turn()
    assert stage.reason("Degraded") == "AsExpected"
    assert "Deployment" in stage.kinds()


@pytest.mark.parametrize("error", [Unavailable("boom"), Throttled("slow down", retry_after_s=1)])
async def test_trouble_that_passes_by_itself_is_told_only_if_it_lasts(stage, error):
    """One 500 is no news; three passes in a row are."""
    stage.kube.fault = lambda verb, kind, name: error if (verb, kind) == ("apply", "Service") else None
    stage.apply()
    await stage.turn()
    assert stage.reason("Degraded") == "AsExpected"
    await stage.turn(2)
    assert stage.reason("Degraded") == "ApiUnavailable"


async def test_a_namespace_that_is_going_is_a_condition(stage):
    """Nothing more is tried in it."""
    refused = []

    def fault(verb, kind, name):
        if verb in ("apply", "create") and kind not in ("TradingBot", "Event"):
            refused.append((verb, kind, name))
            return NamespaceTerminating("it is being terminated")
        return None

    stage.kube.fault = fault
    stage.apply()
    await stage.turn(2)
    assert stage.reason("Degraded") == "NamespaceTerminating"
    tried = len(refused)
    assert tried
    await stage.turn(2)
    assert len(refused) == tried


async def test_a_bot_in_a_namespace_that_was_made_anew_gets_its_objects_at_once(stage):
    """What is known of an earlier bot of that name says nothing of this one: neither that its namespace ends, nor its Secrets."""
    await test_a_namespace_that_is_going_is_a_condition(stage)
    stage.kube.fault = lambda verb, kind, name: None
    stage.kube.objects.clear()
    stage.apply()
    await stage.turn(2)
    assert stage.reason("Degraded") == "AsExpected"
    assert {"Deployment", "ConfigMap", "Secret"} <= stage.kinds()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]}, "ImagePullFailed"),
        ({"containerStatuses": [{"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}}]}, "CrashLooping"),
        ({"containerStatuses": [{"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"reason": "Error", "exitCode": 2, "message": "risk.capital"}}}]}, "SettingsRefused"),
        ({"containerStatuses": [{"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]}, "OutOfMemory"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "keys" not found'}}}]}, "SecretMissing"),
        ({"containerStatuses": [], "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]}, "Unschedulable"),
    ],
)  # fmt: skip
async def test_a_pod_in_trouble_becomes_a_condition_and_the_way_out_clears_it(stage, status, reason):
    """Each kind of it has a reason of its own."""
    await running(stage)
    broken = {"conditions": [{"type": "Ready", "status": "False"}], "phase": "Pending"} | status
    stage.pod(**broken)
    await stage.turn()
    assert stage.reason("Degraded") == reason
    stage.pod()
    await stage.turn()
    assert stage.reason("Degraded") == "AsExpected"


async def test_a_quota_that_keeps_pods_from_being_made_is_told(stage):
    """The Deployment says so, and no pod can."""
    stage.apply()
    await stage.turn()
    deployment = stage.kube.objects["Deployment", "trading", "bonk-engine"]
    failure = {"type": "ReplicaFailure", "status": "True", "message": 'pods "x" is forbidden: exceeded quota: pods=0'}
    stage.kube.put({**deployment, "status": {"observedGeneration": 1, "conditions": [failure]}})
    await stage.turn()
    assert stage.reason("Degraded") == "QuotaExceeded"


async def test_a_second_operator_changes_nothing(stage):
    """It does not lead, so its passes end before they look."""
    stage.leads = False
    stage.apply()
    await stage.turn(3)
    assert stage.kube.writes == []


async def test_numbers_are_written_at_most_once_a_minute_and_conditions_at_once(stage):
    """Only what changed is written, and only then."""
    pod = await running(stage)
    stage.kube.writes.clear()
    for n in range(5):
        stage.says(pod, queueUtilization=n / 10)
        await stage.turn()
    assert stage.kube.writes == []  # the first ones were written when it began to trade
    stage.says(pod, queueUtilization=0.9, reasons=[{"type": "Halted", "message": "drawdown 5.1 %"}])
    await stage.turn()
    assert stage.reason("Trading") == "Halted"
    assert "queueUtilizationPercent" not in stage.bot["status"]
    stage.clock.at_s += 61
    await stage.turn()
    assert stage.bot["status"]["queueUtilizationPercent"] == 90


async def test_events_are_posted_once_for_what_a_person_should_know(stage):
    """Passes that find the same post nothing, also after a restart."""
    pod = await running(stage)
    stage.says(pod, reasons=[{"type": "Halted", "message": "drawdown 5.1 %"}])
    await stage.turn(3)
    stage.restart()
    await stage.turn(3)
    events = [body for (kind, _, _), body in stage.kube.objects.items() if kind == "Event"]
    assert [event["message"] for event in events if event["reason"] == "Halted"] == ["Trading is False. drawdown 5.1 %"]


async def test_a_bots_series_go_with_it(stage):
    """Metrics of thousands of bots that come and go stay bounded."""
    await running(stage)
    assert b"bonk" in _metrics(stage)
    stage.store.remove(stage.bot)
    del stage.kube.objects["TradingBot", "trading", "bonk"]
    await stage.turn()
    assert b"bonk" not in _metrics(stage)


def _metrics(stage: Stage) -> bytes:
    from prometheus_client import generate_latest

    return generate_latest(stage.metrics.registry)


async def test_moving_to_postgresql_keeps_the_old_ledgers_volume(stage):
    """What has no owner is nobody's leftover."""
    await running(stage)
    assert "PersistentVolumeClaim" in stage.kinds()
    stage.kube.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db", "namespace": "trading"},
            "data": {"url": "eA=="},
        }
    )
    stage.apply(ledger={"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}})
    await stage.turn(2)
    assert "PersistentVolumeClaim" in stage.kinds()


async def test_an_owned_object_that_is_wanted_no_more_is_removed(stage):
    """Say, of an older version of the operator."""
    await running(stage)
    service = stage.kube.objects["Service", "trading", "bonk-engine"]
    meta = {k: v for k, v in service["metadata"].items() if k not in ("uid", "resourceVersion", "annotations")}
    stage.kube.put({**service, "metadata": {**meta, "name": "bonk-old"}})
    await stage.turn()
    assert ("Service", "trading", "bonk-old") not in stage.kube.objects


LOCAL = {"cluster": "localnet", "rpc": {}, "localnet": {"name": "lab"}}


async def test_bots_share_a_localnet_that_goes_with_the_last_of_them(stage):
    """Also if the last but one is wrong just now: its engine may still run there. The chain itself stays."""
    stage.apply(**LOCAL)
    other = PAPER.replace("bonk, namespace", "wif, namespace")
    stage.apply(other, **LOCAL, risk={"capital": 10, "profile": "Wild"})
    await stage.turn(2)
    assert ("Deployment", "trading", "lab-localnet") in stage.kube.objects
    stage.kube.remove("TradingBot", "trading", "bonk")
    for place in [p for p in stage.kube.objects if p[0] == "Deployment" and p[2] == "bonk-engine"]:
        stage.kube.remove(*place)
    meta = {**stage.bot["metadata"], "annotations": {"tradingbot.dev/force-delete": "true"}}
    stage.kube.put({**stage.bot, "metadata": meta})
    await stage.turn(2)
    assert ("Deployment", "trading", "lab-localnet") in stage.kube.objects
    stage.kube.remove("TradingBot", "trading", "wif")
    await stage.reconciler.run(("trading", "wif"))
    assert ("Deployment", "trading", "lab-localnet") not in stage.kube.objects
    assert ("PersistentVolumeClaim", "trading", "lab-localnet") in stage.kube.objects


async def test_bots_of_a_localnet_are_woken_when_it_plays_otherwise(stage):
    """What the oldest bot says reaches the settings of all."""
    stage.apply(**LOCAL)
    await stage.turn(2)
    stage.woken.clear()
    stage.apply(**LOCAL | {"localnet": {"name": "lab", "nodes": 2}})
    await stage.turn()
    assert ("trading", "bonk") in stage.woken
