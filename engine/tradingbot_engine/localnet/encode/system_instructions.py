"""Instructions of the System and the Associated Token Account programs in jsonParsed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solders.pubkey import Pubkey


def _u64(data: bytes, at: int) -> int:
    if len(data) < at + 8:
        raise ValueError("instruction data too short")
    return int.from_bytes(data[at : at + 8], "little")


def _key(data: bytes, at: int) -> str:
    return str(Pubkey(data[at : at + 32]))


def parse_system(data: bytes, accounts: Sequence[str]) -> dict[str, Any]:
    """`{"type", "info"}` of a System instruction; raises ValueError or IndexError if it cannot be read."""
    kind = int.from_bytes(data[:4], "little")
    info: dict[str, Any]
    if kind == 0:
        info = {"source": accounts[0], "newAccount": accounts[1], "lamports": _u64(data, 4), "space": _u64(data, 12)}
        return {"type": "createAccount", "info": {**info, "owner": _key(data, 20)}}
    if kind == 1:
        return {"type": "assign", "info": {"account": accounts[0], "owner": _key(data, 4)}}
    if kind == 2:
        info = {"source": accounts[0], "destination": accounts[1], "lamports": _u64(data, 4)}
        return {"type": "transfer", "info": info}
    if kind == 3:
        seed, at = _seed(data, 36)
        info = {
            "source": accounts[0],
            "newAccount": accounts[1],
            "base": _key(data, 4),
            "seed": seed,
            "lamports": _u64(data, at),
            "space": _u64(data, at + 8),
            "owner": _key(data, at + 16),
        }
        return {"type": "createAccountWithSeed", "info": info}
    if kind == 4:
        info = {"nonceAccount": accounts[0], "recentBlockhashesSysvar": accounts[1], "nonceAuthority": accounts[2]}
        return {"type": "advanceNonce", "info": info}
    if kind == 5:
        info = {
            "nonceAccount": accounts[0],
            "destination": accounts[1],
            "recentBlockhashesSysvar": accounts[2],
            "rentSysvar": accounts[3],
            "nonceAuthority": accounts[4],
            "lamports": _u64(data, 4),
        }
        return {"type": "withdrawFromNonce", "info": info}
    if kind == 6:
        info = {
            "nonceAccount": accounts[0],
            "recentBlockhashesSysvar": accounts[1],
            "rentSysvar": accounts[2],
            "nonceAuthority": _key(data, 4),
        }
        return {"type": "initializeNonce", "info": info}
    if kind == 7:
        info = {"nonceAccount": accounts[0], "nonceAuthority": accounts[1], "newAuthorized": _key(data, 4)}
        return {"type": "authorizeNonce", "info": info}
    if kind == 8:
        return {"type": "allocate", "info": {"account": accounts[0], "space": _u64(data, 4)}}
    if kind == 11:
        seed, at = _seed(data, 12)
        info = {"source": accounts[0], "sourceBase": accounts[1], "destination": accounts[2], "lamports": _u64(data, 4)}
        info |= {"sourceSeed": seed, "sourceOwner": _key(data, at)}
        return {"type": "transferWithSeed", "info": info}
    raise ValueError(f"system instruction {kind} is not known")


def _seed(data: bytes, at: int) -> tuple[str, int]:
    length = _u64(data, at)
    return data[at + 8 : at + 8 + length].decode(), at + 8 + length


def parse_associated_token(data: bytes, accounts: Sequence[str]) -> dict[str, Any]:
    """`{"type", "info"}` of an Associated Token Account instruction."""
    kind = data[0] if data else 0
    if kind in (0, 1):
        names = ("source", "account", "wallet", "mint", "systemProgram", "tokenProgram")
        info = dict(zip(names, accounts, strict=False))
        if len(info) < len(names):
            raise ValueError("too few accounts")
        return {"type": "create" if kind == 0 else "createIdempotent", "info": info}
    if kind == 2:
        nested = ("nestedSource", "nestedMint", "destination", "nestedOwner", "ownerMint", "wallet", "tokenProgram")
        return {"type": "recoverNested", "info": dict(zip(nested, accounts, strict=False))}
    raise ValueError(f"associated token instruction {kind} is not known")
