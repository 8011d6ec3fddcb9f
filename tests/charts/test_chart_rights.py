"""The operator's rights: enough for what a bot becomes and for what its own Role holds, and no Secret is listed."""

from support.rights import operator_rules, rights

from tradingbot_operator.crd.v1alpha1 import TradingBot
from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.role import role

GRANTED = rights(operator_rules())
OF_THE_CLUSTER = rights(operator_rules("operator.cluster-rules"))


def a_bot() -> Bot:
    spec = {"cluster": "localnet", "market": {"tokens": [{"mint": "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"}]}}
    spec["strategies"] = [{"name": "a", "type": "momentum_5m", "allocationPercent": 50}]
    return Bot.of(
        TradingBot.model_validate(
            {
                "apiVersion": "tradingbot.dev/v1alpha1",
                "kind": "TradingBot",
                "metadata": {"name": "a", "namespace": "b", "uid": "c"},
                "spec": spec,
            }
        )
    )


def test_the_operator_has_every_right_that_it_grants() -> None:
    """The API server lets nobody grant more than he has: without one of these no bot gets its Role."""
    context = Context(engine_image="a", operator_version="1", operator_namespace="b", cluster_id="c")
    assert rights(role(a_bot(), context=context)["rules"]) <= GRANTED


def test_no_secret_is_ever_listed_or_watched() -> None:
    """Wallets and API keys of a whole cluster would be one request away."""
    assert {verb for _, resource, verb in GRANTED if resource == "secrets"} == {"get", "create", "delete"}


def test_a_ledger_is_never_deleted() -> None:
    """Nor what could hold one: whoever takes the operator over cannot make a bot forget its trades."""
    assert ("", "persistentvolumeclaims", "delete") not in GRANTED
    assert not [right for right in GRANTED if right[1] == "persistentvolumes"]


def test_no_rule_holds_a_wildcard_or_a_right_above_all_rights() -> None:
    """escalate and bind would let the operator grant what it has not, impersonate be anybody."""
    assert not [r for r in GRANTED if "*" in r or r[2] in {"escalate", "bind", "impersonate", "deletecollection"}]


def test_nothing_cluster_wide_is_written() -> None:
    """No CRD, no ClusterRole, no node, no webhook: an operator that is taken over stays in the namespaces."""
    cluster_wide = {"customresourcedefinitions", "clusterroles", "clusterrolebindings", "nodes", "namespaces"}
    assert not [right for right in GRANTED if right[1] in cluster_wide]
    assert {("", "namespaces", "get")} == OF_THE_CLUSTER
    assert not [right for right in GRANTED if "webhook" in right[1] or right[1].startswith("pods/")]


def test_no_right_is_granted_twice() -> None:
    """A test that takes a rule away must see it missing."""
    assert sum(len(rights([rule])) for rule in operator_rules()) == len(GRANTED)
