"""The file with a wallet's key: Solana CLI JSON (64 numbers) or base58 of the 64 bytes."""

from __future__ import annotations

import json
from pathlib import Path

from solders.keypair import Keypair

from tradingbot_engine.errors import PermanentError

MAX_KEY_FILE_BYTES = 4096


class KeyUnusable(PermanentError):
    """The key file cannot be read, holds no key, or another wallet's; the text never shows its content."""


def read_keypair(path: Path) -> Keypair:
    """
    Return the key in a file.

    Raises:
        KeyUnusable: See there.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise KeyUnusable(f"key file {path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_KEY_FILE_BYTES:
        raise KeyUnusable(f"key file {path}: is no key file (too long)")
    keypair = _parse(raw)
    if keypair is None:
        raise KeyUnusable(f"key file {path}: neither 64 numbers as JSON nor base58 of a key that is whole")
    return keypair


def _parse(raw: bytes) -> Keypair | None:
    # Errors of the parsers may quote what they read: none is passed on.
    try:
        text = raw.decode("ascii").strip()
        if text.startswith("["):
            numbers = json.loads(text)
            return Keypair.from_bytes(bytes(numbers)) if len(numbers) == 64 else None
        return Keypair.from_base58_string(text)
    except BaseException as error:  # solders panics (no Exception) on some malformed keys
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return None
