"""`tradingbot validate`: every problem of every file at once, one line each."""

import click

from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.manifest.load import Bundle, load


def validate(sources: tuple[str, ...]) -> int:
    """
    Check manifests and print what is wrong.

    Args:
        sources: Files, directories, or "-" for standard input.

    Returns:
        0 if all are sound, otherwise 2.
    """
    bundle = load(sources, catalogue())
    tell(bundle)
    if bundle.problems:
        return 2
    for loaded in bundle.bots:
        meta = loaded.bot.metadata
        click.echo(f"{loaded.file}:{loaded.line}: TradingBot {meta.namespace}/{meta.name} is valid")
    if not bundle.bots:
        click.echo(f"{bundle.documents} document(s) read, none of kind TradingBot", err=True)
    return 0


def tell(bundle: Bundle) -> None:
    """Print problems and notes on standard error; problems first."""
    for problem in bundle.problems:
        click.echo(str(problem), err=True)
    for note in bundle.notes:
        click.echo(f"note: {note}", err=True)
