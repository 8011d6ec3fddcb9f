"""Account data in jsonParsed form, for the programs whose layout validators know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from tradingbot_engine.localnet.encode.amounts import ui_amount
from tradingbot_engine.localnet.tokens import TOKEN, TOKEN_PROGRAMS, mint_account, token_account

LOOKUP_TABLES = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
SYSVARS = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")
UPGRADEABLE_LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")


def parse_account(account: Account, decimals: Callable[[Pubkey], int]) -> dict[str, Any] | None:
    """`{"program", "parsed": {"type", "info"}, "space"}`, or None for data of unknown shape."""
    if account.owner in TOKEN_PROGRAMS:
        program, parsed = "spl-token" if account.owner == TOKEN else "spl-token-2022", _token(account, decimals)
    elif account.owner == SYSTEM and len(account.data) == 80:
        program, parsed = "nonce", _nonce(bytes(account.data))
    elif account.owner == LOOKUP_TABLES:
        program, parsed = "address-lookup-table", _lookup_table(bytes(account.data))
    elif account.owner == UPGRADEABLE_LOADER:
        program, parsed = "bpf-upgradeable-loader", _upgradeable(bytes(account.data))
    elif account.owner == SYSVARS:
        program, parsed = "sysvar", _sysvar(bytes(account.data))
    else:
        return None
    return {"program": program, "parsed": parsed, "space": len(account.data)} if parsed is not None else None


def _text(key: Pubkey | None) -> str | None:
    return str(key) if key is not None else None


def _token(account: Account, decimals: Callable[[Pubkey], int]) -> dict[str, Any] | None:
    token = token_account(account)
    if token is not None:
        places = decimals(token.mint)
        info: dict[str, Any] = {
            "mint": str(token.mint),
            "owner": str(token.owner),
            "tokenAmount": ui_amount(token.amount, places),
            "state": token.state,
            "isNative": token.rent_exempt_reserve is not None,
        }
        if token.rent_exempt_reserve is not None:
            info["rentExemptReserve"] = ui_amount(token.rent_exempt_reserve, places)
        if token.delegate is not None:
            info["delegate"] = str(token.delegate)
            info["delegatedAmount"] = ui_amount(token.delegated_amount, places)
        if token.close_authority is not None:
            info["closeAuthority"] = str(token.close_authority)
        return {"type": "account", "info": info}
    mint = mint_account(account)
    if mint is not None:
        return {
            "type": "mint",
            "info": {
                "mintAuthority": _text(mint.mint_authority),
                "supply": str(mint.supply),
                "decimals": mint.decimals,
                "isInitialized": mint.initialized,
                "freezeAuthority": _text(mint.freeze_authority),
            },
        }
    return None


def _nonce(data: bytes) -> dict[str, Any] | None:
    if int.from_bytes(data[4:8], "little") != 1:
        return None
    return {
        "type": "initialized",
        "info": {
            "authority": str(Pubkey(data[8:40])),
            "blockhash": str(Pubkey(data[40:72])),
            "feeCalculator": {"lamportsPerSignature": str(int.from_bytes(data[72:80], "little"))},
        },
    }


def _lookup_table(data: bytes) -> dict[str, Any] | None:
    if len(data) < 56 or int.from_bytes(data[:4], "little") != 1:
        return None
    deactivation = int.from_bytes(data[4:12], "little")
    info: dict[str, Any] = {
        "deactivationSlot": str(deactivation),
        "lastExtendedSlot": str(int.from_bytes(data[12:20], "little")),
        "lastExtendedSlotStartIndex": data[20],
        "addresses": [str(Pubkey(data[at : at + 32])) for at in range(56, len(data) - 31, 32)],
    }
    if data[21]:
        info["authority"] = str(Pubkey(data[22:54]))
    return {"type": "lookupTable", "info": info}


def _upgradeable(data: bytes) -> dict[str, Any] | None:
    if len(data) == 36 and int.from_bytes(data[:4], "little") == 2:
        return {"type": "program", "info": {"programData": str(Pubkey(data[4:36]))}}
    return None


def _sysvar(data: bytes) -> dict[str, Any] | None:
    if len(data) == 40:  # Clock; the other sysvars are served as bytes
        slot, start, epoch, leader_epoch, now = (int.from_bytes(data[i : i + 8], "little") for i in range(0, 40, 8))
        info = {
            "slot": slot,
            "epochStartTimestamp": start,
            "epoch": epoch,
            "leaderScheduleEpoch": leader_epoch,
            "unixTimestamp": now,
        }
        return {"type": "clock", "info": info}
    return None
