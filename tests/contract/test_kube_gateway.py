"""One suite over both sides of the gateway port: the API server in memory that unit tests use, and a real one."""

import itertools

import pytest
from support.api_server import kube_api
from support.kube_fake import FakeKube
from support.kube_person import Person

from tradingbot_operator.kube.access import configuration
from tradingbot_operator.kube.client import KubeClient
from tradingbot_operator.kube.errors import AlreadyExists, Conflict, NotFound
from tradingbot_operator.kube.kinds import CONFIG_MAP, SECRET, SERVICE_ACCOUNT

__all__ = ["kube_api"]
NUMBERS = itertools.count(1)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.kubernetes)])
async def place(request):
    """A gateway and a namespace of the test's own."""
    name = f"c{next(NUMBERS)}"
    if request.param == "fake":
        yield FakeKube(), name
        return
    api = request.getfixturevalue("kube_api")
    async with Person(api.kubeconfig) as person:
        await person.namespace(name)
    client = KubeClient(await configuration(kubeconfig=str(api.kubeconfig)))
    yield client, name
    await client.close()


def settings(namespace: str, name: str = "x", labels: dict[str, str] | None = None, **data: str):
    meta = {"name": name, "namespace": namespace, "labels": labels or {"app": "tb"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


async def test_apply_makes_changes_and_drops_what_it_applied_before(place):
    """Fields that we no longer apply go; a second apply of the same makes no new version."""
    gateway, here = place
    first = await gateway.apply(settings(here, a="1", b="2"))
    again = await gateway.apply(settings(here, a="1", b="2"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    less = await gateway.apply(settings(here, a="3"))
    assert less["data"] == {"a": "3"}
    assert int(less["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert less["metadata"]["uid"] == first["metadata"]["uid"]


async def test_apply_with_a_uid_never_makes_an_object_anew(place):
    """What is written for one object must not fall upon its successor."""
    gateway, here = place
    made = await gateway.apply(settings(here, a="1"))
    body = settings(here, a="2")
    body["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111"
    with pytest.raises(Conflict):
        await gateway.apply(body)
    assert (await gateway.get(CONFIG_MAP, here, "x"))["metadata"]["resourceVersion"] == made["metadata"][
        "resourceVersion"
    ]


async def test_get_returns_none_for_what_is_not_there(place):
    """Absence is an answer, no fault."""
    gateway, here = place
    assert await gateway.get(CONFIG_MAP, here, "x") is None


async def test_list_finds_by_labels(place):
    """And only in its namespace."""
    gateway, here = place
    await gateway.apply(settings(here, "one", {"app": "tb"}))
    await gateway.apply(settings(here, "two", {"app": "other"}))
    found = await gateway.list(CONFIG_MAP, here, labels="app=tb")
    assert [(body["kind"], body["metadata"]["name"]) for body in found] == [("ConfigMap", "one")]


async def test_create_refuses_what_exists(place):
    """A Secret that is made once stays what it is."""
    gateway, here = place
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": here}}
    await gateway.create({**secret, "stringData": {"token": "one"}})
    with pytest.raises(AlreadyExists):
        await gateway.create({**secret, "stringData": {"token": "two"}})
    assert (await gateway.get(SECRET, here, "s"))["data"] == {"token": "b25l"}


async def test_delete_takes_that_very_object(place):
    """Gone already is fine; a successor of the same name stays."""
    gateway, here = place
    made = await gateway.apply(settings(here, a="1"))
    with pytest.raises(Conflict):
        await gateway.delete(CONFIG_MAP, here, "x", uid="11111111-1111-1111-1111-111111111111")
    await gateway.delete(CONFIG_MAP, here, "x", uid=made["metadata"]["uid"])
    assert await gateway.get(CONFIG_MAP, here, "x") is None
    await gateway.delete(CONFIG_MAP, here, "x", uid=made["metadata"]["uid"])


async def test_finalizers_are_replaced_only_on_the_version_that_was_seen(place):
    """Somebody else's finalizer that came since is not lost."""
    gateway, here = place
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "x", "namespace": here}}
    seen = await gateway.apply(account)
    held = await gateway.set_finalizers(SERVICE_ACCOUNT, seen, ["tradingbot.dev/drain"])
    assert held["metadata"]["finalizers"] == ["tradingbot.dev/drain"]
    with pytest.raises(Conflict):
        await gateway.set_finalizers(SERVICE_ACCOUNT, seen, [])
    await gateway.delete(SERVICE_ACCOUNT, here, "x", uid=held["metadata"]["uid"])
    ending = await gateway.get(SERVICE_ACCOUNT, here, "x")
    assert "deletionTimestamp" in ending["metadata"]
    await gateway.set_finalizers(SERVICE_ACCOUNT, ending, [])
    assert await gateway.get(SERVICE_ACCOUNT, here, "x") is None


async def test_replace_compares_versions(place):
    """Two operators that take the Lease at once: one is told."""
    gateway, here = place
    made = await gateway.create(settings(here, a="1"))
    await gateway.replace({**made, "data": {"a": "2"}})
    with pytest.raises(Conflict):
        await gateway.replace({**made, "data": {"a": "3"}})
    assert (await gateway.get(CONFIG_MAP, here, "x"))["data"] == {"a": "2"}


async def test_replace_of_what_is_gone_is_told(place):
    """Not made anew."""
    gateway, here = place
    with pytest.raises(NotFound):
        await gateway.replace({**settings(here, a="1"), "metadata": {"name": "x", "namespace": here}})


async def test_fields_are_put_in_place_and_only_into_the_version_that_was_seen(place):
    """One write for several places; what somebody wrote since is looked at first."""
    gateway, here = place
    seen = await gateway.apply(settings(here, a="1", b="2"))
    put = await gateway.set_fields(CONFIG_MAP, seen, {"/data": {"a": "3"}, "/metadata/labels/app": "other"})
    assert (put["data"], put["metadata"]["labels"]) == ({"a": "3"}, {"app": "other"})
    assert put["metadata"]["uid"] == seen["metadata"]["uid"]
    with pytest.raises(Conflict):
        await gateway.set_fields(CONFIG_MAP, seen, {"/data": {}})
    assert (await gateway.get(CONFIG_MAP, here, "x"))["data"] == {"a": "3"}
