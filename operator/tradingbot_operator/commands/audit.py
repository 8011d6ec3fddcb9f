"""`tradingbot audit`: the engine's independent audit of a bot that runs, or that ran, on this machine."""

import asyncio
import os
import subprocess
from pathlib import Path

from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.commands.run import the_bot
from tradingbot_operator.commands.validate import tell
from tradingbot_operator.errors import BadInput, Failed
from tradingbot_operator.local.localnet import announced, localnet_command, recall, wait_for_line
from tradingbot_operator.local.process import ENGINE, Child, child_environment
from tradingbot_operator.local.state_dir import StateDir, default_path
from tradingbot_operator.manifest.load import load
from tradingbot_operator.wire.chain import localnet_chain

LOCALNET_END_S = 15.0


def find_state_dir(files: tuple[str, ...], state_dir: str | None) -> StateDir:
    """
    Return the state directory of a manifest's bot, or the one that is named.

    Raises:
        BadInput: Neither is named, the manifest has problems, or no bot ever ran there.
    """
    if state_dir is not None:
        state = StateDir(Path(state_dir))
    elif files:
        bundle = load(files, catalogue())
        tell(bundle)
        if bundle.problems:
            raise BadInput(f"{len(bundle.problems)} problem(s) in the manifest")
        meta = the_bot(bundle).metadata
        state = StateDir(default_path(meta.namespace, meta.name))
    else:
        raise BadInput("name the bot: -f FILE or --state-dir DIR")
    if not state.exists:
        raise BadInput(f"no bot ever ran in {state.path}: name its --state-dir")
    return state


def audit(state: StateDir, *, rpc: str | None, ledger: str | None, output: str) -> int:
    """
    Run the engine's audit and return its exit code.

    A bot on localnet that does not run now has its localnet woken for the audit, since the chain is what is asked.
    """
    command = [*ENGINE, "audit", "--state-dir", str(state.path), "--output", output]
    command += ["--ledger", ledger] if ledger else []
    if rpc is not None or state.remembered().get("cluster") != "localnet":
        return _call([*command, *(["--rpc", rpc] if rpc else [])])
    return asyncio.run(_with_localnet(state, command))


async def _with_localnet(state: StateDir, command: list[str]) -> int:
    if "localnet" in state.recorded():
        line = announced(state.localnet_out)
        if line is None:
            raise Failed("localnet is starting: try again in a moment")
        return await asyncio.to_thread(_call, [*command, "--rpc", localnet_chain(line, {}).nodes[-1].url])
    state.open()
    try:
        options = recall(state)
        began = localnet_command(options, state_dir=state.localnet, parent_pid=os.getpid(), port=None)
        child = Child.start("localnet", began, state=state, stdout=state.localnet_out)
        try:
            line = await wait_for_line(child, state.localnet_out)
            return await asyncio.to_thread(_call, [*command, "--rpc", localnet_chain(line, {}).nodes[-1].url])
        finally:
            await child.end(patience_s=LOCALNET_END_S)
            state.record("localnet", None)
    finally:
        state.close()


def _call(command: list[str]) -> int:
    """Run a command of the engine with this one's output, and return its exit code."""
    done = subprocess.run(command, env=child_environment(), check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    return done.returncode if done.returncode >= 0 else 1
