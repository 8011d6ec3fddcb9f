"""The audit of the chain, run as the engine's own command: this package shares no code with what it checks."""

import asyncio
import contextlib
import json
from typing import Any

from tradingbot_operator.errors import Failed
from tradingbot_operator.local.process import child_environment
from tradingbot_operator.local.state_dir import StateDir

AUDIT_S = 120.0
"""How long the audit at the end of a run may take; `tradingbot audit` has no limit."""


async def ask_audit(state: StateDir, *, rpc: str | None, engine: tuple[str, ...], limit_s: float) -> dict[str, Any]:
    """
    Run the audit over a state directory and return its JSON answer.

    Raises:
        Failed: It could not be done; the text says why.
    """
    command = [*engine, "audit", "--state-dir", str(state.path), "--output", "json"]
    command += ["--rpc", rpc] if rpc else []
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=child_environment(),
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), limit_s)
    except TimeoutError:
        raise Failed(f"the audit took longer than {limit_s:g} s; `tradingbot audit` takes its time") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    with contextlib.suppress(ValueError):
        answer = json.loads(out)
        if isinstance(answer, dict):
            return answer
    why = err.decode(errors="replace").strip().removeprefix("audit: ").splitlines()[-3:]
    raise Failed("the audit could not be done: " + ("\n".join(why) or f"exit code {process.returncode}"))
