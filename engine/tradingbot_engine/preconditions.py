"""
What a start needs before it can go on: ledger, key, nodes and money; what is missing is told and waited for.

Only a fatal finding ends the waiting: a person has to put it right, and the engine to start anew.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tradingbot_engine.clock import Clock
from tradingbot_engine.errors import FatalError, LedgerUnavailable, PermanentError, TemporaryError, WalletEmpty
from tradingbot_engine.lifecycle import NO_ENDPOINT, Lifecycle

T = TypeVar("T")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 10.0
_LEDGER, _MONEY = "LedgerUnavailable", "WalletEmpty"
_REASONS = frozenset({_LEDGER, _MONEY, NO_ENDPOINT})


class Preconditions:
    """Tries the steps of a start until each succeeds, and remembers what the last one lacked."""

    def __init__(self, *, lifecycle: Lifecycle, clock: Clock) -> None:
        self._lifecycle, self._clock = lifecycle, clock
        self.able = False
        """Settings, ledger and key are fine. Nodes, money and what is still to be resolved are no matter of readiness: on a bad
        day of the nodes' every new pod would look broken, and no rollout would end."""

    async def met(self, step: Callable[[], Awaitable[T]]) -> T | None:
        """Try a step until it succeeds; None after a fatal finding, which is told and stays."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                result = await step()
            except FatalError as error:
                self._lifecycle.tell(error.reason, str(error), fatal=True)
                return None
            except LedgerUnavailable as error:
                self._waits_for(_LEDGER, str(error))
            except WalletEmpty as error:
                self._waits_for(_MONEY, str(error))
            except TemporaryError as error:
                self._waits_for(NO_ENDPOINT, str(error))
            except PermanentError as error:
                self._lifecycle.tell("BadConfiguration", str(error), fatal=True)
                return None
            else:
                self._waits_for(None)
                return result
            await self._clock.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def _waits_for(self, reason: str | None, message: str = "") -> None:
        """State what a start waits for now, and nothing that it waited for before; ledger and key come before all else."""
        self.able = reason != _LEDGER
        for other in _REASONS - {reason}:
            self._lifecycle.clear(other)
        if reason is not None:
            self._lifecycle.tell(reason, message)
