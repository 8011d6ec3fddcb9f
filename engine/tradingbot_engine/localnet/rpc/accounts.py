"""Methods about accounts: balances, data, accounts of a program."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import based58
from solders.account import Account

from tradingbot_engine.localnet.rpc.errors import invalid_params
from tradingbot_engine.localnet.rpc.node import Method, Node
from tradingbot_engine.localnet.rpc.params import (
    Config,
    account_encoding,
    config,
    data_slice,
    flag,
    pubkey,
    strings,
    text,
    unsigned,
)
from tradingbot_engine.localnet.tokens import token_account

MAX_ACCOUNTS = 100
MAX_FILTERS = 4


def get_balance(node: Node, params: list[Any]) -> Any:
    key = pubkey(text(params, 0))
    slot = node.slot(config(params, 1))
    account = node.view.account(key, slot)
    return node.with_context(slot, account.lamports if account is not None else 0)


def get_account_info(node: Node, params: list[Any]) -> Any:
    key = pubkey(text(params, 0))
    options = config(params, 1)
    slot = node.slot(options)
    encoding = account_encoding(options, "binary")
    account = node.view.account(key, slot)
    return node.with_context(slot, node.encoded(account, slot, encoding, data_slice(options)))


def get_multiple_accounts(node: Node, params: list[Any]) -> Any:
    names = strings(params, 0)
    if len(names) > MAX_ACCOUNTS:
        raise invalid_params(f"Too many inputs provided; max {MAX_ACCOUNTS}")
    keys = [pubkey(name) for name in names]
    options = config(params, 1)
    slot = node.slot(options)
    encoding, part = account_encoding(options, "base64"), data_slice(options)
    return node.with_context(slot, [node.encoded(node.view.account(k, slot), slot, encoding, part) for k in keys])


def get_program_accounts(node: Node, params: list[Any]) -> Any:
    program = pubkey(text(params, 0))
    options = config(params, 1)
    slot = node.slot(options)
    encoding, part = account_encoding(options, "binary"), data_slice(options)
    matches = filters(options)
    found = []
    for key in node.bank.index.of_program(program):
        account = node.view.account(key, slot)
        if account is not None and account.owner == program and all(match(account) for match in matches):
            found.append({"pubkey": str(key), "account": node.encoded(account, slot, encoding, part)})
    return node.with_context(slot, found) if flag(options, "withContext") else found


class SizeFilter:
    """Accounts whose data has that many bytes."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __call__(self, account: Account) -> bool:
        return len(account.data) == self._size


class BytesFilter:
    """Accounts whose data holds those bytes at that offset."""

    def __init__(self, offset: int, content: bytes) -> None:
        self._offset = offset
        self._content = content

    def __call__(self, account: Account) -> bool:
        return bytes(account.data)[self._offset : self._offset + len(self._content)] == self._content


class TokenStateFilter:
    """Initialized token accounts."""

    def __call__(self, account: Account) -> bool:
        return token_account(account) is not None


Filter = SizeFilter | BytesFilter | TokenStateFilter


def filters(options: Config) -> list[Filter]:
    """The filters of `getProgramAccounts` and `programSubscribe`."""
    given = options.get("filters") or []
    if not isinstance(given, list):
        raise invalid_params("Invalid params: invalid type, expected a sequence of filters.")
    if len(given) > MAX_FILTERS:
        raise invalid_params(f"Too many filters provided; max {MAX_FILTERS}")
    return [_filter(each) for each in given]


def _filter(given: Any) -> Filter:
    if given == "tokenAccountState" or (isinstance(given, dict) and "tokenAccountState" in given):
        return TokenStateFilter()
    if isinstance(given, dict) and "dataSize" in given:
        return SizeFilter(unsigned(given["dataSize"]))
    if isinstance(given, dict) and isinstance(given.get("memcmp"), dict):
        compare = given["memcmp"]
        content = compare.get("bytes")
        try:
            if isinstance(content, list):
                wanted = bytes(content)
            elif compare.get("encoding") == "base64":
                wanted = base64.b64decode(content, validate=True)
            else:
                wanted = based58.b58decode(str(content).encode())
        except (ValueError, TypeError, binascii.Error) as error:
            raise invalid_params(f"Invalid param: {error}") from error
        return BytesFilter(unsigned(compare.get("offset", 0)), wanted)
    raise invalid_params("Invalid params: unknown filter.")


METHODS: dict[str, Method] = {
    "getBalance": get_balance,
    "getAccountInfo": get_account_info,
    "getMultipleAccounts": get_multiple_accounts,
    "getProgramAccounts": get_program_accounts,
}
