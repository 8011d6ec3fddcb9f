"""Ids of requests for people: unlike those of the process before this one."""

from __future__ import annotations

import secrets

_incarnation = secrets.token_hex(3)


def request_name(number: int) -> str:
    """Return the id under which logs and errors tell of a request, from its JSON-RPC id: `r-9f31c2-17`; it never overflows."""
    return f"r-{_incarnation}-{number}"
