"""`tradingbot-engine localnet` as a process: ready line, kill -9 and return, clean ends, refusals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from solders.keypair import Keypair

from tradingbot_engine.localnet.ports import free_run

COMMAND = (
    sys.executable,
    "-m",
    "tradingbot_engine",
    "localnet",
    "--slot-ms",
    "20",
    "--speed",
    "3000",
    "--output",
    "json",
)
"""At that speed 25 h of history are few slots, which is soon made; nothing here looks at it."""
PATIENCE_S = 90
"""On a busy machine a process takes long to start."""


async def start(*options: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            line = await process.stdout.readline()
    except BaseException:
        process.kill()
        raise
    if not line:
        _, errors = await process.communicate()
        raise AssertionError(errors.decode())
    return process, orjson.loads(line)


async def stop(process: asyncio.subprocess.Process, number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    async with asyncio.timeout(PATIENCE_S):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


async def call(url: str, method: str, *params: Any) -> Any:
    body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        return orjson.loads(await response.read())["result"]


async def until_final(url: str, signature: str) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (status,) = (await call(url, "getSignatureStatuses", [signature]))["value"]
            if status is not None and status["confirmationStatus"] == "finalized":
                return
            await asyncio.sleep(0.05)


async def test_kill_9_loses_nothing_that_was_final_and_the_addresses_stay(tmp_path: Path) -> None:
    """The same chain at the same URLs, from its last finalized slot or later."""
    key = str(Keypair().pubkey())
    process, ready = await start("--state-dir", str(tmp_path), "--nodes", "2")
    try:
        assert len(ready["nodes"]) == 2
        assert set(ready) == {"nodes", "swap", "genesis_hash"}
        url = ready["nodes"][1]["http"]
        signature = await call(url, "requestAirdrop", key, 10**9)
        await until_final(url, signature)
        final = await call(url, "getSlot")
    finally:
        process.kill()
        await process.communicate()
    process, again = await start("--state-dir", str(tmp_path), "--nodes", "2")
    try:
        assert again == ready
        assert await call(url, "getSlot") >= final
        assert (await call(url, "getBalance", key))["value"] == 10**9
        (entry,) = await call(url, "getSignaturesForAddress", key)
        assert (entry["signature"], entry["confirmationStatus"]) == (signature, "finalized")
    finally:
        assert await stop(process) == 0


async def test_a_second_one_on_the_same_state_directory_is_refused(tmp_path: Path) -> None:
    """One line that says why; no traceback."""
    process, _ = await start("--state-dir", str(tmp_path), "--nodes", "1")
    try:
        second = await asyncio.create_subprocess_exec(
            *COMMAND, "--state-dir", str(tmp_path), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(PATIENCE_S):
            _, errors = await second.communicate()
        assert second.returncode == 1
        assert b"Traceback" not in errors
        assert b"locked" in errors
    finally:
        assert await stop(process, signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--token", "nonsense"), "not the base58 address of a mint"),
        (("--token", "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263:9"), "BONK has 5 decimals"),
        (("--replay", "{folder}/empty.csv"), "empty.csv"),
        (("--faults", "{folder}/faults.json", "--nodes", "1", "--audit-node", "0"), "faults.json"),
    ],
)
async def test_what_no_second_start_makes_better_is_bad_input(
    tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    """Exit code 2 and one line, so that whoever starts it again and again stops doing so."""
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "faults.json").write_text('[{"kind": "hang", "nodes": [0]}]')
    given = [option.format(folder=tmp_path) for option in options]
    refused = await asyncio.create_subprocess_exec(
        *COMMAND, *given, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        said, errors = await refused.communicate()
    assert (refused.returncode, said) == (2, b"")
    assert why in errors.decode()
    assert b"Traceback" not in errors


SECRET = str(Keypair())
LEAKS = """
import structlog
from tradingbot_engine.localnet import command
async def main(**_):
    structlog.get_logger("x").warning("trader failed", error="key KEY")
    raise ValueError("lost KEY")
command._main = main
command.localnet(standalone_mode=False)
"""


async def test_what_localnet_logs_holds_no_key() -> None:
    """Its log lies beside the engine's and is read by the same people; standard output stays the one line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LEAKS.replace("KEY", SECRET)),
        env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        said, errors = await process.communicate()
    assert said == b""
    assert b"trader failed" in errors
    assert b"ValueError" in errors
    assert SECRET.encode() not in errors


async def test_it_ends_with_the_process_that_it_belongs_to() -> None:
    """--parent-pid: gone within a second of that process, even if nobody collected it."""
    parent = await asyncio.create_subprocess_exec("sleep", "60")
    process, _ = await start("--nodes", "1", "--parent-pid", str(parent.pid))
    try:
        os.kill(parent.pid, signal.SIGKILL)
        async with asyncio.timeout(5):  # one to notice, the rest to write down what is final
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await parent.wait()


async def test_a_faults_file_is_validated_and_applied(tmp_path: Path) -> None:
    """Bad entries are named by their place; good ones are on from the first request."""
    file = tmp_path / "faults.yaml"
    file.write_text("- {kind: lag, nodes: [0]}\n")
    with pytest.raises(AssertionError, match=r"0\.lag\.slots"):
        await start("--nodes", "1", "--faults", str(file))
    file.write_text("- {kind: wrong_genesis, nodes: [0]}\n")
    process, ready = await start("--nodes", "1", "--faults", str(file))
    try:
        assert await call(ready["nodes"][0]["http"], "getGenesisHash") != ready["genesis_hash"]
    finally:
        assert await stop(process) == 0


async def test_ports_are_chosen_or_taken(tmp_path: Path) -> None:
    """--port fixes them; a port that is in use is an error in one line."""
    port = free_run(4)
    process, ready = await start("--nodes", "1", "--port", str(port))
    try:
        assert ready["nodes"][0]["http"] == f"http://127.0.0.1:{port}"
        assert ready["swap"] == f"http://127.0.0.1:{port + 2}"
        with pytest.raises(AssertionError, match="cannot listen"):
            await start("--nodes", "1", "--port", str(port))
    finally:
        assert await stop(process) == 0
