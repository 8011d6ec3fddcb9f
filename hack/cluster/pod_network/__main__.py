"""`python3 -m pod_network NODE PODS SERVICE`: keep this node's part of the pods' network as the API server wants it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from pod_network import routes
from pod_network.api import Access, Watched
from pod_network.policies import Pod, World, ruleset
from pod_network.routes import Node

SETTLE_S = 0.05
"""Changes often come in bursts (a rollout): one set of rules for all of them."""
ANEW_AFTER_S = 10.0


class Network:
    """Follows nodes, pods, namespaces and policies, and sets this node's rules by them."""

    def __init__(self, node: str, pods: str, service: str) -> None:
        self.node = node
        self.pods = pods
        self.service = service
        self.access: Access | None = None
        self._changed = threading.Event()
        self._routes: dict[str, str] = {}
        self._rules = ""
        self._ready = False
        core, policy = "/api/v1", "/apis/networking.k8s.io/v1"
        self._nodes = Watched(f"{core}/nodes", self._changed.set)
        self._pods = Watched(f"{core}/pods", self._changed.set)
        self._namespaces = Watched(f"{core}/namespaces", self._changed.set)
        self._policies = Watched(f"{policy}/networkpolicies", self._changed.set)

    def run(self) -> None:
        """Do so for ever."""
        while (access := Access.of_kubelet()) is None:
            time.sleep(0.2)
        self.access = access
        routes.apply(routes.masquerade(self.pods))
        for watched in (self._nodes, self._pods, self._namespaces, self._policies):
            watched.start(lambda: self.access)
        while True:
            self._changed.wait(ANEW_AFTER_S if self._ready else 0.3)
            time.sleep(SETTLE_S)
            self._changed.clear()
            try:
                self._set_routes()
                self._set_rules()
            except (subprocess.CalledProcessError, OSError, ValueError, KeyError) as error:
                print(f"not set, tried again: {error}", flush=True)
                time.sleep(1)
                self._changed.set()

    def _set_routes(self) -> None:
        nodes = [node for item in self._nodes.items() if (node := Node.of(item))]
        for command in routes.commands(nodes, self.node, known=self._routes):
            # A route may be gone with its interface; what is missing is set anew.
            subprocess.run(command, check=command[2] != "del")
        mine = next((node for node in nodes if node.name == self.node), None)
        if mine and not self._ready and self._service_answers():
            routes.CNI.parent.mkdir(parents=True, exist_ok=True)
            draft = routes.CNI.with_suffix(".new")
            draft.write_text(routes.cni_config(mine.pods))
            draft.rename(routes.CNI)
            self._ready = True
            print(f"pods of this node: {mine.pods}", flush=True)

    def _service_answers(self) -> bool:
        """Say whether Services work: before that the first pods (CoreDNS) would meet a dead address and wait out their back-off."""
        assert self.access
        try:
            self.access.open("/livez", server=f"https://{self.service}", timeout_s=2).close()
        except OSError:
            self._changed.set()
            return False
        return True

    def _set_rules(self) -> None:
        if not all(w.listed for w in (self._pods, self._namespaces, self._policies)):
            return
        world = World(
            policies=sorted(self._policies.items(), key=lambda p: p["metadata"]["uid"]),
            pods=[pod for item in self._pods.items() if (pod := Pod.of(item))],
            namespaces={n["metadata"]["name"]: n["metadata"].get("labels") or {} for n in self._namespaces.items()},
        )
        rules = ruleset(world, self.node)
        if rules != self._rules:
            routes.apply(rules)
            self._rules = rules


if __name__ == "__main__":
    Network(*sys.argv[1:4]).run()
