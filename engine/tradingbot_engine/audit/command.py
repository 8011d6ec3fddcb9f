"""`tradingbot-engine audit`: an independent proof from the chain that no trade was lost, doubled or invented."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import orjson
from pydantic import SecretStr

from tradingbot_engine.audit.audit import WrongLedger, run_audit
from tradingbot_engine.audit.books import LedgerUnreadable
from tradingbot_engine.audit.report import Report
from tradingbot_engine.audit.walk import ChainUnreadable, WrongChain
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings, EngineSettings, SettingsInvalid, load_settings

BAD_INPUT, NOT_DONE = 2, 4
REQUEST_TIMEOUT_S = 10.0
MAX_IN_FLIGHT = 16


class NothingNamed(click.UsageError):
    """Too little was named to know what to audit; exit code 2."""


@dataclass(frozen=True, slots=True)
class _Sources:
    endpoints: tuple[EndpointSettings, ...]
    ledger: str | Path
    marked: bool
    wallet: str | None


@click.command()
@click.option("--state-dir", type=click.Path(path_type=Path), help="State directory of a bot on this machine.")
@click.option("--config", type=click.Path(path_type=Path), help="The engine's settings, JSON.")
@click.option("--rpc", metavar="URL", help="Ask this node instead of those of the settings.")
@click.option("--ledger", metavar="URL|FILE", help="Read this ledger: an SQLite file, or postgresql://…")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def audit(state_dir: Path | None, config: Path | None, rpc: str | None, ledger: str | None, output: str) -> None:
    """
    Walk the wallet's whole finalized history by public RPC, and compare it with the ledger.

    Exit codes: 0 proven (or a paper bot), 1 something is doubled, lost or phantom, 2 bad input, 3 unprovable (no marks),
    4 incomplete: the chain could not be read as a whole.
    """
    try:
        sources = _sources(state_dir, config, rpc, ledger)
        report = asyncio.run(_audit(sources, quiet=output == "json"))
    except (SettingsInvalid, LedgerUnreadable, WrongLedger, WrongChain) as error:
        click.echo(f"audit: {error}", err=True)
        sys.exit(BAD_INPUT)
    except ChainUnreadable as error:
        click.echo(f"audit: incomplete: {error}", err=True)
        sys.exit(NOT_DONE)
    click.echo(orjson.dumps(report.document()).decode() if output == "json" else report.text())
    sys.exit(report.exit_code)


def _sources(state_dir: Path | None, config: Path | None, rpc: str | None, ledger: str | None) -> _Sources:
    if state_dir is not None and config is not None:
        raise NothingNamed("name the bot by --state-dir or by --config, not by both")
    path = config if config is not None else state_dir / "engine.json" if state_dir is not None else None
    settings = load_settings(path) if path is not None else None
    if rpc is not None and not rpc.startswith(("http://", "https://")):
        raise NothingNamed("--rpc must start with http:// or https://")
    where = ledger if ledger is not None else _ledger_of(settings)
    if where is None or (rpc is None and settings is None):
        raise NothingNamed("name the bot by --state-dir or --config, or give both --rpc and --ledger")
    endpoints = (
        (EndpointSettings(name="rpc", url=SecretStr(rpc)),)
        if rpc is not None
        else settings.rpc.endpoints
        if settings is not None
        else ()
    )
    return _Sources(
        endpoints=endpoints,
        ledger=where,
        marked=settings is None or settings.execution.mark != "None",
        wallet=settings.wallet.address if settings is not None else None,
    )


def _ledger_of(settings: EngineSettings | None) -> str | Path | None:
    if settings is None:
        return None
    url = settings.ledger.url
    return url.get_secret_value() if url is not None else settings.ledger.sqlite_path


async def _audit(sources: _Sources, *, quiet: bool) -> Report:
    clock = SystemClock()
    told = sys.stderr.isatty() and not quiet

    def progress(done: int, every: int) -> None:
        if told:
            click.echo(f"read {done} of {every} transactions", err=True)

    async with RpcPool(
        sources.endpoints, request_timeout_s=REQUEST_TIMEOUT_S, max_in_flight=MAX_IN_FLIGHT, clock=clock
    ) as rpc:
        return await run_audit(
            rpc=rpc,
            ledger=sources.ledger,
            clock=clock,
            marked=sources.marked,
            wallet=sources.wallet,
            progress=progress,
        )
