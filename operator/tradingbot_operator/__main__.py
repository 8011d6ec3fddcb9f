"""`tradingbot`: the command people type."""

import click

from tradingbot_operator import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tradingbot")
def main() -> None:
    """Run Solana trading bots without losing or doubling a trade."""


if __name__ == "__main__":
    main()
