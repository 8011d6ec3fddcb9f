"""A node that will not talk to us says nothing about a trade, so it must not end one: its refusal becomes *unknown*."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.rpc.errors import RpcError


class ChainUnreadable(TemporaryError):
    """No node answers us (a refused key, a method that none serves): nothing is known, so nothing may be concluded."""


@contextmanager
def unknown() -> Iterator[None]:
    """A node's refusal to talk to us says nothing about a trade: it must not end one."""
    try:
        yield
    except RpcError as error:
        if isinstance(error, TemporaryError):
            raise
        raise ChainUnreadable(str(error)) from error
