"""
Errors, named for what the caller does next.

Translated once, at the border where something foreign is called; everything inside the engine raises and catches these.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tradingbot_engine.tracing import trace_text

_TRACED = re.compile(r"\[(?:trade|request) [^\[\]]+\]$")
"""A text that ends with ids already, those of the error that it tells of."""
_cleaners: list[Callable[[str], str]] = []


def clean_texts_with(clean: Callable[[str], str]) -> None:
    """Let every error's text pass through `clean`; injected, since what knows the secrets stands above this layer."""
    _cleaners[:] = [clean]


class EngineError(Exception):
    """
    Base of every error that the engine raises on purpose.

    Its text is safe to show (no secret, no URL with a key), and ends with the ids of the trade and the request that it was
    raised in.
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.trace = trace_text()

    def __str__(self) -> str:
        text = super().__str__()
        for clean in _cleaners:
            text = clean(text)
        return text if not self.trace or _TRACED.search(text) else f"{text} {self.trace}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class TemporaryError(EngineError):
    """Try again later, or elsewhere; nothing is known to be wrong with the request."""


class PermanentError(EngineError):
    """Trying the same again cannot help: the request or the configuration is wrong."""


class FatalError(EngineError):
    """Stop trading: going on could lose or double a trade."""

    reason = "Fatal"
    """CamelCase reason for conditions and status."""


class Fenced(EngineError):
    """Another holder owns the shard now: stop the task, write nothing more under the old epoch."""


class WalletEmpty(TemporaryError):
    """The wallet holds nothing to trade with: fund it, and the bot goes on by itself."""


class LedgerUnavailable(TemporaryError):
    """The ledger cannot be read or written now (locked, full disk, server away): nothing may be sent that is not journalled."""


class LedgerCorrupt(FatalError):
    """The ledger contradicts itself or cannot be read as a ledger: restore a backup, then audit."""

    reason = "LedgerCorrupt"


class LedgerBehindChain(FatalError):
    """The chain shows a marked transaction that the ledger does not know: an old copy was put back."""

    reason = "LedgerBehindChain"


class LedgerInUse(FatalError):
    """The ledger belongs to another cluster, wallet or live process; adopt it on purpose."""

    reason = "LedgerInUse"


class LedgerOfAnother(LedgerInUse):
    """The ledger belongs to another bot: nothing of this one is in it, nor ever was."""


class LedgerNotDurable(FatalError):
    """The ledger may forget a commit (asynchronous standby, relaxed fsync): refused for Live."""

    reason = "LedgerNotDurable"


class WrongGenesis(FatalError):
    """The RPC node serves another chain than the one this bot was configured for or has traded on."""

    reason = "WrongGenesis"
