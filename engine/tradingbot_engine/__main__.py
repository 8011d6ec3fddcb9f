"""`tradingbot-engine`: the trading engine's own command."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from tradingbot_engine import __version__

_COMMANDS = {
    "audit": "tradingbot_engine.audit.command",
    "catalogue": "tradingbot_engine.commands.catalogue",
    "close-out": "tradingbot_engine.commands.close_out",
    "config": "tradingbot_engine.commands.config",
    "drain": "tradingbot_engine.commands.drain",
    "fund": "tradingbot_engine.commands.fund",
    "localnet": "tradingbot_engine.localnet.command",
    "reset-tier": "tradingbot_engine.commands.reset_tier",
    "run": "tradingbot_engine.commands.run",
    "settle": "tradingbot_engine.commands.settle",
}
"""Subcommand → module; imported when used, so that a small command starts fast."""
DEBUG_VARIABLE = "TRADINGBOT_DEBUG"


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line; an error is one line without secrets, its stack only with --debug."""
        try:
            return super().main(*args, **kwargs)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as error:
            from tradingbot_engine.logs import stack_text
            from tradingbot_engine.redact import safe_text, scrub

            debug = "--debug" in sys.argv[1:] or bool(os.environ.get(DEBUG_VARIABLE))
            if debug:
                click.echo(stack_text(error), err=True, nl=False)
            else:
                text = scrub(safe_text(error))
                click.echo(f"tradingbot-engine: {type(error).__name__}: {text} (--debug shows where)", err=True)
            sys.exit(1)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tradingbot-engine")
@click.option("--debug", is_flag=True, help="Show the stack of an error.")
def main(debug: bool) -> None:
    """Run a trading engine, its embedded Solana cluster, and its tools."""


if __name__ == "__main__":
    main()
