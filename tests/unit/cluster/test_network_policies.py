"""NetworkPolicies become rules of nftables: what the policies allow returns, the rest is dropped."""

import re
import shutil
import subprocess
from typing import Any

import pytest

from pod_network.policies import Pod, World, ruleset
from pod_network.selectors import selects

NODE = "n1"


def a_pod(
    name: str,
    address: str,
    *,
    namespace: str = "bots",
    node: str = NODE,
    labels: dict[str, str] | None = None,
    **ports: int,
) -> Pod:
    return Pod(namespace, name, address, node, labels or {"app": name}, {("tcp", k): v for k, v in ports.items()})


ENGINE = a_pod("engine", "10.244.0.5", admin=8080)
OPERATOR = a_pod("operator", "10.244.1.6", namespace="system", node="n2")
STRANGER = a_pod("stranger", "10.244.0.7")
LEDGER = a_pod("ledger", "10.244.1.9", node="n2", sql=5432)
PODS = (ENGINE, OPERATOR, STRANGER, LEDGER)
NAMESPACES = {"bots": {"team": "bots"}, "system": {"team": "ops"}}


def a_policy(spec: dict[str, Any], namespace: str = "bots") -> dict[str, Any]:
    return {"metadata": {"name": "p", "namespace": namespace}, "spec": spec}


def rules_of(*specs: dict[str, Any], node: str = NODE) -> str:
    return ruleset(World([a_policy(s) for s in specs], PODS, NAMESPACES), node)


def chain(rules: str, comment: str, direction: str) -> list[str]:
    """Return the rules of one pod's chain."""
    found = re.search(rf"# {comment}\n  chain {direction}-\d+ {{\n(.*?)  }}", rules, re.DOTALL)
    return [line.strip() for line in found.group(1).splitlines()] if found else []


FOR_ENGINE: dict[str, Any] = {"podSelector": {"matchLabels": {"app": "engine"}}}


def test_without_policies_no_pod_is_held_up() -> None:
    """A pod that no policy selects is not isolated."""
    assert "vmap" not in rules_of()
    assert "drop" not in rules_of()


def test_a_policy_without_rules_drops_all_that_comes_in_and_nothing_that_goes_out() -> None:
    """`policyTypes` defaults to Ingress, and to Egress only where egress rules are given."""
    rules = rules_of(FOR_ENGINE)
    assert chain(rules, "bots/engine", "ingress") == ["counter drop"]
    assert "ip daddr vmap { 10.244.0.5 : jump ingress-0 }" in rules
    assert "ip saddr vmap" not in rules


def test_only_pods_of_this_node_get_chains() -> None:
    """Each node filters for its own pods."""
    assert "vmap" not in rules_of(FOR_ENGINE, node="n2")


def test_a_selector_of_pods_and_one_of_namespaces_must_both_hold() -> None:
    """Within one peer the two are a conjunction; a pod selector alone means the policy's own namespace."""
    both = {"namespaceSelector": {"matchLabels": {"team": "ops"}}, "podSelector": {"matchLabels": {"app": "operator"}}}
    rules = rules_of({**FOR_ENGINE, "ingress": [{"from": [both]}]})
    assert chain(rules, "bots/engine", "ingress") == ["ip saddr { 10.244.1.6 } return", "counter drop"]
    near = rules_of({**FOR_ENGINE, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "operator"}}}]}]})
    assert chain(near, "bots/engine", "ingress") == ["counter drop"]


def test_a_rule_without_peers_allows_everybody_and_one_without_ports_every_port() -> None:
    """Missing or empty lists are no restriction."""
    assert chain(rules_of({**FOR_ENGINE, "ingress": [{}]}), "bots/engine", "ingress")[0] == "return"
    ports = {
        **FOR_ENGINE,
        "ingress": [{"ports": [{"port": 8080}, {"port": 53, "protocol": "UDP"}, {"port": 9000, "endPort": 9010}]}],
    }
    assert chain(rules_of(ports), "bots/engine", "ingress")[:3] == [
        "tcp dport 8080 return",
        "udp dport 53 return",
        "tcp dport 9000-9010 return",
    ]


def test_a_port_by_name_is_looked_up_at_the_pod_that_is_reached() -> None:
    """For what comes in that is the pod itself, for what goes out the other one."""
    inward = rules_of({**FOR_ENGINE, "ingress": [{"ports": [{"port": "admin"}]}]})
    assert chain(inward, "bots/engine", "ingress")[0] == "tcp dport 8080 return"
    outward = rules_of(
        {**FOR_ENGINE, "egress": [{"to": [{"podSelector": {}}], "ports": [{"port": "sql"}]}], "policyTypes": ["Egress"]}
    )
    assert chain(outward, "bots/engine", "egress") == ["ip daddr 10.244.1.9 tcp dport 5432 return", "counter drop"]
    unknown = rules_of({**FOR_ENGINE, "ingress": [{"ports": [{"port": "nobody"}]}]})
    assert chain(unknown, "bots/engine", "ingress") == ["counter drop"]


def test_a_block_of_addresses_leaves_its_exceptions_out() -> None:
    """`except` is taken from the block, not from other rules."""
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.244.0.0/16"]}}
    rules = rules_of({**FOR_ENGINE, "egress": [{"to": [block], "ports": [{"port": 443}]}]})
    assert (
        chain(rules, "bots/engine", "egress")[0]
        == "ip daddr 10.0.0.0/8 ip daddr != { 10.244.0.0/16 } tcp dport 443 return"
    )


def test_what_goes_out_is_filtered_towards_the_node_itself_too() -> None:
    """The API server on the pod's own node is reached without forwarding."""
    rules = rules_of({**FOR_ENGINE, "policyTypes": ["Egress"]})
    for hook in ("forward", "input"):
        body = re.search(rf"chain {hook} {{(.*?)  }}", rules, re.DOTALL)
        assert body
        assert "ip saddr vmap { 10.244.0.5 : jump egress-0 }" in body.group(1)


def test_allowances_of_several_policies_add_up() -> None:
    """Policies never take away what another allows."""
    one = {**FOR_ENGINE, "ingress": [{"ports": [{"port": 1}]}]}
    other = {"podSelector": {}, "ingress": [{"ports": [{"port": 2}]}]}
    assert chain(rules_of(one, other), "bots/engine", "ingress") == [
        "tcp dport 1 return",
        "tcp dport 2 return",
        "counter drop",
    ]
    assert chain(rules_of(one, other), "bots/stranger", "ingress") == ["tcp dport 2 return", "counter drop"]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "In", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
    ],
)
def test_label_selectors_select_as_the_api_defines_them(selector: dict[str, Any] | None, expected: bool) -> None:
    """Empty selects all, missing none; all requirements must hold."""
    assert selects(selector, {"a": "1"}) is expected


def test_pods_without_an_address_of_their_own_are_no_ones_peer() -> None:
    """The host's network is the node's; an ended pod's address may be another's by now."""
    item = {
        "metadata": {"namespace": "a", "name": "b"},
        "spec": {"containers": [], "nodeName": "n"},
        "status": {"podIP": "10.244.0.3", "phase": "Running"},
    }
    assert Pod.of(item) == Pod("a", "b", "10.244.0.3", "n", {}, {})
    assert Pod.of({**item, "spec": {"containers": [], "hostNetwork": True}}) is None
    assert Pod.of({**item, "status": {"podIP": "10.244.0.3", "phase": "Succeeded"}}) is None
    assert Pod.of({**item, "status": {}}) is None


@pytest.mark.skipif(
    shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin") is None,
    reason="no nft on this machine (Debian: apt-get install nftables)",
)
def test_nftables_takes_every_kind_of_rule() -> None:
    """The script is read and checked by nftables itself, without being carried out."""
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}}
    everything = {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [{"podSelector": {}}, block], "ports": [{"port": 80}, {"port": "admin"}, {"protocol": "SCTP"}]}
        ],
        "egress": [
            {"to": [block, {"ipBlock": {"cidr": "fd00::/8"}}], "ports": [{"port": 1, "endPort": 9, "protocol": "UDP"}]},
            {},
        ],
    }
    nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin")
    done = subprocess.run(
        [str(nft), "--check", "-f", "-"], input=rules_of(everything), text=True, capture_output=True, check=False
    )
    if "Operation not permitted" in done.stderr:
        pytest.skip("nftables wants root even to check")
    assert done.stderr == ""
