"""Each node knows the way to the pods of every other, and no longer than these exist."""

import json

from pod_network.routes import Node, cni_config, commands, masquerade

ME, OTHER, THIRD = (
    Node("me", "172.18.0.2", "10.244.0.0/24"),
    Node("b", "172.18.0.3", "10.244.1.0/24"),
    Node("c", "172.18.0.4", "10.244.2.0/24"),
)


def test_routes_lead_to_the_others_once_and_change_with_them() -> None:
    """What is set already is not set again; a new address replaces the old one; a node that is gone takes its route along."""
    known: dict[str, str] = {}
    assert commands([ME, OTHER], "me", known=known) == [
        ["ip", "route", "replace", "10.244.1.0/24", "via", "172.18.0.3"]
    ]
    assert commands([ME, OTHER], "me", known=known) == []
    moved = Node("b", "172.18.0.9", "10.244.1.0/24")
    assert commands([ME, moved, THIRD], "me", known=known) == [
        ["ip", "route", "replace", "10.244.1.0/24", "via", "172.18.0.9"],
        ["ip", "route", "replace", "10.244.2.0/24", "via", "172.18.0.4"],
    ]
    assert commands([ME, THIRD], "me", known=known) == [["ip", "route", "del", "10.244.1.0/24"]]


def test_a_node_without_a_range_or_an_address_is_waited_for() -> None:
    """Both come some time after the node itself."""
    item = {
        "metadata": {"name": "b"},
        "spec": {"podCIDR": "10.244.1.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.3"}]},
    }
    assert Node.of(item) == OTHER
    assert Node.of({**item, "spec": {}}) is None
    assert Node.of({**item, "status": {}}) is None


def test_pods_get_addresses_of_their_nodes_range_and_interfaces_that_are_routed() -> None:
    """On a bridge, neighbours would pass the filter by."""
    config = json.loads(cni_config("10.244.1.0/24"))
    assert config["plugins"][0]["type"] == "ptp"
    assert config["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]


def test_only_what_leaves_the_cluster_takes_the_nodes_address() -> None:
    """Between pods, policies see who speaks."""
    assert "ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade" in masquerade("10.244.0.0/16")
