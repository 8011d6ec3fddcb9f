"""Ids of requests: unique in a process, and unlike those of the process before it."""

from __future__ import annotations

import itertools
import secrets

_incarnation = secrets.token_hex(3)
_numbers = itertools.count(1)


def new_request_id() -> str:
    """Return an id that no other request of this process has, for example `r-9f31c2-17`; it never overflows."""
    return f"r-{_incarnation}-{next(_numbers)}"
