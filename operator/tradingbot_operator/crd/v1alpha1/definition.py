"""The CustomResourceDefinition, made of the models and of the rules beside them."""

from typing import Any

from tradingbot_operator.crd.structural import RULES, at, structural
from tradingbot_operator.crd.v1alpha1.base import DNS_1035, PATTERNS
from tradingbot_operator.crd.v1alpha1.rules import ELEMENT_RULES, SPEC_RULES, TRANSITION_RULES, Rule, TransitionRule
from tradingbot_operator.crd.v1alpha1.spec import TradingBotSpec
from tradingbot_operator.crd.v1alpha1.status import TradingBotStatus
from tradingbot_operator.crd.v1alpha1.tradingbot import API_VERSION, KIND

GROUP, VERSION = API_VERSION.split("/")
PLURAL, SINGULAR = "tradingbots", "tradingbot"
NAME_CHARS = 40
NAME_RULE = {
    "rule": f"self.metadata.name.size() <= {NAME_CHARS} && self.metadata.name.matches(r'{DNS_1035}')",
    "message": f"metadata.name: use at most {NAME_CHARS} lower case letters, digits and '-', beginning with a letter and not "
    "ending with '-', since names of Services derive from it",
}
UNKNOWN = {
    "type": "Ready",
    "status": "Unknown",
    "reason": "Pending",
    "message": "waiting for the operator",
    "lastTransitionTime": "1970-01-01T00:00:00Z",
}
"""What stands there before the operator has looked: generic tools read a missing Ready as healthy."""
COLUMNS = (
    ("Mode", "string", ".spec.mode", "Paper or Live", 0),
    ("Phase", "string", ".status.phase", "One word for people", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether its pods can trade", 0),
    ("Shards", "integer", ".status.shards.owned", "Slices of the tokens that a pod owns", 0),
    ("Queue", "integer", ".status.queueUtilizationPercent", "Queue utilisation in percent", 0),
    ("In-flight", "integer", ".status.inFlightTrades", "Trades that are not settled", 0),
    ("Tier", "string", ".status.drawdownTier", "normal, warning, halt or emergency", 0),
    ("Cluster", "string", ".spec.cluster", "Solana cluster", 1),
    ("Why", "string", '.status.conditions[?(@.type=="Trading")].reason', "Why it trades, or does not", 1),
    ("Age", "date", ".metadata.creationTimestamp", "Since when it exists", 0),
)
"""Name, type, path, meaning, priority: those above 0 are shown by -o wide."""


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition as plain data."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": ["tb"],
                "categories": ["trading"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
                    "schema": {"openAPIV3Schema": root_schema()},
                }
            ],
        },
    }


def root_schema() -> dict[str, Any]:
    """Return the schema of the whole object."""
    return {
        "type": "object",
        "description": "One trading bot.",
        "required": ["spec"],
        RULES: [NAME_RULE],
        "properties": {
            "apiVersion": {"type": "string", "description": API_VERSION},
            "kind": {"type": "string", "description": KIND},
            "metadata": {"type": "object"},
            "spec": spec_schema(),
            "status": status_schema(),
        },
    }


def spec_schema() -> dict[str, Any]:
    """Return the schema of the spec, with every rule that CEL can say."""
    spec = structural(TradingBotSpec, words=PATTERNS)
    spec["description"] = "What the bot should be."
    spec[RULES] = [_rule(rule) for rule in (*SPEC_RULES, *TRANSITION_RULES)]
    for place, _, rules in ELEMENT_RULES:
        at(spec, place)[RULES] = [_rule(rule) for rule in rules]
    return spec


def status_schema() -> dict[str, Any]:
    """Return the schema of the status; conditions are there from the beginning."""
    status = structural(TradingBotStatus, words=PATTERNS)
    status["default"] = {"conditions": [UNKNOWN]}
    status["properties"]["conditions"]["default"] = [UNKNOWN]
    return status


def _rule(rule: Rule | TransitionRule) -> dict[str, Any]:
    return {"rule": rule.cel, "message": rule.message, "fieldPath": f".{rule.path}"}


def _column(name: str, kind: str, path: str, meaning: str, priority: int) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path, "description": meaning}
    return column | ({"priority": priority} if priority else {})
