"""Layouts of the SPL Token programs' accounts, as far as RPC nodes read them."""

from __future__ import annotations

from dataclasses import dataclass

from solders.account import Account
from solders.pubkey import Pubkey

TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
TOKEN_PROGRAMS = (TOKEN, TOKEN_2022)
NATIVE_MINT = Pubkey.from_string("So11111111111111111111111111111111111111112")
ACCOUNT_SIZE = 165
MINT_SIZE = 82
_STATES = ("uninitialized", "initialized", "frozen")


@dataclass(frozen=True, slots=True)
class TokenAccount:
    """A token account; amounts in base units."""

    mint: Pubkey
    owner: Pubkey
    amount: int
    delegate: Pubkey | None
    state: str
    rent_exempt_reserve: int | None
    """Lamports that stay as rent in a wrapped-SOL account; None for other tokens."""
    delegated_amount: int
    close_authority: Pubkey | None


@dataclass(frozen=True, slots=True)
class MintAccount:
    """A token mint; supply in base units."""

    mint_authority: Pubkey | None
    supply: int
    decimals: int
    initialized: bool
    freeze_authority: Pubkey | None


def _option_key(data: bytes, at: int) -> Pubkey | None:
    return Pubkey(data[at + 4 : at + 36]) if data[at] else None


def holding(owner: Pubkey, data: bytes) -> tuple[Pubkey, Pubkey, int] | None:
    """Mint, owner and amount of a token account with that owning program and data; None if it is no initialized one."""
    size = len(data)
    if size < ACCOUNT_SIZE or owner not in TOKEN_PROGRAMS or data[108] not in (1, 2):
        return None
    if size > ACCOUNT_SIZE and (owner != TOKEN_2022 or data[ACCOUNT_SIZE] != 2):
        return None
    return Pubkey(data[:32]), Pubkey(data[32:64]), int.from_bytes(data[64:72], "little")


def token_account(account: Account) -> TokenAccount | None:
    """Read a token account; None if the account is not an initialized one."""
    data = account.data
    held = holding(account.owner, data)
    if held is None:
        return None
    mint, owner, amount = held
    return TokenAccount(
        mint=mint,
        owner=owner,
        amount=amount,
        delegate=_option_key(data, 72),
        state=_STATES[data[108]],
        rent_exempt_reserve=int.from_bytes(data[113:121], "little") if data[109] else None,
        delegated_amount=int.from_bytes(data[121:129], "little"),
        close_authority=_option_key(data, 129),
    )


def mint_account(account: Account) -> MintAccount | None:
    """Read a mint; None if the account is not an initialized one."""
    data = bytes(account.data)
    if account.owner not in TOKEN_PROGRAMS or len(data) < MINT_SIZE or not data[45]:
        return None
    if len(data) != MINT_SIZE and (account.owner != TOKEN_2022 or len(data) <= ACCOUNT_SIZE or data[ACCOUNT_SIZE] != 1):
        return None
    return MintAccount(
        mint_authority=_option_key(data, 0),
        supply=int.from_bytes(data[36:44], "little"),
        decimals=data[44],
        initialized=True,
        freeze_authority=_option_key(data, 46),
    )


def native_mint(lamports: int) -> Account:
    """The mint of wrapped SOL, which exists on every cluster from its genesis."""
    data = bytearray(MINT_SIZE)
    data[44], data[45] = 9, 1
    return Account(lamports, bytes(data), TOKEN, False, 2**64 - 1)
