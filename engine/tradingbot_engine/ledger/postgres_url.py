"""
A PostgreSQL URL, looked at before the driver does: no part of its password may turn up in an error.

A password that holds `/`, `?`, `#` or `@` as it is shifts the borders of the URL's parts: a piece of it is then taken for a port, a
database or a parameter, and drivers and servers repeat those in what they say.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from tradingbot_engine.errors import PermanentError

MALFORMED = (
    "the ledger URL is malformed: it must be postgresql://user:password@host:port/database, with every special "
    "character in user and password percent-encoded (for example %2F for /)"
)
_PARAMETERS = frozenset(
    {
        *("host", "port", "dbname", "database", "user", "password", "passfile", "service", "target_session_attrs"),
        *("sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword", "sslnegotiation"),
        *("ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname", "gsslib", "options"),
    }
)


def check_url(url: str) -> None:
    """
    Refuse what could be read in more than one way.

    Raises:
        PermanentError: The URL is malformed; neither the text nor a context of the error holds any of it.
    """
    if not _is_plain(url):
        raise PermanentError(MALFORMED)


def _is_plain(url: str) -> bool:
    try:
        parts = urlsplit(url)
        names = {name for name, _ in parse_qsl(parts.query, strict_parsing=True)} if parts.query else set()
    except ValueError:
        return False
    if parts.scheme not in ("postgresql", "postgres") or "#" in url or not url.isprintable() or " " in url:
        return False
    if "@" in parts.path + parts.query or parts.netloc.count("@") > 1 or not names <= _PARAMETERS:
        return False
    hosts = parts.netloc.rpartition("@")[2]
    return all(_is_host(host) for host in hosts.split(",")) if hosts else True


def _is_host(text: str) -> bool:
    """Whether the text is `name`, `name:port` or `[address]:port`, the port being a number that exists."""
    name, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        name = text
    if ":" in name and not (name.startswith("[") and name.endswith("]")):
        return False
    return not colon or (port.isascii() and port.isdigit() and 0 < int(port) < 65_536)
