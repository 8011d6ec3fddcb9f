"""
kopf's tasks, run beside ours in one event loop, and ended at once.

`kopf.operator` ends by waiting five seconds for every task of the loop that began after its own, ours included, and cancels what
is left then: a pass in the middle of its work. So its tasks are started here one level below, where each side ends its own.
"""

import asyncio
import signal
from collections.abc import Callable, Collection

import kopf

from tradingbot_operator.errors import Failed


async def run_kopf(
    registry: kopf.OperatorRegistry,
    *,
    settings: kopf.OperatorSettings,
    namespaces: Collection[str],
    told_to_end: Callable[[], None],
) -> None:
    """
    Watch until cancelled.

    Args:
        registry: The handlers.
        settings: kopf's settings.
        namespaces: Those that are watched; empty: all.
        told_to_end: Called on SIGTERM and SIGINT, which kopf takes for itself when it starts.

    Raises:
        Failed: A watch cannot be kept.
    """
    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=settings,
        standalone=True,
        clusterwide=not namespaces,
        namespaces=[*namespaces],
    )
    take_signals(told_to_end)
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    first = ended.pop()
    error = None if first.cancelled() else first.exception()
    raise Failed(f"{first.get_name()} ended: {error or 'nobody told it to'}") from error


def take_signals(told_to_end: Callable[[], None]) -> None:
    """Have SIGTERM and SIGINT call this, and nothing else."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end)
