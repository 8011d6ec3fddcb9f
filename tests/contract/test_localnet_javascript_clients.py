"""The unmodified JavaScript clients against localnet; their own assertions are in `javascript/`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tradingbot_engine.localnet.cluster import Cluster

HERE = Path(__file__).parent / "javascript"
SUITES = ("web3js.mjs", "kit.mjs")
SLOT_MS = 250
"""web3.js signs with a blockhash that it keeps for 30 s, which must be fewer than the 150 slots for which it is valid."""

pytestmark = pytest.mark.javascript


def _node_is_new_enough() -> bool:
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    major, minor = (int(part) for part in version.removeprefix("v").split(".")[:2])
    return (major, minor) >= (20, 18)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of the lock file, outside the repository; kept between runs under the user's cache."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed: the JavaScript clients are not tried")
    if not _node_is_new_enough():
        pytest.skip("the JavaScript clients need Node.js 20.18 or newer")
    lock = (HERE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradingbot-tests"
    target = cache / f"javascript-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not (target / "complete").exists():
        building = tmp_path_factory.mktemp("javascript")
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / name, building / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        done = subprocess.run(command, cwd=building, capture_output=True, text=True, timeout=240, check=False)
        if done.returncode:
            pytest.skip(f"npm ci failed, so the JavaScript clients are not tried: {done.stderr.strip()[-500:]}")
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(building, target, symlinks=True)
        (target / "complete").touch()
    for suite in SUITES:
        shutil.copy(HERE / suite, target / suite)
    return target


@pytest.mark.parametrize("suite", SUITES)
async def test_an_unmodified_javascript_client_works(installed: Path, suite: str) -> None:
    """Airdrop, confirm, tokens, wrapped SOL, lookup tables, parsed reads, paging, batches, subscriptions, errors."""
    async with Cluster(nodes=1, slot_ms=SLOT_MS) as cluster:
        node = cluster.nodes[0]
        environment = {**os.environ, "LOCALNET_URL": node.http_url, "LOCALNET_WEBSOCKET": node.websocket_url}
        process = await asyncio.create_subprocess_exec(
            *("node", "--test", "--test-reporter=tap", suite),
            cwd=installed,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(180):
                output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = output.decode()
        assert process.returncode == 0, text[-6000:]
        assert "# fail 0" in text
        assert "# pass 0" not in text
