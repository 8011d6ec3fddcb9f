"""Charts rendered by Helm itself. Where there is no Helm, the tests that need one are skipped; `make charts` builds it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tradingbot_cluster.places import places
from tradingbot_cluster.programs import PROGRAMS

ROOT = Path(__file__).parents[2]
Rendered = dict[tuple[str, str], dict[str, Any]]
"""Objects by kind and name."""


def program(name: str) -> str:
    """Return the path of helm or kubeconform: as built by hack/cluster, else on PATH, else skip the test (fail in `make charts`)."""
    built = PROGRAMS[name].find(places())
    found = str(built) if built is not None else shutil.which(name)
    if found is None:
        if os.environ.get("TRADINGBOT_CHARTS") == "all":
            pytest.fail(f"{name} is missing: python hack/cluster build {name}")
        pytest.skip(f"{name} is missing: make charts builds it")
    return found


def helm(*arguments: str) -> str:
    """Run helm and return what it prints; AssertionError with its words if it fails."""
    home = os.environ.get("TMPDIR", "/tmp")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "HELM_CACHE_HOME": f"{home}/helm",
        "HELM_CONFIG_HOME": f"{home}/helm",
    }
    done = subprocess.run(
        [program("helm"), *arguments], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def render_text(
    chart: str, *options: str, release: str = "tradingbot-operator", namespace: str = "trading-system"
) -> str:
    """Return what Helm renders."""
    return helm("template", release, f"charts/{chart}", f"--namespace={namespace}", "--kube-version=1.35.0", *options)


def render(
    chart: str, *options: str, release: str = "tradingbot-operator", namespace: str = "trading-system"
) -> Rendered:
    """Return the objects that Helm renders."""
    text = render_text(chart, *options, release=release, namespace=namespace)
    out: Rendered = {}
    for found in filter(None, yaml.safe_load_all(text)):
        key = (found["kind"], f"{found['metadata'].get('namespace', '')}/{found['metadata']['name']}".lstrip("/"))
        assert key not in out, f"{key} is rendered twice"
        out[key] = found
    return out
