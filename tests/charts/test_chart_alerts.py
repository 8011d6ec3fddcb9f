"""The alerts of the operator's chart: about metrics that exist, each tried by Prometheus' own tool, each with a next step."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tradingbot_operator.metrics import Metrics
from tradingbot_operator.status.reasons import CONDITIONS

ROOT = Path(__file__).parents[2]
RULES = ROOT / "charts/tradingbot-operator/rules/operator.yaml"
TESTS = ROOT / "tests/alerts/operator.yml"
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_is_about_metrics_that_the_operator_has(alert: dict[str, Any]) -> None:
    """A metric that was renamed makes an alert that never fires."""
    known = {
        name
        for metric in Metrics().registry.collect()
        for name in (metric.name, *(f"{metric.name}_{suffix}" for suffix in ("count", "sum", "bucket", "total")))
    }
    used = set(re.findall(r"tradingbot_\w+", alert["expr"]))
    assert used
    assert used <= known
    assert set(re.findall(r'type="(\w+)"', alert["expr"])) <= set(CONDITIONS)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_says_what_is_the_case_and_what_to_do(alert: dict[str, Any]) -> None:
    """Whoever is woken reads these two sentences first; and it has lasted before it wakes anybody."""
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["description"].endswith(".")
    assert re.fullmatch(r"[0-9]+m", alert["for"])


def test_every_alert_is_tried_both_ways() -> None:
    """It fires where it should, and is silent where all is well."""
    tried = [case for test in yaml.safe_load(TESTS.read_text())["tests"] for case in test["alert_rule_test"]]
    names = {alert["alert"] for alert in ALERTS}
    assert {case["alertname"] for case in tried if case["exp_alerts"]} == names
    assert {case["alertname"] for case in tried if not case["exp_alerts"]} == names


def test_prometheus_agrees() -> None:
    """`promtool test rules`."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: it comes with Prometheus")
    done = subprocess.run([promtool, "test", "rules", str(TESTS)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
