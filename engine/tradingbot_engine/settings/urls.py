"""What can be wrong with an address: told without showing it, since providers put keys into addresses."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

MAX_URL_CHARS = 2048
_PLACEHOLDER = re.compile(
    r"your[-_ ]|<[^>]*>|\$\{|\{\{|change[-_]?me|insert[-_]|placeholder|x{8,}|\bapi[-_]?key[-_]here\b", re.I
)
_KEY_NAMES = frozenset({"api-key", "apikey", "api_key", "key", "token", "access_token"})
_NEEDS_QUERY_KEY = ("helius-rpc.com",)
_NEEDS_PATH_KEY = ("chainstack.com", "quiknode.pro", "g.alchemy.com")
"""Providers that answer nothing without a key in the query, and in the path."""


def url_problem(text: str, *, schemes: tuple[str, ...]) -> str | None:
    """
    Return what is wrong with an address, or None.

    Args:
        text: The address; never part of the answer.
        schemes: Those that are right, for example ("http", "https").
    """
    offer = " or ".join(f"{scheme}://" for scheme in schemes)
    if len(text) > MAX_URL_CHARS:
        return f"must have at most {MAX_URL_CHARS} characters"
    if any(c.isspace() or not c.isprintable() for c in text):
        return "must be an address without white space or control characters"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "must be an address: its host or port cannot be read"
    if parts.scheme.lower() not in schemes or not text.lower().startswith(f"{parts.scheme.lower()}://"):
        return f"must start with {offer}"
    if not parts.hostname:
        return f"must name a host after {offer}"
    if port == 0:
        return "must name a port from 1 to 65535, or none"
    return _key_problem(text, parts.hostname, parts.path, parts.query)


def _key_problem(text: str, host: str, path: str, query: str) -> str | None:
    if _PLACEHOLDER.search(text):
        return "holds a placeholder where the provider's key belongs: put the key in"
    named = [(name.lower(), value) for name, value in parse_qsl(query, keep_blank_values=True)]
    if any(name in _KEY_NAMES and not value.strip() for name, value in named):
        return "names an API key but holds none: put the key in"
    if host.endswith(_NEEDS_QUERY_KEY) and not any(name in _KEY_NAMES for name, _ in named):
        return "this provider answers only with ?api-key=… in the address: put the key in"
    if host.endswith(_NEEDS_PATH_KEY) and not path.strip("/"):
        return "this provider answers only with a key in the path of the address: put the key in"
    return None
