"""`tradingbot-engine`: the trading engine's own command."""

from __future__ import annotations

import importlib

import click

from tradingbot_engine import __version__

_COMMANDS = {
    "audit": "tradingbot_engine.audit.command",
    "catalogue": "tradingbot_engine.commands.catalogue",
    "drain": "tradingbot_engine.commands.drain",
    "localnet": "tradingbot_engine.localnet.command",
    "reset-tier": "tradingbot_engine.commands.reset_tier",
    "run": "tradingbot_engine.commands.run",
}
"""Subcommand → module; imported when used, so that a small command starts fast."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name.replace("-", "_"))
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tradingbot-engine")
def main() -> None:
    """Run a trading engine, its embedded Solana cluster, and its tools."""


if __name__ == "__main__":
    main()
