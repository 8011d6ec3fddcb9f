"""
What one transaction says, read from its bytes and its metadata; pure.

Written apart from the executor on purpose: the executor computes fills from balances, here the swap is recomputed from the
inner instructions, so that a mistake in one does not hide in the other.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import based58
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.units import SOL_MINT, Address, IntentId, Lamports, Mint, Signature, Slot

SYSTEM = "11111111111111111111111111111111"
TOKEN_PROGRAM = str(Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"))
TOKEN_2022_PROGRAM = str(Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb"))
TOKEN_PROGRAMS = (TOKEN_PROGRAM, TOKEN_2022_PROGRAM)
ASSOCIATED_TOKEN = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
MEMOS = frozenset({"Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwjDxFMNo", "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"})
"""The memo program, first and present version."""

LAMPORTS_PER_SIGNATURE: Lamports = 5000
_MARK = re.compile(r"(?<![0-9A-Za-z])tb1:([0-9a-f]{32})(?![0-9A-Za-z])")
_GUARD_SEED = re.compile(r"[0-9a-f]{32}")
_CREATE_WITH_SEED, _TRANSFER_WITH_SEED = 3, 11
_TRANSFER, _TRANSFER_CHECKED, _TRANSFER_FEE = 3, 12, (26, 1)
_INITIALIZE, _INITIALIZE_2, _INITIALIZE_3 = 1, 16, 18


class Unreadable(ValueError):
    """The node's answer is not a transaction as documented; the text says where."""


@dataclass(frozen=True, slots=True)
class Landed:
    """
    One finalized transaction that mentions the wallet.

    `lamports_before` and `lamports_after` are the wallet's; `swapped` is what inner instructions moved into (positive) or
    out of token accounts of the wallet, by mint, wrapped SOL under SOL's; `balances` is the change of the wallet's token
    accounts by mint, for mints whose transfers take a fee that the instruction does not tell.
    """

    signature: Signature
    slot: Slot
    failed: bool
    signed: bool
    """Whether the wallet is among the signers; others may mention it, or copy a mark."""
    marks: tuple[IntentId, ...]
    reclaims: tuple[IntentId, ...]
    """Intents whose guard accounts are emptied into the wallet: rent that comes back."""
    fee: Lamports
    signatures: int
    lamports_before: Lamports
    lamports_after: Lamports
    swapped: Mapping[Mint, int]
    balances: Mapping[Mint, int]
    fee_mints: frozenset[Mint] = frozenset()
    """Mints of Token-2022, which may take a fee of each transfer."""

    @property
    def lamports(self) -> Lamports:
        """What the wallet's lamports changed by, fee included."""
        return self.lamports_after - self.lamports_before


@dataclass(frozen=True, slots=True)
class _Instruction:
    program: Address
    accounts: tuple[Address, ...]
    data: bytes


def read_transaction(answer: Any, *, signature: Signature, wallet: Address) -> Landed:
    """
    Read the result of `getTransaction` with encoding base64.

    Raises:
        Unreadable: It is another transaction, or not as documented.
    """
    try:
        return _read(answer, signature, wallet)
    except (KeyError, IndexError, TypeError, AttributeError, struct.error, binascii.Error, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{signature}: {type(error).__name__}") from error


def _read(answer: Any, signature: Signature, wallet: Address) -> Landed:
    raw, encoding = answer["transaction"]
    if encoding != "base64":
        raise Unreadable(f"{signature}: encoding {encoding}")
    transaction = VersionedTransaction.from_bytes(base64.b64decode(raw, validate=True))
    if str(transaction.signatures[0]) != signature:
        raise Unreadable(f"asked for {signature}, got another transaction")
    message, meta = transaction.message, answer["meta"]
    loaded = meta.get("loadedAddresses") or {}
    static = [str(key) for key in message.account_keys]
    keys = [*static, *loaded.get("writable", ()), *loaded.get("readonly", ())]
    before, after = meta["preBalances"], meta["postBalances"]
    if not len(before) == len(after) == len(keys):
        raise Unreadable(f"{signature}: {len(keys)} accounts but {len(before)} and {len(after)} balances")
    top = [
        _Instruction(keys[i.program_id_index], tuple(keys[a] for a in bytes(i.accounts)), bytes(i.data))
        for i in message.instructions
    ]
    inner = [_inner(raw, keys) for group in meta.get("innerInstructions") or [] for raw in group["instructions"]]
    failed = meta["err"] is not None
    accounts = _TokenAccounts(wallet, keys, meta, (*top, *inner))
    at = keys.index(wallet) if wallet in keys else None
    return Landed(
        signature=signature,
        slot=int(answer["slot"]),
        failed=failed,
        signed=wallet in static[: message.header.num_required_signatures],
        marks=tuple(dict.fromkeys(_marks(top, wallet))),
        reclaims=tuple(dict.fromkeys(_reclaims(top, wallet))),
        fee=int(meta["fee"]),
        signatures=len(transaction.signatures),
        lamports_before=int(before[at]) if at is not None else 0,
        lamports_after=int(after[at]) if at is not None else 0,
        swapped={} if failed else _swapped(inner, accounts),
        balances={} if failed else accounts.changes(),
        fee_mints=accounts.fee_mints,
    )


def _inner(raw: Mapping[str, Any], keys: Sequence[Address]) -> _Instruction:
    data = raw.get("data") or ""
    return _Instruction(
        keys[raw["programIdIndex"]],
        tuple(keys[a] for a in raw["accounts"]),
        based58.b58decode(data.encode()) if data else b"",
    )


def _marks(instructions: Iterable[_Instruction], wallet: Address) -> Iterator[IntentId]:
    """Yield the ids of intents that top-level instructions name: memos, and guard accounts made from the wallet."""
    for instruction in instructions:
        if instruction.program in MEMOS:
            yield from _MARK.findall(instruction.data.decode("utf-8", "replace"))
        elif instruction.program == SYSTEM:
            seed = _guard_seed(instruction.data, wallet)
            if seed is not None:
                yield seed


def _guard_seed(data: bytes, wallet: Address) -> IntentId | None:
    """Return the intent's id if this is `createAccountWithSeed(base=wallet, seed=id)`."""
    if len(data) < 44 or int.from_bytes(data[:4], "little") != _CREATE_WITH_SEED:
        return None
    if str(Pubkey(data[4:36])) != wallet:
        return None
    length = int.from_bytes(data[36:44], "little")
    seed = data[44 : 44 + length].decode("utf-8", "replace")
    return seed if _GUARD_SEED.fullmatch(seed) else None


def _reclaims(instructions: Iterable[_Instruction], wallet: Address) -> Iterator[IntentId]:
    """Yield the ids of intents whose guard's lamports top-level instructions move to the wallet."""
    for instruction in instructions:
        data, accounts = instruction.data, instruction.accounts
        if instruction.program != SYSTEM or len(accounts) < 3 or len(data) < 20:
            continue
        if int.from_bytes(data[:4], "little") != _TRANSFER_WITH_SEED or accounts[1:3] != (wallet, wallet):
            continue
        length = int.from_bytes(data[12:20], "little")
        seed = data[20 : 20 + length].decode("utf-8", "replace")
        if not _GUARD_SEED.fullmatch(seed):
            continue
        system = Pubkey.from_string(SYSTEM)
        if accounts[0] == str(Pubkey.create_with_seed(Pubkey.from_string(wallet), seed, system)):
            yield seed


class _TokenAccounts:
    """Which accounts of a transaction hold which token, and which of them are the wallet's."""

    def __init__(
        self, wallet: Address, keys: Sequence[Address], meta: Mapping[str, Any], instructions: Sequence[_Instruction]
    ) -> None:
        self.mints: dict[Address, Mint] = {}
        self.owned: set[Address] = set()
        self._changes: dict[Mint, int] = defaultdict(int)
        fee_mints: set[Mint] = set()
        for name, sign in (("preTokenBalances", -1), ("postTokenBalances", 1)):
            for entry in meta.get(name) or []:
                account, mint = keys[entry["accountIndex"]], str(entry["mint"])
                self.mints[account] = mint
                if entry.get("programId") == TOKEN_2022_PROGRAM:
                    fee_mints.add(mint)
                if entry.get("owner") == wallet:
                    self.owned.add(account)
                    self._changes[mint] += sign * int(entry["uiTokenAmount"]["amount"])
        self.fee_mints = frozenset(fee_mints)
        # An account that is made and closed within the transaction (wrapped SOL, usually) is in no balance list.
        for instruction in instructions:
            if instruction.program in TOKEN_PROGRAMS:
                self._initialized(instruction, wallet)
        for mint in {SOL_MINT, *self.mints.values()}:
            for program in TOKEN_PROGRAMS:
                account = associated(wallet, mint, program)
                if account in keys:
                    self.owned.add(account)
                    self.mints.setdefault(account, mint)

    def _initialized(self, instruction: _Instruction, wallet: Address) -> None:
        data, accounts = instruction.data, instruction.accounts
        if not data or len(accounts) < 2:
            return
        if data[0] == _INITIALIZE and len(accounts) >= 3:
            owner = accounts[2]
        elif data[0] in (_INITIALIZE_2, _INITIALIZE_3) and len(data) >= 33:
            owner = str(Pubkey(data[1:33]))
        else:
            return
        self.mints.setdefault(accounts[0], accounts[1])
        if owner == wallet:
            self.owned.add(accounts[0])

    def changes(self) -> dict[Mint, int]:
        """Return what the wallet's token accounts changed by, zero changes left out."""
        return {mint: change for mint, change in self._changes.items() if change}


def _swapped(inner: Iterable[_Instruction], accounts: _TokenAccounts) -> dict[Mint, int]:
    """Return what inner token transfers gave the wallet, by mint."""
    flows: dict[Mint, int] = defaultdict(int)
    for instruction in inner:
        if instruction.program not in TOKEN_PROGRAMS:
            continue
        transfer = _transfer(instruction)
        if transfer is None:
            continue
        source, destination, mint, sent, received = transfer
        mint = mint or accounts.mints.get(source) or accounts.mints.get(destination)
        if mint is None:
            continue
        if source in accounts.owned:
            flows[mint] -= sent
        if destination in accounts.owned:
            flows[mint] += received
    return {mint: flow for mint, flow in flows.items() if flow}


def _transfer(instruction: _Instruction) -> tuple[Address, Address, Mint | None, int, int] | None:
    """Return (source, destination, mint if told, sent, received) of a token transfer."""
    data, accounts = instruction.data, instruction.accounts
    if len(data) >= 9 and data[0] == _TRANSFER:
        amount = struct.unpack_from("<Q", data, 1)[0]
        return accounts[0], accounts[1], None, amount, amount
    if len(data) >= 10 and data[0] == _TRANSFER_CHECKED:
        amount = struct.unpack_from("<Q", data, 1)[0]
        return accounts[0], accounts[2], accounts[1], amount, amount
    if len(data) >= 19 and tuple(data[:2]) == _TRANSFER_FEE:
        amount, _, fee = struct.unpack_from("<QBQ", data, 2)
        return accounts[0], accounts[2], accounts[1], amount, amount - fee
    return None


def associated(owner: Address, mint: Mint, program: Address) -> Address:
    """Return the associated token account of `owner` for `mint`."""
    seeds = [bytes(Pubkey.from_string(text)) for text in (owner, program, mint)]
    return str(Pubkey.find_program_address(seeds, ASSOCIATED_TOKEN)[0])
