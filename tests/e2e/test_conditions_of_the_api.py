"""What the API server refuses the operator becomes a condition that names it, and is gone when it is allowed again."""

from __future__ import annotations

import json

from e2e.bot import Bot
from e2e.kube import Json, wait_for
from e2e.story import Story
from e2e.ways import way_in, way_out
from e2e.world import RELEASE, World

NO_TERM: Json = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}


def test_object_that_the_api_server_calls_wrong(trading: Bot, story: Story) -> None:
    """Of a part of the manifest that is passed on as it is; the pod that runs is not touched."""
    pod = trading.pod()
    story.breaks("an affinity without a term")
    trading.patch(template={"affinity": NO_TERM})
    way_in(trading, story, "Degraded", "True", "ObjectRefused", says="nodeSelectorTerms")
    assert trading.condition("Trading")[0] == "True", "what runs does not go on"
    trading.patch(template=None)
    way_out(trading, story, "ObjectRefused")
    assert trading.pod()["metadata"]["uid"] == pod["metadata"]["uid"]


def test_right_that_the_operator_lost(trading: Bot, story: Story, world: World) -> None:
    """It says which, goes on with everything else, and makes up for it once it has the right."""
    role = next(r for r in world.kube.items("clusterroles") if _grants(r))
    name, budget = role["metadata"]["name"], trading.engine_name
    story.breaks("the right to make PodDisruptionBudgets taken away, and one deleted")
    without = [rule for rule in role["rules"] if "poddisruptionbudgets" not in rule["resources"]]
    looking = {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": ["list", "watch"]}
    _rules(world, name, [*without, looking])
    try:
        trading.kube.run("delete", "poddisruptionbudget", budget)
        way_in(trading, story, "Degraded", "True", "Forbidden", says="poddisruptionbudgets")
        assert trading.condition("Trading")[0] == "True"
    finally:
        _rules(world, name, role["rules"])
    wait_for("the budget", lambda: trading.kube.exists("poddisruptionbudget", budget))
    way_out(trading, story, "Forbidden")


def _grants(role: Json) -> bool:
    """Whether a role is the operator's own."""
    mine = role["metadata"].get("labels", {}).get("app.kubernetes.io/name") == RELEASE
    return mine and any("poddisruptionbudgets" in rule.get("resources", ()) for rule in role["rules"] or ())


def _rules(world: World, role: str, rules: list[Json]) -> None:
    patch = json.dumps([{"op": "replace", "path": "/rules", "value": rules}])
    world.kube.run("patch", "clusterrole", role, "--type=json", f"--patch={patch}")
