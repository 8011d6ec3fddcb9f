"""
A real Argo CD, set up by docs/argo-cd.md, against a real API server: what it makes of our charts, our health script and a bot.

No pod runs here: this test says in the status of pods and bots what a kubelet and the operator would, so that each health and each
promise of the guide is seen within seconds.
"""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.api_server import a_kube_api
from support.argo_stage import ROOT, ArgoStage, Repository, an_argo_cd, applications, documented, eventually, whole
from support.operator_stage import PAPER

pytestmark = [pytest.mark.slow, pytest.mark.kubernetes, pytest.mark.timeout(1200)]
SYSTEM, TRADING, BOT = "tradingbot-system", "trading", "bonk"
FILE = "bots/bonk.yaml"


def manifest(**spec: Any) -> str:
    """Return the manifest of a bot as it stands in Git, with fields of its spec changed."""
    body = yaml.safe_load(PAPER)
    body["metadata"] = {"name": BOT}
    body["spec"]["ledger"] = {
        "urlFrom": {"secretKeyRef": {"name": "ledger", "key": "url"}}
    }  # several pods need PostgreSQL
    body["spec"] |= spec
    return yaml.safe_dump(body)


@pytest.fixture(scope="module")
def stage() -> Iterator[ArgoStage]:
    with a_kube_api(controllers=True) as api, an_argo_cd(api.kubeconfig) as found:
        yield found


@pytest.fixture(scope="module")
def git(stage: ArgoStage, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """One repository with the charts, the bots, and the guide's three Applications."""
    found = Repository(tmp_path_factory.mktemp("git"))
    for chart in ("tradingbot-crds", "tradingbot-operator"):
        found.add(f"The chart {chart}", ROOT / "charts" / chart, f"charts/{chart}")
    found.commit("A bot", {FILE: manifest()})
    found.commit(
        "What is installed", {f"all/{name}.yaml": yaml.safe_dump(installed(name, found)) for name in applications()}
    )
    return found


def installed(name: str, git: Repository) -> dict[str, Any]:
    """Return an Application of the guide; of the operator's chart only what needs no CRD of others."""
    found = documented(name, git)
    found["spec"]["source"].pop("helm", None) if name == "tradingbot-operator" else None
    return found


def pods_become_ready(stage: ArgoStage, namespace: str) -> None:
    """Say as a kubelet would that every pod of a namespace is ready."""
    for pod in stage.get("Pod", namespace=namespace)["items"]:
        ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
        stage.patch("Pod", pod["metadata"]["name"], namespace, ready, of="/status")


def say(stage: ArgoStage, *conditions: tuple[str, str, str, str], observed: bool = True) -> None:
    """Write a bot's status as the operator would: (type, status, reason, message)."""
    generation = bot(stage)["metadata"]["generation"]
    status: dict[str, Any] = {
        "conditions": [
            {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation,
             "lastTransitionTime": "2026-01-01T00:00:00Z"}
            for kind, status, reason, message in conditions
        ],
        "observedGeneration": generation if observed else generation - 1,
    }  # fmt: skip
    change(stage, {"status": status}, of="/status")


def change(stage: ArgoStage, patch: dict[str, Any], *, of: str = "") -> None:
    """Change the bot by hand."""
    stage.patch("TradingBot", BOT, TRADING, patch, of=of)


def bot(stage: ArgoStage) -> dict[str, Any]:
    return stage.get("TradingBot", BOT, TRADING)


READY = ("Ready", "True", "PodsReady", "1 of 1 pods are ready")
TRADES = ("Trading", "True", "Trading", "1 engine takes signals")
SOUND = ("Degraded", "False", "AsWanted", "")
STILL = ("Progressing", "False", "Settled", "")


def test_the_resource_the_operator_and_the_bots_come_one_after_the_other(stage: ArgoStage, git: Repository) -> None:
    """Bots wait for an operator that works, it for the CRD: sync waves, and the health of Applications that the guide adds."""
    stage.apply(whole(git))
    stage.becomes("tradingbot-crds", "Synced Healthy")
    stage.becomes("tradingbot-operator", "Synced Progressing")
    stage.quiet("all")
    assert stage.app("bots") == {}  # its wave has not come: the operator's pod is Pending
    assert stage.get("Namespace", TRADING) == {}

    eventually(lambda: stage.get("Pod", namespace=SYSTEM)["items"], why="the operator's pod is made")
    pods_become_ready(stage, SYSTEM)
    stage.becomes("tradingbot-operator", "Synced Healthy")
    stage.becomes("bots", "Synced Progressing")
    assert stage.health("bots") == ("Progressing", "no operator has looked at it yet")
    assert bot(stage)["spec"]["risk"]["capital"] == 10


def test_every_health_is_what_the_conditions_say(stage: ArgoStage) -> None:
    """Our script, run by Argo CD itself as the guide gave it: no library that it does not load."""
    say(stage, READY, TRADES, SOUND, STILL, observed=False)
    stage.health_becomes("bots", "Progressing", "the operator has not seen the newest spec yet")
    say(stage, ("Ready", "False", "PodNotReady", "0 of 1 pods are ready"), SOUND)
    stage.health_becomes("bots", "Progressing", "PodNotReady: 0 of 1 pods are ready")
    say(stage, READY, TRADES, SOUND, STILL)
    assert stage.health_becomes("bots", "Healthy", "Trading") == "Trading: 1 engine takes signals"
    stage.becomes("bots", "Synced Healthy")
    say(stage, READY, ("Trading", "False", "Paused", "spec.paused is true"), SOUND, STILL)
    stage.health_becomes("bots", "Suspended", "Paused: spec.paused is true")
    stage.becomes("bots", "Synced Suspended")
    say(stage, READY, TRADES, ("Degraded", "True", "InvalidSpec", "strategies[0].type: there is no momentum_6m"), STILL)
    stage.health_becomes("bots", "Degraded", "InvalidSpec: strategies[0].type: there is no momentum_6m")
    stage.becomes("bots", "Synced Degraded")
    say(stage, READY, TRADES, SOUND, STILL)
    stage.becomes("bots", "Synced Healthy")


def test_a_commit_is_applied_and_a_revert_takes_it_back(stage: ArgoStage, git: Repository) -> None:
    """What Git says is what the bot becomes."""
    done = git.commit("More capital", {FILE: manifest(risk={"capital": 12})})
    stage.refresh("bots")
    stage.becomes("bots", "Synced Progressing", revision=done)  # no operator has seen it
    assert bot(stage)["spec"]["risk"]["capital"] == 12
    done = git.revert()
    stage.refresh("bots")
    stage.becomes("bots", "Synced Progressing", revision=done)
    assert bot(stage)["spec"]["risk"]["capital"] == 10


def test_a_commit_against_a_rule_fails_in_the_rules_words_and_the_next_is_applied(
    stage: ArgoStage, git: Repository
) -> None:
    """The API server refuses it, the bot stays as it was, and the retries end so that the correction gets its turn."""
    before = bot(stage)["metadata"]["generation"]
    upside_down = {"capital": 10, "drawdown": {"warningPercent": 9, "haltPercent": 5, "emergencyPercent": 7}}
    git.commit("Tiers out of order", {FILE: manifest(risk=upside_down)})
    stage.refresh("bots")

    def refusal() -> str:
        operation = (stage.app("bots").get("status") or {}).get("operationState") or {}
        return next(
            (
                found["message"]
                for found in (operation.get("syncResult") or {}).get("resources") or []
                if found["status"] == "SyncFailed"
            ),
            "",
        )

    message = eventually(refusal, why="the sync fails by the rule")
    assert "spec.risk.drawdown.warningPercent" in message
    assert "must be below haltPercent" in message
    assert bot(stage)["metadata"]["generation"] == before
    done = git.commit("Tiers in order", {FILE: manifest(risk={"capital": 11})})
    stage.refresh("bots")
    stage.becomes("bots", "Synced Progressing", revision=done)
    assert bot(stage)["spec"]["risk"]["capital"] == 11


def test_a_change_by_hand_is_put_back(stage: ArgoStage) -> None:
    """Self-heal: a number in the spec, a label on what the chart made, and a bot that was deleted."""
    change(stage, {"spec": {"risk": {"capital": 5000}}})
    eventually(lambda: bot(stage)["spec"]["risk"]["capital"] == 11, why="the capital is as in Git")
    deployment = ("Deployment", "tradingbot-operator", SYSTEM)
    stage.patch(*deployment, {"spec": {"replicas": 2}})  # two operators are one too many
    eventually(lambda: stage.get(*deployment)["spec"]["replicas"] == 1, why="one operator, as in the chart")
    uid = bot(stage)["metadata"]["uid"]
    stage.kubectl(f"--namespace={TRADING}", "delete", "tradingbot", BOT, "--wait=true")
    eventually(lambda: (bot(stage).get("metadata") or {}).get("uid") not in {None, uid}, why="the bot is made again")
    assert bot(stage)["spec"]["risk"]["capital"] == 11, "made again as in Git"
    assert stage.get(*deployment)["spec"]["replicas"] == 1, "put back once, and left so"


def test_a_pause_by_hand_and_the_autoscalers_replicas_stay(stage: ArgoStage, git: Repository) -> None:
    """Neither shown as a difference nor undone: not by self-heal, not by a sync for another reason."""
    change(stage, {"spec": {"paused": True, "replicas": 2}, "metadata": {"annotations": {"note": "by hand"}}})
    stage.quiet("bots")
    assert stage.verdict("bots").startswith("Synced")
    done = git.commit("Another capital", {FILE: manifest(risk={"capital": 13})})
    stage.refresh("bots")
    stage.becomes("bots", "Synced Progressing", revision=done)
    found = bot(stage)
    assert (found["spec"]["risk"]["capital"], found["spec"]["paused"], found["spec"]["replicas"]) == (13, True, 2)
    assert found["metadata"]["annotations"]["note"] == "by hand"


def test_a_pause_in_the_middle_of_a_sync_is_not_lost(stage: ArgoStage, git: Repository) -> None:
    """Argo CD writes what it compared a moment ago: a field that it never writes is the only one that it can't write back."""
    for capital in range(20, 25):
        change(stage, {"spec": {"paused": False}})
        stage.quiet("bots", looks=1)
        done = git.commit("Another capital", {FILE: manifest(risk={"capital": capital})})
        before = bot(stage)["metadata"]["generation"]
        stage.refresh("bots")
        time.sleep(random.uniform(0, 1))
        change(stage, {"spec": {"paused": True}})
        stage.becomes("bots", "Synced Progressing", revision=done)
        eventually(lambda before=before: bot(stage)["metadata"]["generation"] >= before + 2, why="both are written")  # type: ignore[misc]
        spec = bot(stage)["spec"]
        assert (spec["risk"]["capital"], spec["paused"]) == (capital, True)


def test_a_pause_in_git_pauses_until_git_lets_go(stage: ArgoStage, git: Repository) -> None:
    """For as long as it stands there nobody resumes the bot by hand."""
    change(stage, {"spec": {"paused": False, "replicas": 1}})
    git.commit("Paused in Git", {FILE: manifest(paused=True)})
    stage.refresh("bots")
    eventually(lambda: bot(stage)["spec"]["paused"] is True, why="Git pauses the bot")
    change(stage, {"spec": {"paused": False}})
    eventually(lambda: bot(stage)["spec"]["paused"] is True, why="a resume by hand is undone")
    done = git.commit("Silent about pauses", {FILE: manifest()})
    stage.refresh("bots")
    stage.becomes("bots", "Synced Progressing", revision=done)
    assert bot(stage)["spec"]["paused"] is False


def test_a_bot_taken_out_of_git_goes_when_its_finalizer_lets_it(stage: ArgoStage, git: Repository) -> None:
    """Pruned in the foreground: its children first. Argo CD shows it as pending; the condition Drained says what it waits for."""
    change(stage, {"metadata": {"finalizers": ["tradingbot.dev/drain"]}})
    uid = bot(stage)["metadata"]["uid"]
    owner = {
        "apiVersion": "tradingbot.dev/v1alpha1",
        "kind": "TradingBot",
        "name": BOT,
        "uid": uid,
        "blockOwnerDeletion": True,
    }
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "child", "namespace": TRADING, "ownerReferences": [owner], "finalizers": ["example.org/slow"]}}  # fmt: skip
    stage.apply(child)
    git.commit(
        "No bot any more",
        {FILE: None, "bots/none.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: none}}"},
    )
    stage.refresh("bots")
    eventually(lambda: "deletionTimestamp" in bot(stage)["metadata"], why="the bot is being deleted")
    assert "foregroundDeletion" in bot(stage)["metadata"]["finalizers"]
    eventually(
        lambda: "deletionTimestamp" in stage.get("ConfigMap", "child", TRADING)["metadata"], why="so is its child"
    )
    stage.patch("ConfigMap", "child", TRADING, {"metadata": {"finalizers": None}})
    say(stage, ("Drained", "False", "Draining", "1 trade is open"))
    stage.health_becomes("bots", "Progressing", "Pending deletion", resource=BOT)
    stage.quiet("bots")
    assert bot(stage)["metadata"]["uid"] == uid
    change(stage, {"metadata": {"finalizers": None}})
    eventually(lambda: bot(stage) == {}, why="the bot is gone")
    stage.becomes("bots", "Synced Healthy")


def test_the_resource_stays_when_git_and_its_application_lose_it(stage: ArgoStage, git: Repository) -> None:
    """With it every bot of the cluster would go."""
    done = git.commit("No CRD any more", {"charts/tradingbot-crds/templates/tradingbots.yaml": None})
    stage.refresh("tradingbot-crds")
    stage.becomes(
        "tradingbot-crds", "Synced Healthy", revision=done
    )  # what is not to be pruned does not count as a difference
    stage.quiet("tradingbot-crds")
    stage.kubectl("--namespace=argocd", "delete", "applications.argoproj.io", "all", "tradingbot-crds", "--wait=true")
    assert "deletionTimestamp" not in stage.get("CustomResourceDefinition", "tradingbots.tradingbot.dev")["metadata"]


def test_a_killed_controller_goes_on_where_it_was(stage: ArgoStage, git: Repository) -> None:
    """Its state is in the cluster; what changed meanwhile is put back."""
    uid = stage.get("ConfigMap", "none", TRADING)["metadata"]["uid"]
    stage.argo.stop("argocd-application-controller", kill=True)
    stage.kubectl(f"--namespace={TRADING}", "delete", "configmap", "none")
    assert stage.get("ConfigMap", "none", TRADING) == {}, "nobody puts it back while the controller is away"
    stage.argo.start("argocd-application-controller")
    stage.argo.wait_ready()
    made = eventually(lambda: stage.get("ConfigMap", "none", TRADING), why="what was deleted is made again")
    assert made["metadata"]["uid"] != uid
    stage.becomes("bots", "Synced Healthy")


def test_its_account_has_the_published_rights_and_no_others(stage: ArgoStage) -> None:
    """It acts as the service account, not as the one who installed it."""
    config = stage.argo.folder / "account.kubeconfig"
    who = json.loads(stage.kubectl("--kubeconfig", config, "auth", "whoami", "--output=json"))
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:argocd:argocd-application-controller"
    assert Path(config).stat().st_mode & 0o077 == 0
