"""What is built beforehand, and where that is refused at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tradingbot_cluster import cli, supplies
from tradingbot_cluster.doctor import HAS, LACKS, SUPPLIED, Finding
from tradingbot_cluster.errors import Missing
from tradingbot_cluster.places import Places

WELL = [Finding("machine", HAS, ""), Finding("kubebox", SUPPLIED, "")]
REFUSING = "echo 0 >/proc/sys/user/max_net_namespaces && exec "
"""Within a user namespace, that is a setting of its own: as root of a container, which may make no network namespace."""


def test_a_machine_without_an_engine_is_supplied_with_one_that_holds_the_node_image() -> None:
    """The longest first, since everything else waits for nothing of it."""
    assert supplies.needed(WELL, own_engine=False) == ("engine-store", "kind", "helm", "kubeconform")


def test_a_machine_with_an_engine_takes_kinds_own_image_and_builds_kubernetes_for_the_api_server_alone() -> None:
    """Whether a registry has the image shows when a cluster is started."""
    assert supplies.needed(WELL, own_engine=True) == ("kubebox", "kind", "helm", "kubeconform")


def test_what_is_missing_is_all_said_before_anything_is_built() -> None:
    """Also what can be had all the same."""
    lacking = [*WELL, Finding("container engine", LACKS, "start Docker"), Finding("disk", LACKS, "make room")]
    with pytest.raises(Missing) as raised:
        supplies.needed(lacking, own_engine=False)
    said = str(raised.value).splitlines()
    assert said[1:3] == ["  container engine: start Docker", "  disk: make room"]
    assert "hack/cluster build kubebox" in said[3]


def test_every_part_that_is_needed_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`make cluster-build ONLY=…` and `make cluster-build` go the same way."""
    built: list[str] = []

    def build(part: str, places: Places, say: object) -> Path:
        built.append(part)
        return tmp_path / part

    monkeypatch.setattr(supplies, "build", build)
    done = CliRunner().invoke(cli.main, ["build", *supplies.PARTS])
    assert (done.exit_code, built) == (0, list(supplies.PARTS))
    for own_engine in (False, True):
        assert set(supplies.needed(WELL, own_engine=own_engine)) <= set(supplies.PARTS)


def test_root_that_may_make_no_namespaces_is_told_so(tmp_path: Path) -> None:
    """Root in a container is such; the build of a cluster does not begin."""
    if os.geteuid() != 0:
        pytest.skip("the doctor tries namespaces as root only")
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", f'{REFUSING} "$@"', "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no user namespaces here, in which namespaces could be refused")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "docker").write_text("#!/bin/sh\nexit 1\n")  # an engine of the machine's own would do instead
    (tools / "docker").chmod(0o755)
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PATH": f"{tools}:{os.environ['PATH']}"}
    line = [*command, sys.executable, "hack/cluster", "build"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 3, done.stderr
    assert "container engine: none answers (docker info), and a private one needs namespaces and mounts" in done.stderr
    assert not (tmp_path / "tradingbot/built").exists()
