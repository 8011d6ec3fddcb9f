"""The operator's ServiceAccount on a real API server: the chart's own rules, a kubeconfig that acts by them, and what it asked for."""

import json
from pathlib import Path
from typing import Any

import yaml
from support.helm_charts import Rendered, render
from support.rights import Right

from tradingbot_cluster.control_plane import ControlPlane

RBAC = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}


def audit_arguments(folder: Path) -> list[str]:
    """Return arguments by which an API server notes what ServiceAccounts ask for, in `folder`/audit.log."""
    policy = folder / "audit-policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    return [f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'audit.log'}", "--audit-log-mode=blocking"]


def install_rights(api: ControlPlane, *options: str, release: str, namespace: str) -> Rendered:
    """Apply the chart's account and rights, as Helm renders them, and nothing else of it; return them."""
    rendered = {
        key: body
        for key, body in render("tradingbot-operator", *options, release=release, namespace=namespace).items()
        if key[0] in RBAC and "helm.sh/hook" not in body["metadata"].get("annotations", {})
    }
    api.kubectl("apply", "--filename=-", text_in=yaml.safe_dump_all(rendered.values()))
    return rendered


def kubeconfig_of(api: ControlPlane, folder: Path, *, namespace: str, account: str) -> Path:
    """Write a kubeconfig by which one acts as a ServiceAccount."""
    config = yaml.safe_load(api.kubeconfig.read_text())
    token = api.kubectl("create", "token", account, f"--namespace={namespace}").strip()
    config["users"] = [{"name": account, "user": {"token": token}}]
    cluster = config["clusters"][0]["name"]
    config["contexts"] = [{"name": "it", "context": {"cluster": cluster, "user": account}}]
    config["current-context"] = "it"
    path = folder / f"{account}.conf"
    path.write_text(yaml.safe_dump(config))
    return path


def asked_for(folder: Path, *, namespace: str, account: str) -> set[Right]:
    """Return each right that an account made use of: an apply that made something new counts as patch and as create."""
    out: set[Right] = set()
    for line in (folder / "audit.log").read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        what, code = event.get("objectRef") or {}, event.get("responseStatus", {}).get("code", 0)
        if event["user"]["username"] != f"system:serviceaccount:{namespace}:{account}" or "resource" not in what:
            continue
        resource = "/".join(filter(None, (what["resource"], what.get("subresource"))))
        out.add((what.get("apiGroup", ""), resource, event["verb"]))
        if event["verb"] == "patch" and code == 201:
            out.add((what.get("apiGroup", ""), resource, "create"))
    return out
