"""What auditors of Dockerfiles and charts look for: every finding is put right, or accepted here with a reason."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
OPERATOR = "charts/tradingbot-operator"
MAKES_PODS = "a bot becomes Deployments, Jobs, Services, policies and settings: that is what an operator is for"
ACCEPTED = {
    ("templates/deployment.yaml", "KSV-0011"): "no CPU limit: a throttled operator is a slow pause",
    ("templates/deployment.yaml", "KSV-0125"): "the registry is a value; the auditor knows the great public ones only",
    ("templates/rbac.yaml", "KSV-0041"): "tokens of admin ports, by name: Secrets are never listed or watched",
    ("templates/rbac.yaml", "KSV-0048"): MAKES_PODS,
    ("templates/rbac.yaml", "KSV-0049"): MAKES_PODS,
    ("templates/rbac.yaml", "KSV-0056"): MAKES_PODS,
    ("templates/rbac.yaml", "KSV-0113"): "the same tokens, where the operator looks after chosen namespaces",
}


def findings(target: Path, tmp_path: Path, *options: str) -> dict[tuple[str, str], str]:
    """Return what trivy's built-in checks find, by file and id. Nothing is fetched."""
    line = [
        str(BIN / "trivy"),
        "config",
        "--skip-check-update",
        "--skip-version-check",
        "--disable-telemetry",
        "--quiet",
    ]
    line += ["--format=json", f"--cache-dir={tmp_path / 'trivy'}", *options, str(target)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout).get("Results") or []
    assert sum(result["MisconfSummary"]["Successes"] for result in results) > 20  # it did look
    return {
        (result["Target"], found["ID"]): f"{found['Severity']} {found['Title']}: {found['Message']}"
        for result in results
        for found in result.get("Misconfigurations", ())
    }


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    """What it is told to ignore stands in the Dockerfile with its reason."""
    line = [str(BIN / "hadolint"), "--no-color", str(ROOT / "Dockerfile")]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_sees_what_is_wrong(tmp_path: Path) -> None:
    """It would speak of a base without a tag and of a package manager's own upgrade."""
    path = tmp_path / "Dockerfile"
    path.write_text("FROM debian\nRUN apt-get install curl\n")
    done = subprocess.run([str(BIN / "hadolint"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DL3006" in done.stdout


def test_trivy_finds_nothing_in_the_dockerfile(tmp_path: Path) -> None:
    """Non-root, no secret, nothing added from afar."""
    assert findings(ROOT / "Dockerfile", tmp_path) == {}


def test_trivy_finds_in_the_operators_chart_what_is_accepted_and_nothing_else(tmp_path: Path) -> None:
    """Both cluster-wide and in chosen namespaces. An acceptance that outlives its finding would hide the next one."""
    in_all = findings(ROOT / OPERATOR, tmp_path)
    in_chosen = findings(
        ROOT / OPERATOR, tmp_path, "--helm-set=watch.namespaces={trading}", "--helm-set=rbac.aggregate=false"
    )
    found = in_all | in_chosen
    assert {key: text for key, text in found.items() if key not in ACCEPTED} == {}
    assert set(ACCEPTED) == set(found)
