"""What a bot that is being deleted waits for, step by step; and what is known of it after the operator died at any point."""

import pytest
from support.operator_stage import Stage

from tradingbot_operator.engine_port import EngineRefused
from tradingbot_operator.kube.errors import NamespaceTerminating, Unavailable


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def dying(stage: Stage, **spec: object):
    """Return the pod of a bot that traded and was just deleted."""
    stage.apply(**spec)
    await stage.turn(2)
    pod = stage.pod()
    stage.rolled_out()
    stage.says(pod)
    await stage.turn(2)
    stage.kube.remove("TradingBot", "trading", "bonk")
    return pod


def ended(stage: Stage, pod) -> None:
    """Play the kubelet: the pod is gone."""
    stage.kube.remove("Pod", "trading", pod["metadata"]["name"])


def alive(stage: Stage) -> bool:
    return ("TradingBot", "trading", "bonk") in stage.kube.objects


async def goes_with_its_pod(stage: Stage, pod) -> bool:
    """Let the pod end; return whether the bot is gone then, and nothing was settled."""
    ended(stage, pod)
    await stage.turn()
    return not alive(stage) and "Job" not in stage.kinds()


async def test_the_engine_is_asked_to_drain_before_its_deployment_goes(stage):
    """A pod that is ended drains in its preStop hook; asked before, it can be heard to say what is open."""
    await dying(stage)
    await stage.turn()
    assert stage.port.told[-1] == ("10.0.0.1", "drain")
    assert "Deployment" in stage.kinds()
    assert stage.reason("Drained") == "Draining"


async def test_what_an_engine_said_outlives_the_operator_and_the_pod(stage):
    """Drained=True stands in the status before the pod can be gone."""
    pod = await dying(stage)
    await stage.turn()
    stage.says(pod, phase="STOPPED", trading=False, openIntents=0)
    await stage.turn()
    assert "Deployment" not in stage.kinds()
    assert stage.reason("Drained") == "NothingOpen"
    stage.restart()
    stage.engines.heard.clear()
    assert await goes_with_its_pod(stage, pod)


async def test_a_bot_with_trades_open_is_settled_by_a_job(stage):
    """The Job is made only when no pod runs any more: two engines never share a ledger."""
    pod = await dying(stage)
    stage.says(pod, phase="STOPPED", trading=False, openIntents=2)
    await stage.turn(3)
    assert "Job" not in stage.kinds()
    assert stage.reason("Drained") == "PodStillRunning"
    ended(stage, pod)
    await stage.turn(2)
    assert ("Job", "trading", "bonk-settle") in stage.kube.objects
    assert stage.reason("Drained") == "Settling"
    await stage.turn(3)
    assert alive(stage)


async def test_a_bot_of_whose_engine_nothing_was_heard_is_settled(stage):
    """A foreground deletion took the pods before anybody could ask."""
    pod = await dying(stage)
    stage.engines.heard.clear()
    stage.kube.remove("Deployment", "trading", "bonk-engine")
    ended(stage, pod)
    await stage.turn(2)
    assert ("Job", "trading", "bonk-settle") in stage.kube.objects


@pytest.mark.parametrize("known", [True, False])
async def test_only_a_bot_that_never_had_a_ledger_may_go_for_finding_anothers(stage, known):
    """A bot that traded may have been given another ledger since: what it left open in its own is then not to be seen."""
    stage.apply()
    await stage.turn(2)
    pod = stage.pod()
    stage.rolled_out()
    stage.says(pod, **({"phase": "STARTING", "trading": False, "botId": None} if not known else {}))
    await stage.turn(2)
    assert bool(stage.bot["status"].get("botId")) is known
    stage.kube.remove("TradingBot", "trading", "bonk")
    ended(stage, pod)
    await stage.turn(3)
    job = stage.kube.objects["Job", "trading", "bonk-settle"]
    words = job["spec"]["template"]["spec"]["containers"][0]["command"]
    assert ("--if-ours" in words) is not known
    if not known:  # the Job makes a ledger after all: it goes on, and is not replaced
        stage.bot["status"]["botId"] = "B1"
        await stage.turn(2)
        assert stage.kube.objects["Job", "trading", "bonk-settle"]["metadata"]["uid"] == job["metadata"]["uid"]


async def test_the_settled_bot_goes_and_leaves_nothing_of_the_job(stage):
    """ConfigMap, Secret, account, policy and Job have no owner to go with."""
    pod = await dying(stage)
    stage.engines.heard.clear()
    ended(stage, pod)
    await stage.turn(3)
    job = stage.kube.objects["Job", "trading", "bonk-settle"]
    stage.kube.put({**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    await stage.turn(2)
    assert not alive(stage)
    assert not [place for place in stage.kube.objects if place[2] == "bonk-settle"]
    assert "PersistentVolumeClaim" in stage.kinds()


async def test_what_holds_the_job_up_is_told(stage):
    """Else nobody knows that it waits for a person, or why."""
    pod = await dying(stage)
    stage.says(pod, phase="STOPPED", trading=False, openIntents=2)
    ended(stage, pod)
    await stage.turn(2)
    job = stage.pod(name="bonk-settle-x", component="settle")
    reason = {"type": "LedgerInUse", "message": "this ledger belongs to bot trading/other, not to trading/bonk"}
    stage.says(job, phase="STARTING", trading=False, openIntents=None, reasons=[reason])
    await stage.turn()
    assert stage.reason("Drained") == "Settling"
    assert f"LedgerInUse: {reason['message']}" in stage.condition("Drained")["message"]


async def test_a_job_that_gave_up_keeps_the_bot_and_is_told(stage):
    """Nobody may think that all is well."""
    pod = await dying(stage)
    stage.engines.heard.clear()
    ended(stage, pod)
    await stage.turn(3)
    job = stage.kube.objects["Job", "trading", "bonk-settle"]
    stage.kube.put({**job, "status": {"conditions": [{"type": "Failed", "status": "True"}]}})
    await stage.turn(2)
    assert alive(stage)
    assert (stage.reason("Drained"), stage.reason("Degraded")) == ("SettleFailed", "SettleFailed")


async def test_an_engine_that_does_not_answer_is_waited_for_and_then_ended(stage):
    """A pod that hangs cannot be asked; the pod's own end drains it if anything does, and then the Job looks."""
    pod = await dying(stage)
    stage.says(pod, error="timeout", silent_s=5)
    await stage.turn()
    assert "Deployment" in stage.kinds()
    stage.says(pod, error="timeout", silent_s=16)
    await stage.turn()
    assert "Deployment" not in stage.kinds()
    assert stage.reason("Drained") == "PodStillRunning"
    assert "n1" in stage.condition("Drained")["message"]
    ended(stage, pod)
    await stage.turn(2)
    assert ("Job", "trading", "bonk-settle") in stage.kube.objects


async def test_a_pod_that_never_started_has_nothing_to_drain(stage):
    """An image that cannot be pulled must not hold its bot for ever: the Job could not start either."""
    stage.apply()
    await stage.turn(2)
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff"}}, "restartCount": 0}
    pod = stage.pod(containerStatuses=[waiting], conditions=[], phase="Pending")
    await stage.turn()
    stage.kube.remove("TradingBot", "trading", "bonk")
    await stage.turn()
    assert stage.reason("Drained") == "NeverStarted"
    assert await goes_with_its_pod(stage, pod)


async def test_a_pod_that_did_not_start_after_one_that_traded_is_no_proof(stage):
    """What the former pod left open is in the ledger."""
    pod = await dying(stage)
    stage.kube.remove("Pod", "trading", pod["metadata"]["name"])
    stage.engines.heard.clear()
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff"}}, "restartCount": 0}
    second = stage.pod("bonk-engine-2", containerStatuses=[waiting], conditions=[], phase="Pending")
    await stage.turn()
    assert stage.reason("Drained") != "NeverStarted"
    ended(stage, second)
    await stage.turn(2)
    assert ("Job", "trading", "bonk-settle") in stage.kube.objects


async def test_a_drained_engine_that_trades_again_is_not_drained(stage):
    """A kubelet that starts the container anew after the drain makes what was said void."""
    pod = await dying(stage)
    stage.says(pod, phase="STOPPED", trading=False, openIntents=0)
    await stage.turn()
    assert stage.reason("Drained") == "NothingOpen"
    stage.says(pod, phase="READY", openIntents=1)
    await stage.turn()
    assert stage.reason("Drained") in ("Draining", "PodStillRunning")
    ended(stage, pod)
    await stage.turn(2)
    assert alive(stage)
    assert ("Job", "trading", "bonk-settle") in stage.kube.objects


async def test_force_delete_lets_go_at_once(stage):
    """Whatever is open."""
    await dying(stage)
    meta = {**stage.bot["metadata"], "annotations": {"tradingbot.dev/force-delete": "true"}}
    stage.kube.put({**stage.bot, "metadata": meta})
    await stage.turn()
    assert not alive(stage)


async def test_orphan_ends_the_pods_and_settles_nothing(stage):
    """What is open on chain is left alone."""
    pod = await dying(stage, deletionPolicy="Orphan")
    stage.says(pod, phase="STOPPED", trading=False, openIntents=2)
    await stage.turn(2)
    assert await goes_with_its_pod(stage, pod)


async def test_a_wrong_manifest_is_drained_all_the_same(stage):
    """The engine that runs is that of an older, sound one."""
    pod = await dying(stage)
    stage.kube.put({**stage.bot, "spec": {**stage.bot["spec"], "strategies": []}})
    stage.says(pod, phase="STOPPED", trading=False, openIntents=0)
    await stage.turn(2)
    assert await goes_with_its_pod(stage, pod)


async def test_a_namespace_that_goes_first_holds_the_bot_and_says_so(stage):
    """No Job can be made in it; what may be open is not forgotten for that."""
    pod = await dying(stage)
    stage.says(pod, phase="STOPPED", trading=False, openIntents=1)
    await stage.turn(2)
    ended(stage, pod)
    ending = NamespaceTerminating("it is being terminated")
    stage.kube.fault = lambda verb, kind, name: ending if verb in ("apply", "create") and kind != "Event" else None
    await stage.turn(3)
    assert alive(stage)
    assert stage.reason("Drained") == "NamespaceTerminating"
    assert "force-delete" in stage.condition("Drained")["message"]


async def test_a_bot_that_never_was_held_goes_by_itself(stage):
    """A manifest that was wrong from the beginning made nothing."""
    stage.apply(strategies=[])
    await stage.turn()
    stage.kube.remove("TradingBot", "trading", "bonk")
    await stage.turn()
    assert not alive(stage)


@pytest.mark.parametrize("at", range(12))
async def test_an_operator_that_dies_after_any_request_leaves_a_deletion_that_the_next_one_ends(stage, at):
    """Nothing of the way is remembered anywhere but in the cluster."""
    pod = await dying(stage)
    stage.says(pod, phase="STOPPED", trading=False, openIntents=1)
    asked = 0

    def dead(verb: str, kind: str, name: str):
        nonlocal asked
        asked += verb != "get"
        return Unavailable("the operator is dead") if asked > at else None

    stage.kube.fault = dead
    await stage.turn()
    if ("Pod", "trading", pod["metadata"]["name"]) in stage.kube.objects and "Deployment" not in stage.kinds():
        ended(stage, pod)
    await stage.turn(2)
    stage.kube.fault = lambda verb, kind, name: None
    stage.restart()
    stage.failures = 0
    for _ in range(4):
        await stage.turn(2)
        if "Deployment" not in stage.kinds() and ("Pod", "trading", pod["metadata"]["name"]) in stage.kube.objects:
            ended(stage, pod)
    job = stage.kube.objects["Job", "trading", "bonk-settle"]
    stage.kube.put({**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    await stage.turn(2)
    assert not alive(stage)
    assert not [place for place in stage.kube.objects if place[2] == "bonk-settle"]


# --- deletionPolicy ClosePositions
def wish(stage: Stage) -> str:
    return f"deletion of trading/bonk ({stage.bot['metadata']['uid']})"


def selling(stage: Stage, left: int = 2, **changes: object) -> dict[str, object]:
    """Return what an engine says of its sales."""
    return {"by": wish(stage), "done": left == 0, "positionsLeft": left, "stuck": None, "positions": []} | changes


async def test_everything_is_sold_before_the_engine_drains(stage):
    """An engine that drains takes no signal any more, so that nothing would be sold."""
    pod = await dying(stage, deletionPolicy="ClosePositions")
    await stage.turn()
    assert stage.port.told == [("10.0.0.1", ("close-out", wish(stage)))]
    assert stage.reason("Drained") == "ClosingPositions"
    assert "Deployment" in stage.kinds()

    trouble = {"symbol": "BONK", "strategy": "momentum", "trouble": "ABANDONED: no route"}
    reasons = [{"type": "ClosingOut", "message": "x"}, {"type": "NoEndpoint", "message": "all nodes are away"}]
    stage.says(pod, trading=False, closing=selling(stage, 2, positions=[trouble]), reasons=reasons, openIntents=1)
    await stage.turn(2)
    assert len(stage.port.told) == 1, "it was told once"
    message = stage.condition("Drained")["message"]
    for words in ("2 positions left", "BONK of momentum: ABANDONED: no route", "NoEndpoint: all nodes", "force-delete"):
        assert words in message
    assert stage.reason("Trading") == "ClosingOut"

    many = [{"symbol": f"T{n}", "strategy": "momentum", "trouble": "no route " * 40} for n in range(20)]
    stage.says(pod, trading=False, closing=selling(stage, 20, positions=many))
    await stage.turn(2)
    message = stage.condition("Drained")["message"]
    assert len(message) <= 4000
    assert message.endswith("gives up waiting"), "the way out is cut off by a long list"

    stage.says(pod, trading=False, closing=selling(stage, 0))
    await stage.turn()
    assert stage.port.told[-1] == ("10.0.0.1", "drain")
    stage.says(pod, phase="STOPPED", trading=False, openIntents=0, closing=selling(stage, 0))
    await stage.turn()
    assert stage.reason("Drained") == "NothingOpen"
    assert await goes_with_its_pod(stage, pod)


async def test_an_engine_that_was_told_by_somebody_else_is_told_again(stage):
    """A close-out by hand may be undone by hand; that of the deletion is the deletion's."""
    pod = await dying(stage, deletionPolicy="ClosePositions")
    stage.says(pod, closing=selling(stage, 0, by="close-out by hand"))
    await stage.turn()
    assert stage.port.told == [("10.0.0.1", ("close-out", wish(stage)))]
    assert stage.reason("Drained") == "ClosingPositions"


@pytest.mark.parametrize(
    ("says", "drains"),
    [
        ({"closing": {"stuck": "LedgerBehindChain: an old copy"}}, True),
        ({"phase": "DRAINING"}, False),
        ({"phase": "STOPPED", "openIntents": 0}, False),
        ({"error": "timeout", "silent_s": 16}, False),
    ],
)
async def test_what_a_running_engine_cannot_sell_is_sold_by_the_job(stage, says, drains):
    """Fatal, drained by its preStop hook, or silent: only then, and only when its pod is gone, since two never share a ledger."""
    pod = await dying(stage, deletionPolicy="ClosePositions")
    closing = {"closing": selling(stage, **says.pop("closing", {}))} if "error" not in says else {}
    stage.says(pod, **(closing | says))
    await stage.turn()
    assert (("10.0.0.1", "drain") in stage.port.told) is (drains or says.get("phase") == "DRAINING")
    if drains:
        stage.says(pod, phase="STOPPED", trading=False, openIntents=0, closing=selling(stage, 2))
    await stage.turn(2)
    assert stage.condition("Drained")["status"] == "False", "what it held is not sold"
    assert "Job" not in stage.kinds()
    ended(stage, pod)
    stage.engines.heard.clear()
    await stage.turn(2)
    job = stage.kube.objects["Job", "trading", "bonk-settle"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command = [*container.get("command", ()), *container.get("args", ())]
    assert command[-3:] == ["--sell", "--by", wish(stage)]
    assert stage.reason("Drained") == "ClosingPositions"
    stage.kube.put({**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    await stage.turn(2)
    assert not alive(stage)


async def test_without_the_policy_nothing_is_sold(stage):
    """Neither by the engine nor by the Job."""
    pod = await dying(stage)
    await stage.turn()
    assert stage.port.told == [("10.0.0.1", "drain")]
    stage.engines.heard.clear()
    ended(stage, pod)
    await stage.turn(3)
    (container,) = stage.kube.objects["Job", "trading", "bonk-settle"]["spec"]["template"]["spec"]["containers"]
    assert "--sell" not in [*container.get("command", ()), *container.get("args", ())]


async def test_a_wrong_manifest_can_still_say_that_everything_is_to_be_sold(stage):
    """The engine that runs is that of an older, sound one, and knows how to sell."""
    await dying(stage, deletionPolicy="ClosePositions")
    stage.kube.put({**stage.bot, "spec": {**stage.bot["spec"], "strategies": []}})
    await stage.turn()
    assert stage.port.told == [("10.0.0.1", ("close-out", wish(stage)))]


async def test_an_engine_of_an_older_release_that_cannot_sell_is_told_of(stage):
    """Nobody may wait for a sale that never comes without knowing."""
    await dying(stage, deletionPolicy="ClosePositions")
    stage.port.error = EngineRefused(404, "no reason given")
    await stage.turn()
    assert stage.reason("Degraded") == "CloseOutRefused"
    assert alive(stage)


async def test_force_delete_lets_go_of_what_cannot_be_sold(stage):
    """The documented way out."""
    pod = await dying(stage, deletionPolicy="ClosePositions")
    stage.says(pod, trading=False, closing=selling(stage, 1))
    await stage.turn()
    assert alive(stage)
    meta = {**stage.bot["metadata"], "annotations": {"tradingbot.dev/force-delete": "true"}}
    stage.kube.put({**stage.bot, "metadata": meta})
    await stage.turn()
    assert not alive(stage)


@pytest.mark.parametrize(
    ("by", "reopened"),
    [("deletion of trading/bonk (an-older-uid)", True), ("close-out by hand", False), ("settle --sell", False)],
)
async def test_a_bot_that_is_made_again_on_a_ledger_that_a_deletion_closed_out_trades(stage, by, reopened):
    """Whoever makes it anew wants it to trade; what a person closed out stays closed until a person says otherwise."""
    stage.apply()
    await stage.turn(2)
    pod = stage.pod()
    stage.rolled_out()
    stage.says(pod, trading=False, closing=selling(stage, 0, by=by))
    await stage.turn(2)
    assert (("10.0.0.1", "reopen") in stage.port.told) is reopened
    stage.says(pod, trading=False, closing=selling(stage, 0))
    stage.port.told.clear()
    await stage.turn(2)
    assert stage.port.told == [], "a view from before its own deletion must not undo it"


@pytest.mark.parametrize(("first", "then"), [("ClosePositions", "Drain"), ("Drain", "ClosePositions")])
@pytest.mark.parametrize("complete", [False, True])
async def test_a_policy_that_is_changed_while_the_job_works_is_followed(stage, first, then, complete):
    """The former Job goes first, its pod as well, whatever it has done: then there is one that does what is wanted now."""
    pod = await dying(stage, deletionPolicy=first)
    stage.engines.heard.clear()
    ended(stage, pod)
    await stage.turn(3)
    job = stage.kube.objects["Job", "trading", "bonk-settle"]
    labels = {**pod["metadata"]["labels"], "app.kubernetes.io/component": "settle"}
    stage.kube.put({**pod, "metadata": {"name": "bonk-settle-1", "namespace": "trading", "labels": labels}})
    if complete:
        stage.kube.put({**job, "status": {"conditions": [{"type": "Complete", "status": "True"}]}})
    stage.apply(deletionPolicy=then)
    await stage.turn(2)
    assert alive(stage)
    assert "Job" not in stage.kinds()
    assert stage.reason("Drained") == "PodStillRunning"
    stage.kube.remove("Pod", "trading", "bonk-settle-1")
    await stage.turn(2)
    (container,) = stage.kube.objects["Job", "trading", "bonk-settle"]["spec"]["template"]["spec"]["containers"]
    assert ("--sell" in container["command"]) is (then == "ClosePositions")
    assert stage.reason("Drained") == ("ClosingPositions" if then == "ClosePositions" else "Settling")
