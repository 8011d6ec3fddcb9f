"""What `python hack/cluster` says without a cluster."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tradingbot_cluster import doctor
from tradingbot_cluster.cli import main
from tradingbot_cluster.doctor import HAS, LACKS, SUPPLIED, Finding


def cluster(*words: str, home: Path, **environment: str) -> Result:
    """Run a command line with caches of its own."""
    env = {"XDG_CACHE_HOME": str(home), "E2E_CLUSTER": "kind", **environment}
    return CliRunner().invoke(main, words, env=env)


def test_without_a_cluster_status_says_so_and_ends_with_4(tmp_path: Path) -> None:
    """Scripts can ask."""
    done = cluster("status", home=tmp_path)
    assert (done.exit_code, done.stderr) == (4, "cluster: no cluster runs\n")


def test_kubeconfig_of_a_cluster_that_does_not_run_says_how_to_start_it(tmp_path: Path) -> None:
    """One line, no traceback."""
    done = cluster("kubeconfig", "--name", "mine", home=tmp_path)
    assert done.exit_code == 4
    assert "up --name mine" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_down_without_a_cluster_is_no_error(tmp_path: Path) -> None:
    """It is as it should be already."""
    assert cluster("down", home=tmp_path).exit_code == 0
    assert not (tmp_path / "tradingbot").exists()


def test_an_existing_cluster_is_taken_as_it_is(tmp_path: Path) -> None:
    """E2E_CLUSTER=existing uses KUBECONFIG, and never takes that cluster away."""
    config = tmp_path / "config"
    config.write_text("{}")
    assert cluster("kubeconfig", home=tmp_path, E2E_CLUSTER="existing", KUBECONFIG=str(config)).stdout == f"{config}\n"
    assert "left as it is" in cluster("down", home=tmp_path, E2E_CLUSTER="existing", KUBECONFIG=str(config)).stderr
    without = cluster("kubeconfig", home=tmp_path, E2E_CLUSTER="existing", KUBECONFIG="")
    assert (without.exit_code, "KUBECONFIG=''" in without.stderr) == (3, True)
    assert "'kind' (the default) or 'existing'" in cluster("kubeconfig", home=tmp_path, E2E_CLUSTER="other").stderr


def test_a_machine_is_suited_when_nothing_is_missing_that_can_not_be_supplied() -> None:
    """What will be supplied is no obstacle."""
    assert doctor.suited([Finding("a", HAS, ""), Finding("b", SUPPLIED, "")])
    assert not doctor.suited([Finding("a", HAS, ""), Finding("b", LACKS, "")])


def test_without_go_the_doctor_names_it_and_the_version(tmp_path: Path) -> None:
    """What is missing, and how to get it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    done = cluster("doctor", home=tmp_path, PATH=str(tools))
    assert done.exit_code == 3
    assert "missing  kubebox: built from Go modules, but there is no Go: install Go 1.26" in done.stdout
    assert "mmdebstrap: hack/system-packages cluster" in done.stdout


def test_more_workers_than_a_machine_can_have_are_refused(tmp_path: Path) -> None:
    """The command names the range."""
    done = cluster("up", "--workers", "9", home=tmp_path)
    assert done.exit_code == 2
    assert "0<=x<=8" in done.stderr


@pytest.mark.parametrize("words", [["stop", "kubectl"], ["partition", "n", "--from", "mars"], ["build", "rust"]])
def test_words_that_are_not_known_are_answered_with_those_that_are(words: list[str], tmp_path: Path) -> None:
    """click lists the choices."""
    done = cluster(*words, home=tmp_path)
    assert done.exit_code == 2
    assert "is not one of" in done.stderr
