"""`tradingbot-engine audit` as a person or the operator runs it: options, output, exit codes."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
import pytest_asyncio
from audit_stage import BONK, LedgerFile, new_id, staged
from click.testing import CliRunner

from tradingbot_engine.audit.command import audit

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chain():
    async with staged() as chain:
        yield chain


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def traded(chain, tmp_path_factory):
    """A state directory as the runner leaves it: one clean trade, one of a person."""
    key = await chain.wallet()
    directory = tmp_path_factory.mktemp("state")
    ledger = LedgerFile(directory / "ledger.sqlite", chain, key)
    intent = new_id()
    await ledger.done(intent, await chain.trade(key, intent))
    await chain.send(key, [chain.payment(key, key.pubkey())])
    write_settings(directory / "engine.json", chain, ledger)
    return directory, ledger


def write_settings(path: Path, chain, ledger: LedgerFile, *, mark: str = "Memo") -> None:
    path.write_text(
        json.dumps(
            {
                "bot": {"name": "first-bot"},
                "wallet": {"address": ledger.wallet},
                "rpc": {"endpoints": [{"name": "one", "url": chain.url}]},
                "market": {"tokens": [{"mint": BONK}]},
                "strategies": [{"name": "momentum", "type": "momentum_5m"}],
                "execution": {"mark": mark},
                "ledger": {"sqlite_path": str(ledger.path)},
            }
        )
    )


async def run(*options: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tradingbot_engine",
        "audit",
        *options,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_a_state_directory_is_audited_in_one_line_of_json(traded):
    """All keys of the contract, nothing else on standard output, exit 0."""
    directory, ledger = traded
    code, out, err = await run("--state-dir", str(directory), "--output", "json")
    assert code == 0, err
    assert out.count("\n") == 1
    assert json.loads(out) == {
        "bot": "first-bot",
        "wallet": ledger.wallet,
        "transactions": 2,
        "filled": 1,
        "doubled": 0,
        "lost": 0,
        "phantom": 0,
        "open": 0,
        "foreign": 1,
        "upkeep": 0,
        "failed": 0,
        "verdict": "proven",
        "findings": [],
    }


async def test_people_get_a_table_a_verdict_and_what_to_do(chain, traded, tmp_path):
    """Each finding names its transaction and the next step; the exit code is 1."""
    directory, _ = traded
    text = (await run("--state-dir", str(directory)))[1]
    assert "PROVEN: no trade was doubled, lost or invented" in text
    key = await chain.wallet()
    ledger = LedgerFile(tmp_path / "l.sqlite", chain, key)
    signature = await chain.trade(key, new_id())
    code, out, _ = await run("--rpc", chain.url, "--ledger", str(ledger.path))
    assert code == 1
    assert signature in out
    assert "restore the newest copy of the ledger" in out
    assert "VIOLATED" in out


async def test_the_settings_mark_none_is_unprovable(chain, traded, tmp_path):
    """Exit 3, although nothing wrong was found."""
    _, ledger = traded
    write_settings(tmp_path / "engine.json", chain, ledger, mark="None")
    code, out, _ = await run("--config", str(tmp_path / "engine.json"), "--output", "json")
    assert (code, json.loads(out)["verdict"]) == (3, "unprovable")


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--ledger", "/nowhere/ledger.sqlite"),
        ("--ledger", "/nowhere/ledger.sqlite", "--rpc", "ftp://x"),
        ("--ledger", "/nowhere/ledger.sqlite", "--rpc", "http://127.0.0.1:9"),
        ("--state-dir", "/nowhere"),
        ("--config", "a", "--state-dir", "b"),
    ],
)
async def test_bad_input_is_exit_2_without_a_traceback(options):
    """The text says what was missing."""
    result = await asyncio.to_thread(CliRunner().invoke, audit, options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.strip()
    assert isinstance(result.exception, SystemExit)


async def test_a_node_that_does_not_answer_is_exit_4(traded):
    """Not done is not proven, and not violated either."""
    _, ledger = traded
    code, out, err = await run("--ledger", str(ledger.path), "--rpc", "http://127.0.0.1:9")
    assert (code, out) == (4, "")
    assert "no node answers" in err
