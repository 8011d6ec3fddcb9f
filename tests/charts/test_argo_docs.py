"""The examples of docs/argo-cd.md are whole and fit together: what somebody copies works."""

import re
from pathlib import Path
from typing import Any

import lupa.lua51 as lua
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/argo-cd.md").read_text()
DOCUMENTS: list[dict[str, Any]] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
APPLICATIONS = {found["metadata"]["name"]: found for found in DOCUMENTS if found["kind"] == "Application"}


def wave(application: dict[str, Any]) -> int:
    return int(application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])


def test_resource_operator_and_bots_are_apart_and_in_this_order() -> None:
    """Each wave needs the one before."""
    assert sorted(APPLICATIONS, key=lambda name: wave(APPLICATIONS[name])) == [
        "tradingbot-crds",
        "tradingbot-operator",
        "bots",
    ]
    assert len({wave(application) for application in APPLICATIONS.values()}) == 3


def test_every_application_applies_on_the_server_side() -> None:
    """The schema is too large for the annotation of client-side apply, and the operator owns fields of its own."""
    for application in APPLICATIONS.values():
        assert "ServerSideApply=true" in application["spec"]["syncPolicy"]["syncOptions"]


def test_the_resource_is_never_pruned() -> None:
    """With it would go every bot of the cluster."""
    policy = APPLICATIONS["tradingbot-crds"]["spec"]["syncPolicy"]
    assert policy["automated"]["prune"] is False
    assert "Prune=false" in policy["syncOptions"]
    assert "finalizers" not in APPLICATIONS["tradingbot-crds"]["metadata"]


def test_the_autoscalers_replicas_are_left_alone_in_comparison_and_sync() -> None:
    """ignoreDifferences alone governs the comparison; the next sync would write them."""
    spec = APPLICATIONS["bots"]["spec"]
    (rule,) = spec["ignoreDifferences"]
    assert (rule["group"], rule["kind"]) == ("tradingbot.dev", "TradingBot")
    assert rule["jsonPointers"] == ["/spec/replicas"]
    assert "RespectIgnoreDifferences=true" in spec["syncPolicy"]["syncOptions"]


def test_no_pause_is_written_back_by_argo_cd() -> None:
    """A field that it is told to respect it writes as it saw it last: a pause in the middle of a sync would be lost."""
    pointers = [p for rule in APPLICATIONS["bots"]["spec"]["ignoreDifferences"] for p in rule["jsonPointers"]]
    assert "/spec/paused" not in pointers


def test_a_refused_commit_does_not_block_the_next() -> None:
    """Without a limit of retries it is tried for ever."""
    assert APPLICATIONS["bots"]["spec"]["syncPolicy"]["retry"]["limit"] <= 5


def test_the_charts_that_are_named_exist() -> None:
    """And nothing is set that the chart does not know."""
    for name in ("tradingbot-crds", "tradingbot-operator"):
        source = APPLICATIONS[name]["spec"]["source"]
        chart = ROOT / source["path"]
        values = yaml.safe_load((chart / "values.yaml").read_text())
        assert set(source.get("helm", {}).get("valuesObject", {})) <= set(values)


def test_the_health_script_is_named_as_argo_cd_looks_for_it() -> None:
    """resource.customizations.health.<group>_<kind>, and a file that is there."""
    found = re.search(r"--from-file=(\S+?)=(\S+) ", TEXT)
    assert found is not None
    assert found[1] == "resource.customizations.health.tradingbot.dev_TradingBot"
    assert (ROOT / found[2]).is_file()


def test_the_health_of_an_application_is_its_own() -> None:
    """Else Argo CD waits for no wave of Applications."""
    (settings,) = [found for found in DOCUMENTS if found["kind"] == "ConfigMap"]
    (script,) = settings["data"].values()

    def health(status: dict[str, Any]) -> str:
        runtime = lua.LuaRuntime(register_eval=False, register_builtins=False)
        runtime.globals()["obj"] = runtime.table_from({"status": status}, recursive=True)
        return str(runtime.execute(script)["status"])

    assert health({}) == "Progressing"
    assert health({"health": {}}) == "Progressing"
    assert health({"health": {"status": "Degraded"}}) == "Degraded"
