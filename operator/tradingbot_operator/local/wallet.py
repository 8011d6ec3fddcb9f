"""The wallet of a laptop's bot: made for localnet, taken from a Secret elsewhere; its key lies in a 0600 file."""

import json
from pathlib import Path

import based58
from solders.keypair import Keypair

from tradingbot_operator.errors import BadInput
from tradingbot_operator.local.state_dir import write_private

KEYPAIR_BYTES = 64


def localnet_wallet(path: Path) -> str:
    """
    Return the address of the wallet in a file, which is made at the first run.

    Raises:
        BadInput: The file is there but holds no key; it is never overwritten.
    """
    if not path.exists():
        write_private(path, new_wallet())
    return address_of(path.read_text(encoding="utf-8"), str(path))


def new_wallet() -> str:
    """Return the private key of a new wallet, as Solana CLI JSON."""
    return json.dumps(list(bytes(Keypair())))


def secret_wallet(text: str, *, source: str, address: str | None, path: Path) -> str:
    """
    Put a key from a Secret into a 0600 file for the engine, and return its address.

    Args:
        text: Solana CLI JSON (64 numbers) or base58.
        source: Where the key came from, for errors.
        address: What the manifest states, if it does.
        path: The file to write.

    Raises:
        BadInput: It is no key, or another wallet's.
    """
    found = address_of(text, source)
    if address is not None and found != address:
        raise BadInput(f"{source} holds the key of {found}, but spec.wallet.address is {address}: correct one of them")
    write_private(path, text)
    return found


def address_of(text: str, source: str) -> str:
    """Return the public key of a private one; errors tell the source and never the key."""
    fault = BadInput(f"{source} holds no private key: it must be Solana CLI JSON (64 numbers) or base58 of 64 bytes")
    try:
        raw = bytes(json.loads(text)) if text.lstrip().startswith("[") else based58.b58decode(text.strip().encode())
        if len(raw) != KEYPAIR_BYTES:
            raise fault
        return str(Keypair.from_bytes(raw).pubkey())
    except (ValueError, TypeError):
        raise fault from None
