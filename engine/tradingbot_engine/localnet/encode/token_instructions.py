"""Instructions of the SPL Token program in jsonParsed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solders.pubkey import Pubkey

from tradingbot_engine.localnet.encode.amounts import ui_amount

_AUTHORITIES = ("mintTokens", "freezeAccount", "accountOwner", "closeAccount")
Info = dict[str, Any]


def _u64(data: bytes, at: int = 1) -> int:
    if len(data) < at + 8:
        raise ValueError("instruction data too short")
    return int.from_bytes(data[at : at + 8], "little")


def _key(data: bytes, at: int) -> str:
    return str(Pubkey(data[at : at + 32]))


def _signed(info: Info, accounts: Sequence[str], at: int, owner: str, multisig: str) -> Info:
    """Add the owner at `at`, or the multisig and its signers when more accounts follow."""
    if len(accounts) > at + 1:
        return {**info, multisig: accounts[at], "signers": list(accounts[at + 1 :])}
    return {**info, owner: accounts[at]}


def parse_token(data: bytes, accounts: Sequence[str]) -> dict[str, Any]:
    """`{"type", "info"}` of an SPL Token instruction; raises ValueError or IndexError if it cannot be read."""
    a = accounts
    match data[0]:
        case 0 | 20 as kind:
            info: Info = {"mint": a[0], "decimals": data[1], "mintAuthority": _key(data, 2)}
            if kind == 0:
                info["rentSysvar"] = a[1]
            if data[34]:
                info["freezeAuthority"] = _key(data, 35)
            return {"type": "initializeMint" if kind == 0 else "initializeMint2", "info": info}
        case 1:
            return _typed("initializeAccount", {"account": a[0], "mint": a[1], "owner": a[2], "rentSysvar": a[3]})
        case 2 | 19 as kind:
            rest = a[2:] if kind == 2 else a[1:]
            info = {"multisig": a[0], "signers": list(rest), "m": data[1]}
            if kind == 2:
                info["rentSysvar"] = a[1]
            return _typed("initializeMultisig" if kind == 2 else "initializeMultisig2", info)
        case 3:
            info = {"source": a[0], "destination": a[1], "amount": str(_u64(data))}
            return _typed("transfer", _signed(info, a, 2, "authority", "multisigAuthority"))
        case 4:
            info = {"source": a[0], "delegate": a[1], "amount": str(_u64(data))}
            return _typed("approve", _signed(info, a, 2, "owner", "multisigOwner"))
        case 5:
            return _typed("revoke", _signed({"source": a[0]}, a, 1, "owner", "multisigOwner"))
        case 6:
            authority = _AUTHORITIES[data[1]]
            owned = "mint" if data[1] < 2 else "account"
            info = {owned: a[0], "authorityType": authority, "newAuthority": _key(data, 3) if data[2] else None}
            return _typed("setAuthority", _signed(info, a, 1, "authority", "multisigAuthority"))
        case 7:
            info = {"mint": a[0], "account": a[1], "amount": str(_u64(data))}
            return _typed("mintTo", _signed(info, a, 2, "mintAuthority", "multisigMintAuthority"))
        case 8:
            info = {"account": a[0], "mint": a[1], "amount": str(_u64(data))}
            return _typed("burn", _signed(info, a, 2, "authority", "multisigAuthority"))
        case 9:
            info = {"account": a[0], "destination": a[1]}
            return _typed("closeAccount", _signed(info, a, 2, "owner", "multisigOwner"))
        case 10 | 11 as kind:
            info = {"account": a[0], "mint": a[1]}
            name = "freezeAccount" if kind == 10 else "thawAccount"
            return _typed(name, _signed(info, a, 2, "freezeAuthority", "multisigFreezeAuthority"))
        case 12:
            info = {"source": a[0], "mint": a[1], "destination": a[2], "tokenAmount": ui_amount(_u64(data), data[9])}
            return _typed("transferChecked", _signed(info, a, 3, "authority", "multisigAuthority"))
        case 13:
            info = {"source": a[0], "mint": a[1], "delegate": a[2], "tokenAmount": ui_amount(_u64(data), data[9])}
            return _typed("approveChecked", _signed(info, a, 3, "owner", "multisigOwner"))
        case 14:
            info = {"mint": a[0], "account": a[1], "tokenAmount": ui_amount(_u64(data), data[9])}
            return _typed("mintToChecked", _signed(info, a, 2, "mintAuthority", "multisigMintAuthority"))
        case 15:
            info = {"account": a[0], "mint": a[1], "tokenAmount": ui_amount(_u64(data), data[9])}
            return _typed("burnChecked", _signed(info, a, 2, "authority", "multisigAuthority"))
        case 16:
            info = {"account": a[0], "mint": a[1], "owner": _key(data, 1), "rentSysvar": a[2]}
            return _typed("initializeAccount2", info)
        case 17:
            return _typed("syncNative", {"account": a[0]})
        case 18:
            return _typed("initializeAccount3", {"account": a[0], "mint": a[1], "owner": _key(data, 1)})
        case 21:
            return _typed("getAccountDataSize", {"mint": a[0]})
        case 22:
            return _typed("initializeImmutableOwner", {"account": a[0]})
        case 23:
            return _typed("amountToUiAmount", {"mint": a[0], "amount": str(_u64(data))})
        case 24:
            return _typed("uiAmountToAmount", {"mint": a[0], "uiAmount": data[1:].decode()})
        case kind:
            raise ValueError(f"token instruction {kind} is not known")


def _typed(name: str, info: Info) -> dict[str, Any]:
    return {"type": name, "info": info}
