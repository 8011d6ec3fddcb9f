"""The operator's parts by themselves: who leads, whose turn it is, what a watch missed, who put which field where."""

import asyncio
from typing import Any

import pytest
from support.kube_fake import FakeKube
from support.operator_stage import HandClock

from tradingbot_operator import app
from tradingbot_operator.drift import differs, mark, stamped
from tradingbot_operator.handlers.events import changes
from tradingbot_operator.handlers.resync import Resync
from tradingbot_operator.handlers.watches import Watches
from tradingbot_operator.handlers.work import Again, Work
from tradingbot_operator.kube.errors import (
    Conflict,
    Forbidden,
    NamespaceTerminating,
    QuotaExceeded,
    Throttled,
    error_of,
)
from tradingbot_operator.kube.fields import foreign_fields
from tradingbot_operator.kube.guard import LeaderOnly, NotLeading
from tradingbot_operator.kube.kinds import CONFIG_MAP
from tradingbot_operator.kube.lease import DURATION_S, Leadership
from tradingbot_operator.kube.store import Store, Stored
from tradingbot_operator.observed import Child
from tradingbot_operator.status.reasons import BY_KEY, CONDITIONS, REASONS, table

BONK = {"namespace": "n", "name": "bonk", "uid": "u", "resourceVersion": "1", "generation": 1}


# --- leadership
def leader(kube: FakeKube, clock: HandClock, name: str) -> Leadership:
    return Leadership(
        gateway=kube, namespace="tradingbot-system", identity=name, monotonic_s=clock.monotonic_s, now=clock.now
    )


async def test_one_of_two_operators_leads():
    """The one that made the Lease; the other one sees who it is."""
    kube, clock = FakeKube(), HandClock()
    one, other = leader(kube, clock, "one"), leader(kube, clock, "other")
    await one.step()
    await other.step()
    assert (one.leads, other.leads, other.holder) == (True, False, "one")


async def test_an_unchanged_lease_is_taken_only_after_its_whole_duration_was_watched():
    """Never by the holder's clock: its times are not even read."""
    kube, clock = FakeKube(), HandClock()
    one, other = leader(kube, clock, "one"), leader(kube, clock, "other")
    await one.step()
    kube.objects["Lease", "tradingbot-system", "tradingbot-operator"]["spec"]["renewTime"] = (
        "1999-01-01T00:00:00.000000Z"
    )
    await other.step()
    clock.at_s += DURATION_S
    await other.step()
    assert not other.leads
    clock.at_s += 1
    await other.step()
    assert other.leads


async def test_a_leader_that_cannot_renew_stops_acting_before_another_may_begin():
    """There is no moment at which both write."""
    kube, clock = FakeKube(), HandClock()
    one, other = leader(kube, clock, "one"), leader(kube, clock, "other")
    await one.step()
    await other.step()
    kube.fault = lambda verb, kind, name: None
    both = []
    for _ in range(40):
        clock.at_s += 0.5
        await other.step()
        both.append((one.leads, other.leads))
    assert (True, True) not in both
    assert both[-1] == (False, True)


async def test_a_lease_that_was_given_back_is_free_at_once():
    """An operator that ends in order makes nobody wait."""
    kube, clock = FakeKube(), HandClock()
    one, other = leader(kube, clock, "one"), leader(kube, clock, "other")
    await one.step()
    await one.release()
    await other.step()
    assert (one.leads, other.leads) == (False, True)


async def test_a_restarted_container_of_the_same_pod_has_its_lease_again_at_once():
    """The identity is the pod's name."""
    kube, clock = FakeKube(), HandClock()
    await leader(kube, clock, "pod-1").step()
    again = leader(kube, clock, "pod-1")
    await again.step()
    assert again.leads


async def test_a_lease_is_renewed_by_one_request_until_somebody_touches_it():
    """What is as we left it need not be read first; what is not, or is gone, is read, and taken only if it may be."""
    kube, clock = FakeKube(), HandClock()
    one = leader(kube, clock, "one")
    asked: list[str] = []
    kube.fault = lambda verb, kind, name: asked.append(verb)
    await one.step()
    await one.step()
    await one.step()
    assert asked == ["get", "create", "replace", "replace"]
    lease = kube.objects["Lease", "tradingbot-system", "tradingbot-operator"]
    kube.put({**lease, "metadata": {**lease["metadata"], "labels": {"touched": "yes"}}})
    asked.clear()
    await one.step()
    assert (asked, one.leads) == (["replace", "get", "replace"], True)
    kube.remove("Lease", "tradingbot-system", "tradingbot-operator")
    asked.clear()
    await one.step()
    assert (asked, one.leads) == (["replace", "get", "create"], True)
    lease = kube.objects["Lease", "tradingbot-system", "tradingbot-operator"]
    kube.put({**lease, "spec": {**lease["spec"], "holderIdentity": "other"}})
    await one.step()
    assert (one.leads, one.holder, one.terms) == (False, "other", 1)


async def test_what_was_due_while_the_lease_was_renewed_too_late_is_done_after_all(monkeypatch):
    """Passes do nothing then, and nobody else does: whoever leads again looks at every bot, though it led at each look."""
    monkeypatch.setattr(app, "RENEW_S", 0.01)
    kube, clock = FakeKube(), HandClock()
    leadership = leader(kube, clock, "one")
    led: list[bool] = []
    renewals = 0

    def slow(verb: str, kind: str, name: str) -> None:
        """Let the second renewal's answer take 6 s, and the third's 5 s: 11 s lie between them, and at each end it leads."""
        nonlocal renewals
        renewals += verb == "replace"
        clock.at_s += {2: 6, 3: 5}.get(renewals, 0) if verb == "replace" else 0
        if (renewals, verb) == (3, "replace"):
            led.append(leadership.leads)
            looked.clear()

    kube.fault = slow
    looked = asyncio.Event()

    async def look(key: Any) -> None:
        looked.set()

    store, work = Store(), Work(look)
    store.put({"apiVersion": "tradingbot.dev/v1alpha1", "kind": "TradingBot", "metadata": BONK})
    watches = Watches(store=store, wake=work.wake, relisted=lambda kind: None)
    watches.complete = True
    operator = app.Operator(app.OperatorSettings(identity="one", engine_image="x"), clock=clock)
    resync: Any = None  # asked only while not everything was listed
    leading = asyncio.create_task(operator._lead(leadership, store, work, watches, resync))
    try:
        async with asyncio.timeout(10):
            while not led:
                await asyncio.sleep(0.001)
            await looked.wait()
    finally:
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
        await work.stop()
    assert led == [False]
    assert leadership.leads


async def test_who_does_not_lead_writes_nothing():
    """Reads go on; a pass that runs when the Lease is lost ends at its next write."""
    kube = FakeKube()
    gateway = LeaderOnly(kube, leads=lambda: False)
    body = {"kind": "ConfigMap", "metadata": {"namespace": "n", "name": "x"}}
    for write in (
        gateway.apply(body), gateway.apply_status(body), gateway.create(body), gateway.replace(body),
        gateway.delete(CONFIG_MAP, "n", "x", uid="u"), gateway.set_finalizers(CONFIG_MAP, body, []),
    ):  # fmt: skip
        with pytest.raises(NotLeading):
            await write
    assert kube.writes == []
    assert await gateway.get(CONFIG_MAP, "n", "x") is None


# --- turns
async def test_a_bot_is_never_in_two_passes_at_once_and_no_wake_is_lost():
    """What woke it during a pass gets one more pass, however often it did."""
    running, passes, most = 0, 0, 0
    gate = asyncio.Event()

    async def run(_: object) -> None:
        nonlocal running, passes, most
        running, passes = running + 1, passes + 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    work = Work(run)  # type: ignore[arg-type]
    for _ in range(5):
        work.wake(("n", "a"))
        await asyncio.sleep(0)
    gate.set()
    await asyncio.sleep(0.01)
    assert (passes, most) == (2, 1)


async def test_a_pass_that_hangs_keeps_no_other_bot_waiting():
    """Each bot has a task of its own."""
    done = []

    async def run(key: tuple[str, str]) -> None:
        if key[1] == "hangs":
            await asyncio.Event().wait()
        done.append(key[1])

    work = Work(run)  # type: ignore[arg-type]
    work.wake(("n", "hangs"))
    for n in range(50):
        work.wake(("n", f"bot-{n}"))
    await asyncio.sleep(0.01)
    assert len(done) == 50
    await work.stop()


async def test_a_pass_that_fails_is_repeated_later_and_later_and_a_wake_is_not_kept_waiting():
    """Any fault at all: a bot in trouble is never forgotten."""
    times = []

    async def run(_: object) -> None:
        times.append(asyncio.get_running_loop().time())
        raise Again("not yet", after_s=0.02) if len(times) < 3 else ValueError("a fault of our own")

    work = Work(run)  # type: ignore[arg-type]
    work.wake(("n", "a"))
    await asyncio.sleep(0.2)
    assert len(times) == 3
    assert work.failures(("n", "a")) == 3
    work.wake(("n", "a"))
    await asyncio.sleep(0.01)
    assert len(times) == 4
    await work.stop()


async def test_at_the_end_a_pass_may_finish_and_one_that_hangs_is_broken_off(monkeypatch):
    """What a pass has done it also reports; and no bot keeps an operator from ending."""
    monkeypatch.setattr("tradingbot_operator.handlers.work.FINISH_S", 0.1)
    gate, done = asyncio.Event(), []

    async def run(key: tuple[str, str]) -> None:
        await (asyncio.Event() if key[1] == "hangs" else gate).wait()
        done.append(key[1])

    work = Work(run)  # type: ignore[arg-type]
    for name in ("hangs", "a"):
        work.wake(("n", name))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.01, gate.set)
    await work.stop()
    assert done == ["a"]
    assert work.waiting == 1, "the one that was broken off"
    work.wake(("n", "b"))
    await asyncio.sleep(0.01)
    assert done == ["a"]


# --- the store
def config_map(version: int, *, uid: str = "u1", name: str = "x", bot: str = "bonk") -> dict[str, Any]:
    labels = {"tradingbot.dev/bot": bot}
    meta = {"namespace": "n", "name": name, "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"version": str(version)}}


def test_the_newer_word_about_an_object_stays():
    """The answer to a write and the watch come in any order."""
    store = Store()
    assert store.put(config_map(10)) == ("n", "bonk")
    assert store.put(config_map(9)) is None
    (kept,) = store.children(("n", "bonk"))
    assert kept.version == "10"


def test_an_object_that_is_gone_is_not_revived_by_a_late_answer():
    """The watch told of its end before the write's answer came."""
    store = Store()
    store.put(config_map(10))
    store.remove(config_map(12))
    assert store.put(config_map(11)) is None
    assert store.children(("n", "bonk")) == ()
    assert store.put(config_map(13, uid="u2")) == ("n", "bonk")


def test_a_list_removes_what_vanished_and_leaves_what_came_since():
    """A watch that begins anew tells of nothing that vanished meanwhile."""
    store = Store()
    store.put(config_map(1, uid="old", name="old"))
    before = store.versions(CONFIG_MAP, None)
    store.put(config_map(5, uid="new", name="new"))
    assert store.replace(CONFIG_MAP, None, [], known=before) == {("n", "bonk")}
    assert [s.name for s in store.children(("n", "bonk"))] == ["new"]


# --- what a watch missed
class _Resync:
    def __init__(self) -> None:
        self.kube, self.store, self.clock = FakeKube(), Store(), HandClock()
        self.woken: list[Any] = []
        self.missed: list[float] = []
        self.resync = Resync(
            gateway=self.kube, store=self.store, namespaces=[None], every_s=300, wake=self.woken.append,
            clock=self.clock, missed=lambda kind, seconds: self.missed.append(seconds),
        )  # fmt: skip


async def test_a_change_that_no_watch_told_of_is_found_and_told_as_a_stale_watch(monkeypatch):
    """/livez fails on it after a while; the bot is woken at once."""
    monkeypatch.setattr("tradingbot_operator.handlers.resync.GRACE_S", 0.01)
    rig = _Resync()
    body = config_map(1)
    body["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "tradingbot-operator"
    rig.kube.put(body)
    await rig.resync.look(CONFIG_MAP)
    assert rig.woken == [("n", "bonk")]
    rig.clock.at_s += 61
    assert rig.resync.stale_s > 60
    await rig.resync.look(CONFIG_MAP)
    assert rig.resync.stale_s == 0


async def test_what_a_live_watch_tells_within_the_grace_is_no_stale_watch(monkeypatch):
    """A list is always a little ahead of the watch."""
    monkeypatch.setattr("tradingbot_operator.handlers.resync.GRACE_S", 0.05)
    rig = _Resync()
    body = config_map(1)
    body["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "tradingbot-operator"
    listed = rig.kube.put(body)
    look = asyncio.create_task(rig.resync.look(CONFIG_MAP))
    await asyncio.sleep(0.01)
    rig.store.put(listed)
    await look
    assert rig.resync.stale_s == 0
    assert rig.woken == []


async def test_an_object_that_vanished_unseen_is_found(monkeypatch):
    """Its bot is woken, and makes it anew."""
    monkeypatch.setattr("tradingbot_operator.handlers.resync.GRACE_S", 0.01)
    rig = _Resync()
    rig.store.put(config_map(1))
    await rig.resync.look(CONFIG_MAP)
    assert rig.woken == [("n", "bonk")]


# --- fields
def managed(manager: str, fields: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "fieldsV1": fields, **more}


def test_foreign_fields_are_named_as_people_write_them_and_ours_and_kubernetes_are_not():
    """A whole container once; a field beside ours by itself; nothing of status, labels, or what controllers fill in."""
    containers = {
        'k:{"name":"engine"}': {"f:env": {'k:{"name":"EXTRA"}': {".": {}, "f:name": {}, "f:value": {}}}},
        'k:{"name":"sidecar"}': {".": {}, "f:name": {}, "f:image": {}},
    }
    pod = {"f:spec": {"f:template": {"f:spec": {"f:containers": containers}}}}
    ours = {
        "f:spec": {
            "f:replicas": {},
            "f:template": {"f:spec": {"f:containers": {'k:{"name":"engine"}': {".": {}, "f:image": {}}}}},
        }
    }
    body = {
        "metadata": {
            "managedFields": [
                managed("tradingbot-operator", ours),
                managed("kubectl-edit", pod | {"f:metadata": {"f:labels": {"f:x": {}}}}),
                managed("kube-controller-manager", {"f:spec": {"f:volumeName": {}}}),
                managed("other", {"f:spec": {"f:replicas": {}}}),
                managed("other", {"f:spec": {"f:whatever": {}}}, subresource="status"),
            ]
        }
    }
    assert foreign_fields(body) == (
        "spec.template.spec.containers[engine].env[EXTRA]",
        "spec.template.spec.containers[sidecar]",
    )


def child(body: dict[str, Any]) -> Child:
    meta = {"namespace": "n", "name": "x", "uid": "u", "resourceVersion": "1"}
    return Child(Stored.of({**body, "metadata": {**meta, **body["metadata"]}}))


def test_what_the_api_server_rewrites_is_no_difference_once_it_was_seen():
    """A quantity "1000m" comes back as "1": applied once more, and never again; a change by hand still shows."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "n"},
        "data": {"cpu": "1000m", "a": "1"},
    }
    wanted = stamped(body)
    rewritten = {**wanted, "data": {"cpu": "1", "a": "1"}}
    assert "data.cpu" in differs(wanted, child(rewritten))
    seen = mark(wanted, rewritten)
    assert seen is not None
    assert differs(wanted, child(rewritten), seen) == ""
    changed = {**wanted, "data": {"cpu": "1", "a": "2"}}
    assert "data.a" in differs(wanted, child(changed), seen)


def test_a_field_that_is_wanted_no_more_is_a_difference():
    """It shows in nothing but the hash of what was applied."""
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "namespace": "n"},
        "data": {"a": "1", "b": "2"},
    }
    less = {**body, "data": {"a": "1"}}
    assert differs(stamped(less), child(stamped(body))) == "the manifest or the operator changed"


# --- errors
@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (403, {"message": "pods is forbidden: User x cannot create"}, Forbidden),
        (
            403,
            {"message": 'services "x" is forbidden: exceeded quota: none, requested: count/services=1'},
            QuotaExceeded,
        ),
        (
            403,
            {"message": "unable to create", "details": {"causes": [{"reason": "NamespaceTerminating"}]}},
            NamespaceTerminating,
        ),
        (409, {"reason": "Conflict"}, Conflict),
        (429, {"reason": "TooManyRequests"}, Throttled),
    ],
)
def test_answers_are_named_for_what_to_do_next(code, status, kind):
    """By code, reason and cause."""
    assert type(error_of(code, status, what="apply")) is kind


# --- reasons
def test_every_reason_is_documented_once_and_in_camel_case():
    """The table of the docs is this data."""
    assert len(BY_KEY) == len(REASONS)
    assert {reason.condition for reason in REASONS} == set(CONDITIONS)
    for reason in REASONS:
        assert reason.name.isalnum()
        assert reason.name[0].isupper()
        assert reason.meaning.endswith(".")
        assert f"`{reason.name}`" in table()
        if reason.condition == "Degraded" and reason.status == "True":
            assert reason.todo, f"{reason.name}: what should a person do?"


def test_only_what_is_new_is_news():
    """The first status of a sound bot is none; a change of reason is."""
    good = {"type": "Degraded", "status": "False", "reason": "AsExpected"}
    bad = {"type": "Degraded", "status": "True", "reason": "Forbidden"}
    assert changes({}, [good]) == []
    assert changes({"conditions": [good]}, [bad]) == [bad]
    assert changes({"conditions": [bad]}, [bad]) == []
    assert changes({"conditions": [bad]}, [good]) == [good]
