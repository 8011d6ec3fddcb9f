"""Instructions in jsonParsed form, for the programs whose instructions validators know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from tradingbot_engine.localnet.encode.accounts import base58
from tradingbot_engine.localnet.encode.system_instructions import parse_associated_token, parse_system
from tradingbot_engine.localnet.encode.token_instructions import parse_token
from tradingbot_engine.localnet.tokens import TOKEN, TOKEN_2022

MEMO_V1 = Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo")
MEMO_V3 = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
MEMOS = (MEMO_V1, MEMO_V3)
ASSOCIATED_TOKEN = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")

Parser = Callable[[bytes, Sequence[str]], Any]


def _memo(data: bytes, accounts: Sequence[str]) -> str:
    return data.decode()


PARSERS: dict[Pubkey, tuple[str, Parser]] = {
    SYSTEM: ("system", parse_system),
    TOKEN: ("spl-token", parse_token),
    TOKEN_2022: ("spl-token", parse_token),
    ASSOCIATED_TOKEN: ("spl-associated-token-account", parse_associated_token),
    MEMO_V1: ("spl-memo", _memo),
    MEMO_V3: ("spl-memo", _memo),
}


def parse_instruction(keys: Sequence[Pubkey], instruction: Any, stack_height: int | None) -> dict[str, Any]:
    """
    A parsed instruction, or the partly decoded form where the program or its data is not known.

    Args:
        keys: All keys of the transaction.
        instruction: A compiled instruction.
        stack_height: 1 for an outer instruction, more for one that a program called.
    """
    program_id = keys[instruction.program_id_index]
    data = bytes(instruction.data)
    accounts = [str(keys[i]) for i in bytes(instruction.accounts)]
    known = PARSERS.get(program_id)
    if known is not None:
        program, parser = known
        try:
            parsed = parser(data, accounts)
        except (IndexError, ValueError, KeyError):
            parsed = None  # cut short or of a newer version: validators too fall back to the raw form
        if parsed is not None:
            return {"program": program, "programId": str(program_id), "parsed": parsed, "stackHeight": stack_height}
    return {"programId": str(program_id), "accounts": accounts, "data": base58(data), "stackHeight": stack_height}


def memo_of(keys: Sequence[Pubkey], instructions: Sequence[Any]) -> str | None:
    """All memos of a transaction as `getSignaturesForAddress` writes them: "[length] text", joined by "; "."""
    memos = []
    for instruction in instructions:
        if keys[instruction.program_id_index] in MEMOS:
            data = bytes(instruction.data)
            try:
                memos.append(f"[{len(data)}] {data.decode()}")
            except UnicodeDecodeError:
                memos.append("(unparseable)")
    return "; ".join(memos) if memos else None
