"""
Who signs: a port, and the signer that holds a key file in this process.

A signer is given the whole message with what it is for, never a hash; a signer in a process of its own can so check what
it signs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from solders.keypair import Keypair
from solders.signature import Signature

from tradingbot_engine.domain.units import Address, Epoch, IntentId
from tradingbot_engine.key_file import KeyUnusable, read_keypair


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
    Return the signer of a key file.

    Raises:
        KeyUnusable: See there.
    """
    keypair = read_keypair(path)
    if str(keypair.pubkey()) != address:
        raise KeyUnusable(f"key file {path}: is the key of {keypair.pubkey()}, the wallet is {address}")
    return KeyFileSigner(keypair)
