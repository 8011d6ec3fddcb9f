"""The commands of `python hack/cluster`."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tradingbot_cluster import components, doctor, images, logs, partition, supplies
from tradingbot_cluster.argocd import argo_cd
from tradingbot_cluster.cluster import ENGINES, Cluster, kubectl_program
from tradingbot_cluster.commands import run
from tradingbot_cluster.engine import machine_engine
from tradingbot_cluster.errors import ClusterError, Failed, Missing, NotRunning
from tradingbot_cluster.places import places
from tradingbot_cluster.programs import ARGOCD, HELM

CHOICE = "E2E_CLUSTER"
DEFAULT_NAME = "tradingbot"


class Commands(click.Group):
    """Ends with one line for what a person can put right."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line."""
        try:
            return super().main(*args, **kwargs)
        except ClusterError as error:
            click.echo(f"cluster: {error}", err=True)
            sys.exit(error.exit_code)


def say_with_time() -> Callable[[str], None]:
    """Return what tells a step on standard error, with the seconds since now."""
    start = time.monotonic()
    return lambda text: click.echo(f"{time.monotonic() - start:6.1f} s  {text}", err=True)


def existing_cluster() -> bool:
    """
    Say whether the environment wants an existing cluster to be used.

    Raises:
        ClusterError: E2E_CLUSTER says something else than `kind` or `existing`.
    """
    choice = os.environ.get(CHOICE, "kind")
    if choice not in {"kind", "existing"}:
        raise ClusterError(
            f"{CHOICE}={choice!r}: it can be 'kind' (the default) or 'existing' (the cluster that KUBECONFIG names)"
        )
    return choice == "existing"


def existing_kubeconfig() -> Path:
    """
    Return the kubeconfig of the existing cluster.

    Raises:
        Missing: KUBECONFIG names no file.
    """
    given = os.environ.get("KUBECONFIG", "")
    if not given or not Path(given).is_file():
        raise Missing(
            f"{CHOICE}=existing: KUBECONFIG={given!r} names no file; set it to the kubeconfig of the cluster to use"
        )
    return Path(given)


name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which cluster.")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A real Kubernetes on this machine: kind, with whatever the machine lacks supplied."""


@main.command()
@name_option
@click.option(
    "--workers", default=0, show_default=True, type=click.IntRange(0, 8), help="Nodes beside the control plane."
)
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    type=click.Choice(ENGINES),
    help="Whose container engine the nodes run in.",
)
@click.option("--owner", type=int, metavar="PID", help="Let a private engine's cluster end with this process.")
def up(name: str, workers: int, engine: str, owner: int | None) -> None:
    """Bring a cluster up, building once what is missing; then print its kubeconfig's path."""
    if existing_cluster():
        config = existing_kubeconfig()
        run("kubectl", "--kubeconfig", config, "get", "--raw", "/readyz", timeout_s=30)
        click.echo(config)
        return
    cluster = Cluster(name, places())
    cluster.up(workers=workers, engine=engine, owner=owner, say=say_with_time())
    click.echo(cluster.kubeconfig)


@main.command()
@name_option
def down(name: str) -> None:
    """Take a cluster away; the machine is as it was before."""
    if existing_cluster():
        click.echo(f"{CHOICE}=existing: left as it is", err=True)
        return
    Cluster(name, places()).down(say_with_time())


@main.command()
def status() -> None:
    """Say which clusters run, and the state of their nodes; ends with 4 if none runs."""
    found = 0
    for name in places().clusters():
        cluster = Cluster(name, places())
        if cluster.clean():
            click.echo(f"{name}: its keeper was killed; what it left is removed")
            continue
        state = cluster.state()
        if state is None or not state.ready:
            click.echo(f"{name}: being started or stopped")
            continue
        found += 1
        click.echo(f"{name}: {state.workers + 1} node(s) in {state.engine_words}, {cluster.kubeconfig}")
        try:
            click.echo(cluster.kubectl("get", "nodes", "--output=wide", "--request-timeout=5s"), nl=False)
        except Failed as error:
            click.echo(f"  its API server does not answer: {str(error).splitlines()[-1].strip()}")
    if not found:
        raise NotRunning("no cluster runs")


@main.command("doctor")
def doctor_() -> None:
    """Say what this machine has, what will be supplied, what is missing and how to get it; ends with 3 if something is."""
    findings = doctor.doctor(places(), now_s=time.time())
    for finding in findings:
        click.echo(f"{finding.verdict:>8}  {finding.what}: {finding.detail}")
    if not doctor.suited(findings):
        raise Missing("this machine can't have a cluster yet: see the lines that say 'missing'")


@main.command()
@name_option
def kubeconfig(name: str) -> None:
    """Print the path of a running cluster's kubeconfig: export KUBECONFIG=$(python hack/cluster kubeconfig)."""
    if existing_cluster():
        click.echo(existing_kubeconfig())
        return
    cluster = Cluster(name, places())
    cluster.running()
    click.echo(cluster.kubeconfig)


@main.command()
@name_option
@click.argument("image", nargs=-1, required=True)
def load(name: str, image: tuple[str, ...]) -> None:
    """Bring images to every node: archives (files), or names of images in the cluster's engine."""
    images.load(Cluster(name, places()), image, say_with_time())


@main.command()
@name_option
@click.argument("component", type=click.Choice(components.COMPONENTS))
@click.option("--node", help="Which node's; the control plane's by default.")
@click.option("--hang", is_flag=True, help="It stays there and answers nothing.")
def stop(name: str, component: str, node: str | None, hang: bool) -> None:
    """Stop a component: killed at once, and away until started."""
    components.stop(Cluster(name, places()), component, node=node, hang=hang)


@main.command()
@name_option
@click.argument("component", type=click.Choice(components.COMPONENTS))
@click.option("--node", help="Which node's; the control plane's by default.")
def start(name: str, component: str, node: str | None) -> None:
    """Start a stopped component; for etcd and the API server wait until the latter is ready."""
    components.start(Cluster(name, places()), component, node=node)


@main.command("partition")
@name_option
@click.argument("node")
@click.option(
    "--from",
    "target",
    default="all",
    show_default=True,
    type=click.Choice(partition.TARGETS),
    help="What it is cut off from.",
)
def partition_(name: str, node: str, target: str) -> None:
    """Cut a node and its pods off from the API server, from databases, from RPC nodes, or from everything."""
    partition.partition(Cluster(name, places()), node, target)


@main.command()
@name_option
@click.argument("node")
def heal(name: str, node: str) -> None:
    """Undo every partition of a node."""
    partition.heal(Cluster(name, places()), node)


@main.command("argocd")
@name_option
def argocd_(name: str) -> None:
    """Run a real Argo CD for a cluster until Ctrl-C; its Applications are asked about with kubectl."""
    cluster = Cluster(name, places())
    if existing_cluster():
        config = existing_kubeconfig()
    else:
        cluster.running()
        config = cluster.kubeconfig
    say = say_with_time()
    built, helm = ARGOCD.build(places(), say), HELM.build(places(), say)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does, with nothing left
    try:
        with argo_cd(built.parent, kubeconfig=config, kubectl=kubectl_program(places()), helm=helm) as found:
            say("Argo CD: ready (kubectl --namespace argocd get applications)")
            found.wait_until(lambda: False, math.inf)
    except KeyboardInterrupt:
        say("Argo CD: stopped; what it has in the cluster stays there")


@main.command("logs")
@name_option
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def logs_(name: str, folder: Path) -> None:
    """Write the logs of nodes, services and pods into a folder."""
    written = logs.collect(Cluster(name, places()), folder)
    click.echo(f"{len(written)} files in {folder}")


@main.command("build")
@click.argument("part", nargs=-1, type=click.Choice(supplies.PARTS))
def build_(part: tuple[str, ...]) -> None:
    """Build the parts named, or all that a cluster needs and this machine lacks, and print where each stands."""
    say = say_with_time()
    for name in part or supplies.needed(
        doctor.doctor(places(), now_s=time.time()), own_engine=machine_engine() is not None
    ):
        click.echo(supplies.build(name, places(), say))
