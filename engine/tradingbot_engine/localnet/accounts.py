"""Which accounts belong to whom: indexes over the bank's accounts, so that no read scans."""

from __future__ import annotations

from solders.account import Account
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from tradingbot_engine.localnet.tokens import TOKEN_PROGRAMS, token_account


class AccountIndex:
    """
    Candidates by program, token owner and mint.

    A key stays listed after it moved on, because views of older slots still need it; readers check the value they
    read. `forget` drops it when no view can see it any more.
    """

    def __init__(self) -> None:
        self._by_program: dict[Pubkey, dict[Pubkey, None]] = {}
        self._by_token_owner: dict[Pubkey, dict[Pubkey, None]] = {}
        self._by_mint: dict[Pubkey, dict[Pubkey, None]] = {}
        self._by_delegate: dict[Pubkey, dict[Pubkey, None]] = {}

    def add(self, key: Pubkey, account: Account | None) -> None:
        """List `key` under what it holds now."""
        if account is None or account.owner == SYSTEM:
            return
        self._by_program.setdefault(account.owner, {})[key] = None
        if account.owner in TOKEN_PROGRAMS and (token := token_account(account)) is not None:
            self._by_token_owner.setdefault(token.owner, {})[key] = None
            self._by_mint.setdefault(token.mint, {})[key] = None
            if token.delegate is not None:
                self._by_delegate.setdefault(token.delegate, {})[key] = None

    def of_program(self, program: Pubkey) -> list[Pubkey]:
        """Keys that are or were owned by `program`."""
        return list(self._by_program.get(program, ()))

    def of_token_owner(self, owner: Pubkey) -> list[Pubkey]:
        """Token accounts that are or were of `owner`."""
        return list(self._by_token_owner.get(owner, ()))

    def of_mint(self, mint: Pubkey) -> list[Pubkey]:
        """Token accounts that hold or held `mint`."""
        return list(self._by_mint.get(mint, ()))

    def of_delegate(self, delegate: Pubkey) -> list[Pubkey]:
        """Token accounts that are or were delegated to `delegate`."""
        return list(self._by_delegate.get(delegate, ()))
