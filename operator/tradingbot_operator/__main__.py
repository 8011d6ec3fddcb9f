"""`tradingbot`: the command people type."""

import os
import re
import sys
from typing import Any

import click

from tradingbot_operator import __version__
from tradingbot_operator.errors import UserError

FILES = click.Path(allow_dash=True)  # missing files are told by the commands, all at once
SCENARIOS = ("Calm", "Trend", "Viral", "RugPull", "Dead")
ENGINE_IMAGE = f"tradingbot-engine:{__version__}"
OPERATOR_NAMESPACE = "tradingbot-system"
DEBUG_VARIABLE = "TRADINGBOT_DEBUG"


class Commands(click.Group):
    """Ends with one line for what a person can put right, and with a traceback only when asked for."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line; return never, the exit code is the command's."""
        debug = "--debug" in sys.argv[1:] or bool(os.environ.get(DEBUG_VARIABLE))
        try:
            return super().main(*args, **kwargs)
        except UserError as error:
            if debug:
                raise
            click.echo(f"tradingbot: {error}", err=True)
            sys.exit(error.exit_code)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as error:
            if debug:
                raise
            click.echo(f"tradingbot: {type(error).__name__}: {error} (--debug shows where)", err=True)
            sys.exit(1)


class Duration(click.ParamType[float]):
    """A time such as 90, 90s, 5m or 2h, in seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?", str(value).strip())
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is no time: write 60s, 5m or 2h", param, ctx)
        return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2] or "s"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "TRADINGBOT"})
@click.version_option(__version__, prog_name="tradingbot")
@click.option("--debug", is_flag=True, help="Show a traceback when something goes wrong.")
def main(debug: bool) -> None:
    """Run Solana trading bots without losing or doubling a trade."""


@main.command("validate")
@click.option("-f", "--file", "files", multiple=True, type=FILES, help="File, directory, or - for standard input.")
@click.argument("more", nargs=-1, type=FILES)
def validate_command(files: tuple[str, ...], more: tuple[str, ...]) -> None:
    """Check manifests: all problems at once, one line each. Exit code 2 if there is any."""
    from tradingbot_operator.commands.validate import validate

    if not files and not more:
        raise click.UsageError("name a file: tradingbot validate -f FILE…")
    sys.exit(validate((*files, *more)))


@main.command("explain")
@click.argument("field", required=False)
def explain_command(field: str | None) -> None:
    """Tell every field's type, default, unit and meaning, or of FIELD such as spec.risk alone."""
    from tradingbot_operator.catalogue import catalogue
    from tradingbot_operator.commands.explain import explain

    click.echo(explain(field, catalogue()))


@main.command("init")
@click.argument("file", default="bot.yaml", type=click.Path())
def init_command(file: str) -> None:
    """Write a commented manifest to start from; FILE is bot.yaml if not named."""
    from tradingbot_operator.commands.init import init, sample

    if file == "-":
        click.echo(sample(), nl=False)
        return
    init(file)
    click.echo(f"wrote {file}; next: tradingbot run -f {file}")


@main.command("run")
@click.option("-f", "--file", "files", multiple=True, required=True, type=FILES, help="File, directory, or -.")
@click.option("--speed", type=click.FloatRange(0.1, 3600), help="Play the market of localnet this many times as fast.")
@click.option("--duration", type=Duration(), help="Drain and end after this time: 60s, 5m, 2h.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", help="json: one summary, nothing else.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Seed of localnet's market.")
@click.option("--replay", type=click.Path(), help="A recorded price series (CSV or JSON) drives localnet's market.")
@click.option("--scenario", type=click.Choice(SCENARIOS), help="What localnet's traders do.")
@click.option("--slot-ms", type=click.IntRange(5, 60_000), help="Wall time of localnet's slots.")
@click.option("--faults", type=click.Path(), help="Faults that localnet injects, JSON.")
@click.option("--state-dir", type=click.Path(file_okay=False), help="Where the bot lives; a second run resumes it.")
@click.option("--secrets", type=click.Path(), help="Directory with Secrets: DIR/<secret>/<key>.")
def run_command(**options: Any) -> None:
    """
    Run a bot on this machine, with localnet if its manifest says so.

    Ctrl-C drains: no new signals, trades in flight are followed to their end. Exit codes: 0 drained, 1 failed, 2 bad
    input, 3 stopped with trades still open (they are journalled, the next run follows them).
    """
    from tradingbot_operator.commands.run import RunOptions, run

    duration = options.pop("duration")
    sys.exit(run(RunOptions(duration_s=duration, **options)))


@main.command("audit")
@click.option("-f", "--file", "files", multiple=True, type=FILES, help="Manifest of the bot.")
@click.option("--state-dir", type=click.Path(file_okay=False), help="Where the bot lives.")
@click.option("--rpc", help="Node to ask; default: the bot's own.")
@click.option("--ledger", help="Ledger to compare with, postgresql://… or a SQLite file; default: the bot's own.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
def audit_command(
    files: tuple[str, ...], state_dir: str | None, rpc: str | None, ledger: str | None, output: str
) -> None:
    """Prove from the chain alone that no trade was lost and none doubled. Exit code 0 only if so."""
    from tradingbot_operator.commands.audit import audit, find_state_dir

    sys.exit(audit(find_state_dir(files, state_dir), rpc=rpc, ledger=ledger, output=output))


@main.command("reset-tier")
@click.argument("name", required=False)
@click.option("-f", "--file", "files", multiple=True, type=FILES, help="Manifest of the bot.")
@click.option("--namespace", default="default", show_default=True, help="Namespace of NAME.")
@click.option("--state-dir", type=click.Path(file_okay=False), help="Where the bot lives.")
@click.option("--reason", required=True, help="Why; kept in the ledger's journal.")
def reset_tier_command(
    name: str | None, files: tuple[str, ...], namespace: str, state_dir: str | None, reason: str
) -> None:
    """Clear the drawdown tier of the bot NAME (or -f FILE, or --state-dir DIR); it may trade again."""
    from tradingbot_operator.commands.audit import find_state_dir
    from tradingbot_operator.commands.reset_tier import reset_tier
    from tradingbot_operator.local.state_dir import default_path

    if name is not None and (files or state_dir):
        raise click.UsageError("name the bot once: NAME, -f FILE or --state-dir DIR")
    place = str(default_path(namespace, name)) if name is not None else state_dir
    sys.exit(reset_tier(find_state_dir(files, place), reason))


@main.command("plan")
@click.option("-f", "--file", "files", multiple=True, required=True, type=FILES, help="File, directory, or -.")
@click.option("--kubeconfig", type=click.Path(), help="How to reach the cluster; default: as kubectl does.")
@click.option("--context", help="Context of the kubeconfig; default: its current one.")
@click.option("--engine-image", default=ENGINE_IMAGE, show_default=True, help="Image where a bot names none.")
@click.option("--operator-namespace", default=OPERATOR_NAMESPACE, show_default=True, help="Where the operator runs.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
def plan_command(
    files: tuple[str, ...],
    kubeconfig: str | None,
    context: str | None,
    engine_image: str,
    operator_namespace: str,
    output: str,
) -> None:
    """Print what the operator would do for a manifest on a cluster, and why; change nothing."""
    from tradingbot_operator.commands.plan import show_plan

    show_plan(
        files,
        kubeconfig=kubeconfig,
        context=context,
        image=engine_image,
        namespace=operator_namespace,
        output=output,
    )


@main.command("operator", context_settings={"auto_envvar_prefix": "TRADINGBOT_OPERATOR"})
@click.option("--namespaces", multiple=True, help="Look after these namespaces alone; repeatable. Default: all.")
@click.option("--operator-namespace", default=OPERATOR_NAMESPACE, show_default=True, help="Where this operator runs.")
@click.option("--identity", help="Unique among operators; default: the pod's name ($HOSTNAME).")
@click.option("--engine-image", default=ENGINE_IMAGE, show_default=True, help="Image where a bot names none.")
@click.option("--pull-policy", type=click.Choice(["Always", "IfNotPresent", "Never"]), help="Where a bot says nothing.")
@click.option("--pull-secret", "pull_secrets", multiple=True, help="Secret of the registry in the bots' namespaces.")
@click.option("--scraper-namespace", "scraper_namespaces", multiple=True, help="Whose pods may read engines' metrics.")
@click.option("--cluster-id", help="Name of this cluster; default: the uid of its namespace kube-system.")
@click.option("--kubeconfig", type=click.Path(), help="Default: the pod's own account, else as kubectl does.")
@click.option("--context", help="Context of the kubeconfig; default: its current one.")
@click.option("--host", default="0.0.0.0", show_default=True, help="Interface of /livez, /readyz, /metrics.")  # noqa: S104
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option("--port-file", type=click.Path(), help="Where the port is written.")
@click.option("--resync", "resync_s", type=Duration(), default="5m", show_default=True, help="Between two full lists.")
@click.option(
    "--engine-every",
    "engine_every_s",
    type=Duration(),
    default="5s",
    show_default=True,
    help="Between two questions to an engine.",
)
@click.option(
    "--engine-timeout",
    "engine_timeout_s",
    type=Duration(),
    default="1500ms",
    show_default=True,
    help="Of one question to an engine.",
)
@click.option(
    "--numbers-every",
    "numbers_every_s",
    type=Duration(),
    default="100s",
    show_default=True,
    help="Live numbers in the status.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@click.option("--log-format", type=click.Choice(["json", "text"]), default="json", show_default=True)
def operator_command(log_level: str, log_format: str, identity: str | None, **options: Any) -> None:
    """
    Look after the TradingBots of a cluster until SIGTERM; the image's entrypoint.

    Every option can be given by the environment too: TRADINGBOT_OPERATOR_ENGINE_IMAGE for --engine-image.
    """
    from tradingbot_operator.commands.operator import operator
    from tradingbot_operator.settings import OperatorSettings, own_identity

    settings = OperatorSettings(identity=identity or own_identity(), **options)
    operator(settings, level=log_level, json_lines=log_format == "json")


@main.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell: source <(tradingbot completion bash)."""
    from tradingbot_operator.commands.completion import completion

    click.echo(completion(shell, main))


if __name__ == "__main__":
    main(prog_name="tradingbot")
