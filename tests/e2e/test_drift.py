"""What somebody else changes: our fields are put back, what is added is told."""

from __future__ import annotations

from typing import Any

from e2e.bot import Bot
from e2e.kube import wait_for
from e2e.story import Story

STRANGER = {
    "name": "stranger",
    "image": "registry.tradingbot.dev/tradingbot-engine:0.1.0",
    "command": ["sleep", "infinity"],
}


def test_hand_edited_children_are_put_back(trading: Bot, story: Story) -> None:
    """A field of ours is forced back, a child that was removed is made again; the engine's pod is not even restarted."""
    kube, name, pod = trading.kube, trading.engine_name, trading.pod()
    wanted = {kind: kube.get(kind, name)["spec"] for kind in ("service", "networkpolicy", "poddisruptionbudget")}
    story.breaks("by hand: NetworkPolicy opened, Service's port moved, budget and Role deleted")
    kube.patch("networkpolicy", name, spec={"ingress": [{}], "egress": [{}]})
    kube.run(
        "patch",
        "service",
        name,
        "--type=json",
        '--patch=[{"op": "replace", "path": "/spec/ports/0/port", "value": 81}]',
    )
    kube.run("delete", "poddisruptionbudget", name)
    kube.run("delete", "role", name)
    with story.measured("edits until all is put back"):
        for kind, spec in wanted.items():
            wait_for(f"the {kind} as it was", lambda kind=kind, spec=spec: kube.get(kind, name)["spec"] == spec or None)  # type: ignore[misc]
        wait_for("the Role", lambda: kube.exists("role", name))
    trading.wait_condition("Drifted", "False", "InSync")
    assert trading.pod()["metadata"]["uid"] == pod["metadata"]["uid"]


def test_what_a_stranger_adds_is_listed_and_left(trading: Bot, story: Story) -> None:
    """An annotation of somebody's tool is not ours to remove; the status says that it is there."""
    add: dict[str, Any] = {"metadata": {"labels": {"somebody.example/added": "yes"}}}
    trading.kube.patch("deployment", trading.engine_name, **add)
    trading.kube.run("set", "env", f"deployment/{trading.engine_name}", "ADDED_BY_HAND=1")
    story.breaks("by hand: an environment variable added to the Deployment, which rolls the pod")
    message = trading.wait_condition("Drifted", "True", "ForeignFields")
    story.says(f"Drifted says: {message[:300]}")
    assert "ADDED_BY_HAND" in message
    trading.wait_trading()
    trading.kube.run("set", "env", f"deployment/{trading.engine_name}", "ADDED_BY_HAND-")
    trading.wait_condition("Drifted", "False", "InSync")
    trading.wait_trading()
