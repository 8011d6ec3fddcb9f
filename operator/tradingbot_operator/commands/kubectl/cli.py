"""The commands of `kubectl tradingbot`."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from click.shell_completion import CompletionItem

from tradingbot_operator import __version__
from tradingbot_operator.commands.kubectl.kubectl import Kubectl, Place, selector
from tradingbot_operator.commands.kubectl.words import table, why
from tradingbot_operator.errors import Failed, UserError

Command = Callable[..., Any]


class Commands(click.Group):
    """Ends with one line for what a person can put right."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line; return never, the exit code is the command's."""
        try:
            return super().main(*args, **kwargs)
        except UserError as error:
            click.echo(f"kubectl tradingbot: {error}", err=True)
            sys.exit(error.exit_code)


def _names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the bots that a name on the command line may become; none where no cluster answers."""
    stated = {name: context.params.get(name) for name in ("namespace", "context", "kubeconfig")}
    try:
        bots = Kubectl(Place(**stated)).bots()
    except UserError:
        return []
    return [CompletionItem(name) for bot in bots if (name := str(bot["metadata"]["name"])).startswith(incomplete)]


def place_options(command: Command) -> Command:
    """Add the options that say where: kubectl passes a plugin none of its own."""
    for option in (
        click.option("--kubeconfig", type=click.Path(), help="Default: as kubectl does."),
        click.option("--context", help="Context of the kubeconfig; default: its current one."),
        click.option("-n", "--namespace", help="Default: the context's."),
    ):
        command = option(command)
    return command


NAME = click.argument("name", shell_complete=_names)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kubectl tradingbot")
def main() -> None:
    """Look after TradingBots: what they do, why they do not, and by hand what a manifest would take longer for."""


@main.command()
@click.argument("names", nargs=-1, shell_complete=_names)
@click.option("-A", "--all-namespaces", is_flag=True, help="Of the whole cluster.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@place_options
def status(names: tuple[str, ...], all_namespaces: bool, output: str, **place: str | None) -> None:
    """Show bots: all of the namespace, or those that are NAMED."""
    if names and all_namespaces:
        raise click.UsageError("name bots, or ask for all namespaces")
    kubectl = Kubectl(Place(**place))
    bots = [kubectl.bot(name) for name in names] if names else kubectl.bots(everywhere=all_namespaces)
    if output == "json":
        click.echo(json.dumps([{key: bot.get(key) for key in ("metadata", "status")} for bot in bots], indent=2))
    elif not bots:
        click.echo("no TradingBot found", err=True)
    else:
        click.echo(table(bots, now=datetime.now(UTC), namespaces=all_namespaces))


@main.command("why")
@NAME
@place_options
def why_command(name: str, **place: str | None) -> None:
    """Say in one sentence, with evidence, why the bot NAME does not trade."""
    click.echo(why(Kubectl(Place(**place)).bot(name), now=datetime.now(UTC)))


@main.command()
@NAME
@place_options
def pause(name: str, **place: str | None) -> None:
    """
    Open no new position; what is open is looked after, and exits go on.

    Writes spec.paused, which reaches the engines within 2 s and outlives restarts. Where Git states `paused`, see docs/argo-cd.md.
    """
    Kubectl(Place(**place)).set_paused(name, True)
    click.echo(f"{name} is told to pause; see: kubectl tradingbot why {name}")


@main.command()
@NAME
@place_options
def resume(name: str, **place: str | None) -> None:
    """Trade again: takes back spec.paused, and a pause by hand in each engine."""
    kubectl = Kubectl(Place(**place))
    kubectl.set_paused(name, False)
    for pod in kubectl.engines(name):
        try:
            kubectl.clear_latch(pod)
        except UserError as error:
            raise Failed(f"spec.paused is taken back; whether {pod} was paused by hand is not known: {error}") from None
    click.echo(f"{name} is told to trade; see: kubectl tradingbot why {name}")


@main.command()
@NAME
@place_options
def drain(name: str, **place: str | None) -> None:
    """
    Take no new signal and follow trades in flight to their end, as before every stop; waits for it.

    A drained engine trades again once its pod is replaced: kubectl rollout restart deployment/NAME-engine.
    """
    sys.exit(_in_each_engine(name, place, ["drain"]))


@main.command()
@NAME
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@place_options
def audit(name: str, output: str, **place: str | None) -> None:
    """Prove from the chain that no trade of the bot was lost and none doubled. Exit code 0 only if so."""
    kubectl = Kubectl(Place(**place))
    sys.exit(kubectl.engine(_one_engine(kubectl, name), ["audit", "--output", output]))


@main.command()
@NAME
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-p", "--previous", is_flag=True, help="Of the containers before the last restart.")
@click.option("--since", help="Such as 10m.")
@click.option("--tail", type=int, default=200, show_default=True, help="Last lines of each pod; -1: all.")
@place_options
def logs(name: str, follow: bool, previous: bool, since: str | None, tail: int, **place: str | None) -> None:
    """Show what the engines of the bot NAME log."""
    arguments = [f"--selector={selector(name)}", "--container=engine", "--prefix", f"--tail={tail}"]
    arguments += ["--follow"] if follow else []
    arguments += ["--previous"] if previous else []
    arguments += [f"--since={since}"] if since else []
    sys.exit(Kubectl(Place(**place)).show("logs", *arguments))


def _one_engine(kubectl: Kubectl, name: str) -> str:
    kubectl.bot(name)  # a name that is wrong is told as such
    engines = kubectl.engines(name)
    if not engines:
        raise Failed(f"no engine of {name} runs; see: kubectl tradingbot why {name}")
    return engines[0]


def _in_each_engine(name: str, place: dict[str, str | None], command: list[str]) -> int:
    kubectl = Kubectl(Place(**place))
    _one_engine(kubectl, name)
    return max(kubectl.engine(pod, command) for pod in kubectl.engines(name))
