"""`tradingbot`: the command people type."""

import os
import sys
from typing import Any

import click

from tradingbot_operator import __version__
from tradingbot_operator.errors import UserError

FILES = click.Path(allow_dash=True)  # missing files are told by the commands, all at once
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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
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


@main.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell: source <(tradingbot completion bash)."""
    from tradingbot_operator.commands.completion import completion

    click.echo(completion(shell, main))


if __name__ == "__main__":
    main(prog_name="tradingbot")
