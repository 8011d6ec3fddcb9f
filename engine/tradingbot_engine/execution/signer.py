"""
Who signs: a port, and the signer that holds a key file in this process.

A signer is given the whole message with what it is for, never a hash; a signer in a process of its own can so check what
it signs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

from solders.keypair import Keypair
from solders.signature import Signature

from tradingbot_engine.domain.units import Address, Epoch, IntentId
from tradingbot_engine.errors import PermanentError

MAX_KEY_FILE_BYTES = 4096


class KeyUnusable(PermanentError):
    """The key file cannot be read, holds no key, or another wallet's; the text never shows its content."""


class Signer(Protocol):
    """Signs for one wallet."""

    @property
    def address(self) -> Address:
        """The wallet's public key."""

    async def sign(self, message: bytes, *, intent_id: IntentId, attempt: int, epoch: Epoch) -> Signature:
        """Return the signature of the message, or raise PermanentError if policy forbids it."""


class KeyFileSigner:
    """Holds the key in memory."""

    __slots__ = ("_address", "_keypair")

    def __init__(self, keypair: Keypair) -> None:
        self._keypair = keypair
        self._address = str(keypair.pubkey())

    def __repr__(self) -> str:
        return f"KeyFileSigner({self._address})"

    @property
    def address(self) -> Address:
        return self._address

    async def sign(self, message: bytes, *, intent_id: IntentId, attempt: int, epoch: Epoch) -> Signature:
        return self._keypair.sign_message(message)


def load_signer(path: Path, *, address: Address) -> KeyFileSigner:
    """
    Return the signer of a key file: Solana CLI JSON (64 numbers) or base58 of the 64 bytes.

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
    if str(keypair.pubkey()) != address:
        raise KeyUnusable(f"key file {path}: is the key of {keypair.pubkey()}, the wallet is {address}")
    return KeyFileSigner(keypair)


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
