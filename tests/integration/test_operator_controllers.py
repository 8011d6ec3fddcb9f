"""The operator beside Kubernetes' own controllers: roll-outs, garbage collection, namespaces that go, and `tradingbot plan`."""

import json
import subprocess
import sys

import pytest
import yaml
from support.kube_person import eventually
from support.operator_fixtures import an_api_that_knows_bots, bench, running
from support.operator_rig import Bench
from support.operator_stage import PAPER

__all__ = ["bench", "running"]
pytestmark = pytest.mark.kubernetes


@pytest.fixture(scope="module")
def api():
    with an_api_that_knows_bots(controllers=True) as found:
        yield found


async def pods(bench: Bench) -> list[str]:
    return [pod["metadata"]["name"] for pod in await bench.person.list("Pod", bench.namespace)]


async def test_the_deployments_own_pod_is_seen_through_its_states(bench, running):
    """Pending, no image, running: each is a condition, and the last one clears it."""
    await running.ready()
    await bench.apply()
    (pod,) = await eventually(lambda: pods(bench))
    await bench.condition("Progressing", "RollingOut")
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    broken = {"name": "engine", "restartCount": 0, "ready": False, "image": "x", "imageID": "", "state": waiting}
    await bench.pod_status(
        pod, phase="Pending", containerStatuses=[broken], conditions=[{"type": "Ready", "status": "False"}]
    )
    found = await bench.condition("Degraded", "ImagePullFailed")
    assert "no such image" in found["message"]
    await bench.pod_status(pod, podIP=None, podIPs=None)  # no engine of this test listens
    await bench.condition("Degraded", "AsExpected")
    await bench.condition("Ready", "AllReady")


async def test_a_container_port_changed_by_hand_never_starts_a_second_engine(bench, running):
    """Two engines on one SQLite ledger is what Recreate prevents, also while a hand and the operator change the template in turn."""
    await running.ready()
    await bench.apply()
    await eventually(lambda: pods(bench))
    person, here = bench.person, bench.namespace
    listed = await person.ask("GET", f"/api/v1/namespaces/{here}/pods")
    there = {pod["metadata"]["name"] for pod in listed["items"]}
    before = await person.get("Deployment", here, "bonk-engine")
    admin = before["spec"]["template"]["spec"]["containers"][0]["ports"]
    containers = [{"name": "engine", "ports": [{"$patch": "replace"}, {"name": "admin", "containerPort": 8081}]}]
    await person.strategic(
        "Deployment", here, "bonk-engine", {"spec": {"template": {"spec": {"containers": containers}}}}
    )

    async def put_back():
        found = await person.get("Deployment", here, "bonk-engine")
        ports = found["spec"]["template"]["spec"]["containers"][0]["ports"]
        current = (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]
        return found if ports == admin and current else {}

    found = await eventually(put_back, why="our port")
    assert found["spec"]["strategy"]["type"] == "Recreate"
    await bench.condition("Degraded", "AsExpected")
    await bench.quiet()
    assert len(await pods(bench)) == 1
    most = len(there)
    for change in await bench.person.changes("Pod", here, since=listed["metadata"]["resourceVersion"]):
        name = change["object"]["metadata"]["name"]
        (there.discard if change["type"] == "DELETED" else there.add)(name)
        most = max(most, len(there))
    assert most == 1


async def test_a_bot_whose_image_was_never_pulled_can_be_deleted(bench, running):
    """Nothing ever ran, so nothing is open: no Job, and nobody has to force anything."""
    await bench.apply()
    await eventually(lambda: pods(bench))
    await bench.observed()
    await bench.person.delete("TradingBot", bench.namespace, "bonk")

    async def bot_gone():
        return not await bench.bot()

    await eventually(bot_gone)
    assert not await bench.person.list("Job", bench.namespace)


async def test_a_foreground_deletion_takes_the_children_and_the_bot_is_settled_all_the_same(bench, running):
    """Argo CD's way: the pods are gone before anybody could ask them, so a Job looks into the ledger."""
    await bench.apply()
    (pod,) = await eventually(lambda: pods(bench))
    await bench.pod_status(pod)  # it ran, and nobody heard of what it did
    await bench.condition("Ready", "AllReady")
    await bench.person.delete("TradingBot", bench.namespace, "bonk", how="Foreground")

    async def job():
        return await bench.person.get("Job", bench.namespace, "bonk-settle")

    await eventually(job)
    bot = await bench.bot()
    assert set(bot["metadata"]["finalizers"]) >= {"tradingbot.dev/drain"}
    await bench.condition("Drained", "Settling")
    settled = f"{bench.namespace}/bonk"
    names = {name for _, name in await bench.versions()}
    assert {"bonk-settle", "bonk-ledger"} <= names, settled
    settling = next(name for name in await eventually(lambda: pods(bench)) if name.startswith("bonk-settle"))
    done = {"name": "engine", "restartCount": 0, "ready": False, "image": "x", "imageID": "x"}
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "containerID": "x"}}
    await bench.pod_status(settling, phase="Succeeded", containerStatuses=[{**done, "state": ended}])

    async def gone():
        return not await bench.bot() and not [k for k in await bench.versions() if k[1] == "bonk-settle"]

    await eventually(gone)
    assert await bench.person.get("PersistentVolumeClaim", bench.namespace, "bonk-ledger")


def plan(api, file, *more: str) -> str:
    command = [
        sys.executable,
        "-m",
        "tradingbot_operator",
        "plan",
        "-f",
        str(file),
        "--kubeconfig",
        str(api.kubeconfig),
        *more,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_a_plan_is_printed_and_nothing_is_changed(bench, running, api, tmp_path):
    """For a bot that does not exist yet, one that is as wanted, and one with a change."""
    body = yaml.safe_load(PAPER)
    body["metadata"]["namespace"] = bench.namespace
    file = tmp_path / "bot.yaml"
    file.write_text(yaml.safe_dump(body))
    fresh_plan = plan(api, file)
    assert "hold      finalizer tradingbot.dev/drain: before the first pod exists" in fresh_plan
    assert "apply     Deployment bonk-engine: it does not exist" in fresh_plan
    assert not await bench.bot()
    await bench.apply()
    await bench.observed()
    before = await bench.quiet()
    image = ("--engine-image", "tradingbot-engine:test")
    assert "nothing to do" in plan(api, file, *image)
    body["spec"]["logging"] = {"level": "debug"}
    file.write_text(yaml.safe_dump(body))
    steps = json.loads(plan(api, file, *image, "--output", "json"))[0]["steps"]
    assert [step["text"].split(":")[0] for step in steps] == ["ConfigMap bonk-settings", "Deployment bonk-engine"]
    assert await bench.versions() == before
