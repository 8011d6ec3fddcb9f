"""`tradingbot-engine localnet`: the cluster as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import click
import orjson
import uvloop
import yaml
from pydantic import ValidationError

from tradingbot_engine.localnet.cluster import KEEP_SLOTS, LEAST_KEEP_SLOTS, Cluster
from tradingbot_engine.localnet.faults import FaultRefused, parse_faults, place_of
from tradingbot_engine.localnet.market import (
    BadRecording,
    BadToken,
    Market,
    Scenario,
    load_recording,
    transactions_per_slot,
)
from tradingbot_engine.localnet.ports import HOST
from tradingbot_engine.localnet.store import StoreError
from tradingbot_engine.logs import configure_logs
from tradingbot_engine.redact import scrub
from tradingbot_engine.settings import LoggingSettings

PARENT_POLL_S = 0.25


class BadInput(click.ClickException):
    """What was given is wrong, and stays so however often localnet is started with it."""

    exit_code = 2

    def format_message(self) -> str:
        return scrub(super().format_message())


class Failed(click.ClickException):
    """Localnet could not start, or could not go on."""

    def format_message(self) -> str:
        return scrub(super().format_message())


@click.command()
@click.option("--nodes", type=click.IntRange(1, 32), default=3, show_default=True, help="Number of RPC nodes.")
@click.option("--port", type=click.IntRange(0, 65000), default=0, help="First port; free ones by default.")
@click.option("--host", default=HOST, show_default=True, help="Address to listen on; 0.0.0.0 for all, as in a pod.")
@click.option("--slot-ms", type=click.FloatRange(5, 60_000), default=400.0, show_default=True, help="Wall ms per slot.")
@click.option("--speed", type=click.FloatRange(0.01, 10_000), default=1.0, show_default=True, help="Market speed.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of traders and of fault probabilities.")
@click.option(
    "--scenario",
    type=click.Choice([scenario.value for scenario in Scenario], case_sensitive=False),
    default=Scenario.CALM.value,
    show_default=True,
    help="What the simulated traders play.",
)
@click.option("--token", "tokens", multiple=True, help="A further token to trade, MINT or MINT:DECIMALS.")
@click.option("--replay", type=click.Path(exists=True, path_type=Path), help="Recorded prices that drive the market.")
@click.option("--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep the chain here across runs.")
@click.option(
    "--faults",
    "faults_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Faults to start with (JSON or YAML list).",
)
@click.option("--audit-node", type=click.IntRange(min=0), help="Node on which faults are refused.")
@click.option(
    "--keep-slots",
    type=click.IntRange(min=0),
    default=KEEP_SLOTS,
    show_default=True,
    help=f"Slots of the market's own transactions kept on disk, at least {LEAST_KEEP_SLOTS}; 0 keeps all.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--parent-pid", type=int, help="Stop when this process is gone.")
def localnet(**options: Any) -> None:
    """
    Run an embedded Solana cluster, for this engine or for any Solana client.

    Exit codes: 0 stopped, 1 failed, 2 bad input (an option, a token, a recording, a file of faults).
    """
    configure_logs(LoggingSettings())
    uvloop.run(_main(**options))


async def _main(
    *,
    nodes: int,
    port: int,
    host: str,
    slot_ms: float,
    speed: float,
    seed: int,
    scenario: str,
    tokens: tuple[str, ...],
    replay: Path | None,
    state_dir: Path | None,
    faults_file: Path | None,
    audit_node: int | None,
    keep_slots: int,
    output: str,
    parent_pid: int | None,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if 0 < keep_slots < LEAST_KEEP_SLOTS:
        raise click.BadParameter(f"give at least {LEAST_KEEP_SLOTS}, or 0", param_hint="--keep-slots")
    faults = _read_faults(faults_file) if faults_file is not None else []
    try:
        recording = load_recording(replay) if replay is not None else None
        cluster = Cluster(
            nodes=nodes,
            slot_ms=slot_ms,
            port=port,
            host=host,
            state_dir=state_dir,
            speed=speed,
            seed=seed,
            audit_node=audit_node,
            keep_slots=keep_slots or None,
        )
        market = Market(
            cluster.bank,
            seed=seed,
            scenario=scenario,
            replay=recording,
            tokens=tokens,
            state_dir=state_dir,
            transactions_per_slot=transactions_per_slot(slot_ms),
        )
        market.open()
    except (BadRecording, BadToken) as error:
        raise BadInput(str(error)) from error
    except StoreError as error:
        raise Failed(str(error)) from error
    market.mount(cluster.gateway)
    try:
        async with cluster:
            for fault in faults:
                cluster.faults.add(fault)
            _announce(cluster, output)
            await _until_stopped(cluster, stop, parent_pid)
    except FaultRefused as error:
        raise BadInput(f"{faults_file}: {error}") from error
    except StoreError as error:
        raise Failed(str(error)) from error
    except OSError as error:
        raise Failed(f"cannot listen: {error}") from error
    finally:
        market.close()


async def _until_stopped(cluster: Cluster, stop: asyncio.Event, parent_pid: int | None) -> None:
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(cluster.failed())]
    if parent_pid is not None:
        waits.append(asyncio.create_task(_gone(parent_pid)))
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


async def _gone(pid: int) -> None:
    """Wait until the process is gone, or is a zombie that only waits to be collected."""
    while True:
        try:
            os.kill(pid, 0)
            status = Path(f"/proc/{pid}/stat").read_text()  # noqa: ASYNC240 - not on a disk
            if status.rpartition(")")[2].split()[0] in ("Z", "X"):
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        except PermissionError:
            pass  # alive, of another user
        await asyncio.sleep(PARENT_POLL_S)


def _read_faults(path: Path) -> list[Any]:
    try:
        return parse_faults(yaml.safe_load(path.read_text()))  # JSON is YAML
    except yaml.YAMLError as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--faults") from error
    except ValidationError as error:
        lines = [f"{path}: {place_of(e)}: {e['msg']}" for e in error.errors()]
        raise click.BadParameter("\n".join(lines), param_hint="--faults") from error


def _announce(cluster: Cluster, output: str) -> None:
    described = cluster.described()
    if output == "json":
        click.echo(orjson.dumps(described).decode())
        return
    for index, node in enumerate(described["nodes"]):
        click.echo(f"node {index}   {node['http']}   {node['websocket']}")
    click.echo(f"swap     {described['swap']}")
    click.echo(f"genesis  {described['genesis_hash']}")
    click.echo("Ctrl-C stops it.")
