"""The real SVM, wrapped: runs one transaction and tells what it read, wrote and charged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from solders.account import Account
from solders.clock import Clock
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.message import MessageV0, VersionedMessage
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from tradingbot_engine.localnet.chain import Record, TokenBalance
from tradingbot_engine.localnet.tokens import TOKEN_PROGRAMS, holding, mint_account

SLOTS_PER_EPOCH = 432_000
_LOOKUP_HEADER = 56
_NONCE_SIZE = 80
_ADVANCE_NONCE = (4).to_bytes(4, "little")
NO_ACCOUNT = Account(0, b"", SYSTEM, False, 0)


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of a transaction in account order, those of lookup tables included."""

    all: tuple[Pubkey, ...]
    writable: tuple[int, ...]
    """Indexes of the keys that the transaction may write."""
    loaded: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Run:
    """What one transaction did; `charged` is False when it must not enter a block."""

    err: Any
    meta: TransactionMetadata
    charged: bool
    changes: tuple[tuple[Pubkey, Account | None, Account | None], ...]
    pre_lamports: tuple[int, ...]
    post_lamports: tuple[int, ...]
    pre_tokens: tuple[TokenBalance, ...]
    post_tokens: tuple[TokenBalance, ...]

    def record(self, transaction: VersionedTransaction, keys: Keys, slot: int) -> Record:
        """Return what is recorded of the transaction in the block of `slot`."""
        return Record(
            signature=transaction.signatures[0],
            wire=bytes(transaction),
            slot=slot,
            error=self.err,
            meta=self.meta,
            keys=keys.all,
            loaded=keys.loaded,
            pre_lamports=self.pre_lamports,
            post_lamports=self.post_lamports,
            pre_tokens=self.pre_tokens,
            post_tokens=self.post_tokens,
            _transaction=transaction,
        )


def error_of(failure: FailedTransactionMetadata) -> Any:
    """The transaction's error in the JSON form that validators serve."""
    return orjson.loads(failure.to_json())["err"]


class Vm:
    """LiteSVM without its own blockhash check, history and signature check: those are the bank's."""

    def __init__(self) -> None:
        self.svm = LiteSVM().with_blockhash_check(False).with_transaction_history(0).with_sigverify(False)
        self._decimals: dict[Pubkey, int] = {}
        self._programs: set[Pubkey] = set()

    @property
    def first_slot(self) -> int:
        """The slot at which a new VM stands."""
        return self.svm.get_clock().slot

    def account(self, key: Pubkey) -> Account | None:
        """The current value; None for an account that does not exist."""
        account = self.svm.get_account(key)
        return account if account is not None and (account.lamports or len(account.data)) else None

    def put(self, key: Pubkey, account: Account | None) -> None:
        """Write `account`; None removes it."""
        self.svm.set_account(key, account if account is not None else NO_ACCOUNT)
        self._decimals.pop(key, None)
        self._programs.discard(key)

    def advance(self, slot: int, unix_s: int, recent: Sequence[tuple[int, Hash]]) -> None:
        """Move the sysvars on to `slot`; `recent` are slots and hashes for lookup-table creation, newest first."""
        epoch = slot // SLOTS_PER_EPOCH
        self.svm.set_clock(Clock(slot, 0, epoch, epoch + 1, unix_s))
        self.svm.set_slot_hashes(list(recent))
        self.svm.expire_blockhash()

    def keys_of(self, transaction: VersionedTransaction) -> Keys | None:
        """Keys of the transaction; None if a lookup table is missing or too short."""
        return self.keys_in(transaction.message)

    def keys_in(self, message: VersionedMessage) -> Keys | None:
        """As `keys_of`, for who has the message already: solders makes a new copy each time it is asked for."""
        static = message.account_keys
        header = message.header
        signers = header.num_required_signatures
        writable = [
            *range(signers - header.num_readonly_signed_accounts),
            *range(signers, len(static) - header.num_readonly_unsigned_accounts),
        ]
        if not isinstance(message, MessageV0) or not message.address_table_lookups:
            return Keys(tuple(static), tuple(writable), (0, 0))
        loaded_writable: list[Pubkey] = []
        loaded_readonly: list[Pubkey] = []
        for lookup in message.address_table_lookups:
            table = self.account(lookup.account_key)
            if table is None:
                return None
            data = bytes(table.data)[_LOOKUP_HEADER:]
            for indexes, into in (
                (lookup.writable_indexes, loaded_writable),
                (lookup.readonly_indexes, loaded_readonly),
            ):
                for index in bytes(indexes):
                    if (index + 1) * 32 > len(data):
                        return None
                    into.append(Pubkey(data[index * 32 : index * 32 + 32]))
        writable += range(len(static), len(static) + len(loaded_writable))
        return Keys(
            (*static, *loaded_writable, *loaded_readonly),
            tuple(writable),
            (len(loaded_writable), len(loaded_readonly)),
        )

    def nonce_account(self, transaction: VersionedTransaction) -> Pubkey | None:
        """The nonce account whose stored value stands in for the blockhash; None if the transaction uses none."""
        message = transaction.message
        if not message.instructions:
            return None
        first = message.instructions[0]
        keys = message.account_keys
        if (
            first.program_id_index >= len(keys)
            or keys[first.program_id_index] != SYSTEM
            or bytes(first.data)[:4] != _ADVANCE_NONCE
            or not len(first.accounts)
        ):
            return None
        key = keys[bytes(first.accounts)[0]]
        account = self.account(key)
        if account is None or len(account.data) != _NONCE_SIZE:
            return None
        return key if bytes(account.data)[40:72] == bytes(message.recent_blockhash) else None

    def advance_nonce(self, key: Pubkey) -> None:
        """Advance a nonce whose transaction failed: validators do, LiteSVM does not."""
        account = self.svm.get_account(key)
        assert account is not None
        data = bytearray(account.data)
        data[40:72] = hashlib.sha256(b"DURABLE_NONCE" + bytes(self.svm.latest_blockhash())).digest()
        self.put(key, Account(account.lamports, bytes(data), account.owner, account.executable, account.rent_epoch))

    def run(self, transaction: VersionedTransaction, keys: Keys, nonce: Pubkey | None = None) -> Run:
        """Execute the transaction; what it did is already applied when this returns."""
        get, balance, programs = self.svm.get_account, self.svm.get_balance, self._programs
        # of programs only the lamports are told; a copy of the account would be one of all its code
        codes = {i: balance(key) or 0 for i, key in enumerate(keys.all) if key in programs and i not in keys.writable}
        before = [None if i in codes else get(key) for i, key in enumerate(keys.all)]
        result = self.svm.send_transaction(transaction)
        failed = isinstance(result, FailedTransactionMetadata)
        meta = result.meta() if isinstance(result, FailedTransactionMetadata) else result
        err = error_of(result) if isinstance(result, FailedTransactionMetadata) else None
        after = list(before)
        payer = get(keys.all[0])
        charged = not failed or _lamports(payer) != _lamports(before[0])
        if charged:
            if failed and nonce is not None:
                self.advance_nonce(nonce)
            for index in keys.writable:
                after[index] = get(keys.all[index])
        changed = [i for i in keys.writable if before[i] != after[i]]
        changes = tuple((keys.all[i], _existing(before[i]), _existing(after[i])) for i in changed)
        for key, _, _ in changes:
            self._decimals.pop(key, None)
            programs.discard(key)
        pre_lamports = [_lamports(a) for a in before]
        for i, lamports in codes.items():
            pre_lamports[i] = lamports
        post_lamports = pre_lamports.copy()
        for i in changed:
            post_lamports[i] = _lamports(after[i])
        pre_tokens = {i: token for i, a in enumerate(before) if a is not None and (token := self._token(i, a))}
        post_tokens = pre_tokens
        if any(i in pre_tokens or _is_of_tokens(after[i]) for i in changed):
            post_tokens = {
                i: token
                for i, a in enumerate(after)
                if (token := (self._token(i, a) if a is not None else None) if i in changed else pre_tokens.get(i))
            }
        programs.update(
            keys.all[i]
            for i, a in enumerate(before)
            if a is not None and a.executable and i not in keys.writable and i not in codes
        )
        return Run(
            err=err,
            meta=meta,
            charged=charged,
            changes=changes,
            pre_lamports=tuple(pre_lamports),
            post_lamports=tuple(post_lamports),
            pre_tokens=tuple(pre_tokens.values()),
            post_tokens=tuple(post_tokens.values()),
        )

    def decimals(self, mint: Pubkey) -> int:
        """Decimals of a mint; 0 if there is no such mint."""
        known = self._decimals.get(mint)
        if known is None:
            account = self.account(mint)
            parsed = mint_account(account) if account is not None else None
            if parsed is None:
                return 0
            known = self._decimals[mint] = parsed.decimals
        return known

    def _token(self, index: int, account: Account) -> TokenBalance | None:
        program = account.owner
        held = holding(program, account.data) if program in TOKEN_PROGRAMS else None
        if held is None:
            return None
        mint, owner, amount = held
        return TokenBalance(index, mint, owner, program, amount, self.decimals(mint))


def _lamports(account: Account | None) -> int:
    return account.lamports if account is not None else 0


def _is_of_tokens(account: Account | None) -> bool:
    return account is not None and account.owner in TOKEN_PROGRAMS


def _existing(account: Account | None) -> Account | None:
    return account if account is not None and (account.lamports or len(account.data)) else None


def signatures_are_good(transaction: VersionedTransaction) -> bool:
    """Whether every required signature is there and verifies."""
    signatures = transaction.signatures
    if len(signatures) != transaction.message.header.num_required_signatures or signatures[0] == Signature.default():
        return False
    return all(transaction.verify_with_results())
