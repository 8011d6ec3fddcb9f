"""Every rule of the engine's NetworkPolicy is needed: without it the one connection that it allows is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from e2e.bot import Bot
from e2e.kube import Json, Kube, wait_for
from e2e.story import Story
from e2e.test_security import CONNECT, a_stranger
from e2e.world import RELEASE, World

NODE_PORTS, GATEWAY_PORT = (8899, 8901, 8903), 8907
RESOLVE = """\
import socket, sys
try:
    socket.getaddrinfo(sys.argv[1], 80)
    print("open")
except OSError as error:
    print("closed", error)
"""
TCP_RESOLVE = """\
import re, socket
server = re.search(r"nameserver (\\S+)", open("/etc/resolv.conf").read())[1]
try:
    socket.create_connection((server, 53), timeout=4).close()
    print("open")
except OSError as error:
    print("closed", error)
"""
ENGINE_LABEL = "app.kubernetes.io/name"


@contextmanager
def operator_away(world: World) -> Iterator[None]:
    """Nobody puts anything back."""
    world.system.run("scale", f"deployment/{RELEASE}", "--replicas=0")
    try:
        wait_for("the operator is gone", lambda: not world.system.items("pods", f"--selector={ENGINE_LABEL}={RELEASE}"))
        yield
    finally:
        world.system.run("scale", f"deployment/{RELEASE}", "--replicas=1")


def test_each_rule_removed_once(trading: Bot, story: Story, world: World) -> None:
    """The operator's way in, names by UDP and TCP, each port of the chain: one rule less, one connection less, and no other."""
    kube, where = trading.kube, f"deploy/{trading.engine_name}"
    operator = world.system.items("pods", f"--selector={ENGINE_LABEL}={RELEASE}")[0]
    labels = {k: v for k, v in operator["metadata"]["labels"].items() if k != "pod-template-hash"}
    engine = trading.pod()["status"]["podIP"]
    chain = kube.items("pods", "--selector=app.kubernetes.io/component=localnet")[0]["status"]["podIP"]

    def from_engine(code: str, *arguments: str) -> bool:
        return kube.python(where, code, *arguments, container="engine").startswith("open")

    ways: dict[str, Callable[[], bool]] = {
        "operator": lambda: world.system.python("pod/stranger", CONNECT, engine, "8080").startswith("open"),
        "UDP 53": lambda: from_engine(RESOLVE, f"shared-localnet.{kube.namespace}.svc.cluster.local"),
        "TCP 53": lambda: from_engine(TCP_RESOLVE),
        **{
            f"TCP {port}": lambda port=port: from_engine(CONNECT, chain, str(port))  # type: ignore[misc]
            for port in (*NODE_PORTS, GATEWAY_PORT)
        },
    }
    with operator_away(world):
        try:
            _like_the_operator(world.system, world.engine_image, labels)
            whole = kube.get("networkpolicy", trading.engine_name)["spec"]
            for missing in ways:
                less = without(whole, missing)
                assert less != whole, f"no rule of the policy is about {missing}"
                story.breaks(f"NetworkPolicy without its rule for {missing}")
                _replace(kube, trading.engine_name, less)
                wait_for(f"{missing} is refused", lambda missing=missing: not ways[missing]())  # type: ignore[misc]
                others = [name for name in ways if name != missing and not ways[name]()]
                assert not others, f"without {missing} these are refused as well: {others}"
                _replace(kube, trading.engine_name, whole)
                wait_for(f"{missing} is allowed again", ways[missing])
        finally:
            world.system.run("delete", "pod", "stranger", "--ignore-not-found", "--grace-period=0", "--force")
    trading.wait_trading()


def without(spec: Json, missing: str) -> Json:
    """Return a policy's spec without what allows one connection."""
    less = copy.deepcopy(spec)
    if missing == "operator":
        less["ingress"] = []
        return less
    protocol, port = missing.split()
    for rule in less["egress"]:
        rule["ports"] = [p for p in rule["ports"] if (p.get("protocol", "TCP"), p.get("port")) != (protocol, int(port))]
    less["egress"] = [rule for rule in less["egress"] if rule["ports"]]  # no ports would mean all of them
    return less


def _replace(kube: Kube, name: str, spec: Json) -> None:
    kube.patch("networkpolicy", name, spec={"ingress": spec["ingress"], "egress": spec["egress"]})


def _like_the_operator(system: Kube, image: str, labels: dict[str, str]) -> None:
    """Put a pod into the operator's place: policies know it by its labels."""
    system.apply(a_stranger(image, **labels))
    system.run("wait", "pod/stranger", "--for=condition=Ready", "--timeout=120s", within_s=150)
