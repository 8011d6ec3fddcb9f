"""`tradingbot-engine`: the trading engine's own command."""

import click

from tradingbot_engine import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tradingbot-engine")
def main() -> None:
    """Run a trading engine, its embedded Solana cluster, and its tools."""


if __name__ == "__main__":
    main()
