"""Which accounts belong to whom: indexes over the bank's accounts, so that no read scans."""

from __future__ import annotations

from typing import Literal

from solders.account import Account
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM

from tradingbot_engine.localnet.tokens import TOKEN_PROGRAMS, token_account

Place = tuple[Literal["program", "token owner", "mint", "delegate"], Pubkey]


def _places(account: Account | None) -> set[Place]:
    if account is None or account.owner == SYSTEM:
        return set()
    places: set[Place] = {("program", account.owner)}
    if account.owner in TOKEN_PROGRAMS and (token := token_account(account)) is not None:
        places |= {("token owner", token.owner), ("mint", token.mint)}
        if token.delegate is not None:
            places.add(("delegate", token.delegate))
    return places


class AccountIndex:
    """
    Candidates by program, token owner, mint and delegate.

    A key stays listed after it moved on, because views of older slots still need it, so readers check the value that
    they read; `settle` drops it where no view can see it any more.
    """

    def __init__(self) -> None:
        self._lists: dict[Place, dict[Pubkey, None]] = {}
        self._listed: dict[Pubkey, set[Place]] = {}

    def add(self, key: Pubkey, account: Account | None) -> None:
        """List `key` under what it holds now."""
        places = _places(account)
        if not places:
            return
        listed = self._listed.setdefault(key, set())
        for place in places - listed:
            self._lists.setdefault(place, {})[key] = None
            listed.add(place)

    def moved(self, key: Pubkey, before: Account | None, after: Account | None) -> None:
        """List `key` under what it holds now, knowing that it is listed under what it held before."""
        if before is not None and after is not None and before.owner == after.owner:
            if before.owner not in TOKEN_PROGRAMS:
                return
            old, new = before.data, after.data
            if len(old) == len(new) and old[:64] == new[:64] and old[72:] == new[72:]:
                return  # but for its amount, nothing changed
        self.add(key, after)

    def settle(self, key: Pubkey, account: Account | None) -> None:
        """Unlist `key` from everything but what it holds now: all views see this value."""
        listed = self._listed.get(key)
        if listed is None:
            return
        for place in listed - _places(account):
            listed.discard(place)
            members = self._lists[place]
            del members[key]
            if not members:
                del self._lists[place]
        if not listed:
            del self._listed[key]

    def of_program(self, program: Pubkey) -> list[Pubkey]:
        """Keys that are or were owned by `program`."""
        return list(self._lists.get(("program", program), ()))

    def of_token_owner(self, owner: Pubkey) -> list[Pubkey]:
        """Token accounts that are or were of `owner`."""
        return list(self._lists.get(("token owner", owner), ()))

    def of_mint(self, mint: Pubkey) -> list[Pubkey]:
        """Token accounts that hold or held `mint`."""
        return list(self._lists.get(("mint", mint), ()))

    def of_delegate(self, delegate: Pubkey) -> list[Pubkey]:
        """Token accounts that are or were delegated to `delegate`."""
        return list(self._lists.get(("delegate", delegate), ()))
