"""
Secrets out of any text that is about to be shown: by value, where they are known, and by shape, where they are not.

Everything that prints asks `scrub`: logs, errors at the command line, the status, tracebacks. Known values are kept for the
whole process, on purpose: a secret is one wherever it turns up, and every way out must know it. The wallet's key is never
among them; key material is recognised by arithmetic instead (its second half is the public key of its first).
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import based58
from solders.keypair import Keypair

from tradingbot_engine.errors import clean_texts_with

REDACTED = "<redacted>"
MIN_VALUE_CHARS = 6
"""Shorter known values are not searched for: they would be found in innocent words; their shapes still are."""
MIN_SEGMENT_CHARS = 12
"""A piece of an address's path that is at least so long counts as a key of its own."""
MAX_KNOWN = 4096
MAX_DEPTH = 8

_URL = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]{1,30})://([^\s\"'<>\\{}|^`]+)")
_HOST = re.compile(r"[^/?#]*")
_PAIR = re.compile(
    r"""(?ix)
    ( (?: (?:api|access|auth|private|secret|signing)[-_ ]?(?:key|token)s? | authorization | password
      | passwd | passphrase | pwd | secret | mnemonic | cookie | credentials? | bearer[-_]token | bot[-_]?token )
      ["']? \s* (?: [:=] | %3d ) \s* (?: b?["'] )? )
    ( (?: bearer | basic ) \s+ )?
    ( [^\s"',;&)}\]<>]+ )
    """
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})")
_BOT = re.compile(r"\b\d{6,12}:[A-Za-z0-9_-]{30,}")
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)
_NUMBERS = re.compile(r"[\[(]\s*(?:\d{1,3}\s*,\s*){31,}(?:\d{1,3})?\s*(?:[\])]|\.\.\.|…|\Z)")
_WORD = re.compile(r"[A-Za-z0-9+/]{43,}={0,2}")
_ESCAPED = re.compile(r"b(['\"])(?:(?!\1).)*\\x(?:(?!\1).)*\1")
_SECRET_NAME = re.compile(
    r"(?i)secret|api_?-?key|password|passwd|authorization|private|mnemonic|credential|cookie|passphrase|^token$|"
    r"(?:auth|access|bearer|bot|admin|api)[_-]?token|(?:^|_)urls?$|^headers$|^key_?(?:bytes|pair|material)$|keypair"
)

_known: dict[str, None] = {}
_pattern: re.Pattern[str] | None = None
_wallets: set[str] = set()


def remember(*secrets: str) -> None:
    """Take secret texts (addresses with keys in them too): from now on they and their parts are found in any text."""
    global _pattern
    for secret in secrets:
        for part in _parts(secret):
            for form in {part, quote(part, safe=""), unquote(part)}:
                if len(form) >= MIN_VALUE_CHARS and len(_known) < MAX_KNOWN:
                    _known[form] = None
    longest_first = sorted(_known, key=len, reverse=True)
    _pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def remember_wallet(address: str) -> None:
    """Take a wallet's public address: 32 bytes that are its private key are then recognised, in any text."""
    _wallets.add(address)
    _is_key.cache_clear()


def forget_all() -> None:
    """Forget every known secret; for tests."""
    global _pattern
    _known.clear()
    _wallets.clear()
    _is_key.cache_clear()
    _pattern = None


def scrub(text: str) -> str:
    """
    Return a text without secrets.

    Known values, key material, tokens, credentials after a telling name, and all of an address beyond its host are replaced
    by `<redacted>` or `/…`. Signatures, public keys and ids stay. Cost: microseconds for a line, nothing beyond its length.
    """
    if _pattern is not None:
        text = _pattern.sub(REDACTED, text)
    if "-----BEGIN" in text:
        text = _PEM.sub(REDACTED, text)
    if "://" in text:
        text = _URL.sub(_host_only, text)
    if ":" in text or "=" in text or "%3" in text:
        text = _PAIR.sub(lambda m: f"{m[1]}{m[2] or ''}{REDACTED}", text)
        text = _BOT.sub(REDACTED, text)
    text = _BEARER.sub(lambda m: f"{m[1]} {REDACTED}" if _looks_random(m[2]) else m[0], text)
    text = _JWT.sub(REDACTED, text)
    if "," in text:
        text = _NUMBERS.sub(REDACTED, text)
    if "\\x" in text:
        text = _ESCAPED.sub(REDACTED, text)
    return _WORD.sub(lambda m: REDACTED if _is_key(m[0]) else m[0], text)


def scrub_data(value: Any, *, name: str = "", depth: int = 0) -> Any:
    """
    Return JSON-like data without secrets: by the name a value stands under, and by its text.

    Args:
        value: Anything; what is neither a number, a text nor a container of them becomes its scrubbed text.
        name: The key that it stands under.
        depth: How deep below the first call; too deep data is cut off.
    """
    if value is None or isinstance(value, bool | int | float):
        return REDACTED if value is not None and not isinstance(value, bool) and is_secret_name(name) else value
    if name and is_secret_name(name):
        return REDACTED
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        return {scrub(str(key)): scrub_data(inner, name=str(key), depth=depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = list(value)
        if len(items) >= 32 and all(type(item) is int and 0 <= item <= 255 for item in items):
            return REDACTED
        return [scrub_data(inner, depth=depth + 1) for inner in items]
    return scrub(safe_text(value))


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether what stands under this name is a secret whatever it looks like."""
    return _SECRET_NAME.search(name) is not None


def safe_text(value: object) -> str:
    """Return str(value), whatever its own methods do."""
    try:
        return str(value)
    except Exception as error:
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _parts(secret: str) -> Iterator[str]:
    """Yield a secret and, of an address, what makes it one: user, password, query values, long pieces of the path."""
    secret = secret.strip()
    if "://" not in secret:
        yield secret
        return
    try:
        parts = urlsplit(secret)
    except ValueError:
        yield secret
        return
    if parts.password or parts.username or parts.query or parts.path.strip("/"):
        yield secret
    if parts.password:
        yield parts.password
    elif parts.username and not parts.scheme.startswith("postgres"):  # a database's user is a name: "ledger" is a word
        yield parts.username
    yield from (value for _, value in parse_qsl(parts.query))
    yield from (piece for piece in parts.path.split("/") if len(piece) >= MIN_SEGMENT_CHARS)


def _host_only(match: re.Match[str]) -> str:
    scheme, rest = match[1], match[2]
    authority = _HOST.match(rest)
    place = authority[0] if authority else ""
    beyond = rest[len(place) :]
    user, at, host = place.rpartition("@")
    del user
    tail = "/…" if beyond.strip("/.,;:)]") else beyond
    return f"{scheme}://{REDACTED + '@' if at else ''}{host}{tail}"


def _looks_random(text: str) -> bool:
    return any(c.isdigit() for c in text) or not text.islower()


@lru_cache(maxsize=8192)
def _is_key(word: str) -> bool:
    """Whether a word is private key material: 64 bytes whose second half belongs to the first, or a known wallet's 32."""
    return any(_is_key_bytes(raw) for raw in _decodings(word))


def _decodings(word: str) -> Iterator[bytes]:
    """Yield what a word may stand for: base58, hexadecimal or base64."""
    if 43 <= len(word) <= 90 and not word.endswith("="):
        with contextlib.suppress(Exception):
            yield based58.b58decode(word.encode())
    if len(word) in (64, 128):
        with contextlib.suppress(ValueError):
            yield bytes.fromhex(word)
    if len(word) in (43, 44, 86, 88):
        with contextlib.suppress(ValueError):
            yield base64.b64decode(word + "=" * (-len(word) % 4), validate=True)


def _is_key_bytes(raw: bytes) -> bool:
    try:
        if len(raw) == 64:
            return bytes(Keypair.from_seed(raw[:32]).pubkey()) == raw[32:]
        return len(raw) == 32 and bool(_wallets) and str(Keypair.from_seed(raw).pubkey()) in _wallets
    except Exception:
        return False


clean_texts_with(scrub)
