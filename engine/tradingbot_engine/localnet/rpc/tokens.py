"""Methods about SPL tokens: accounts of an owner or delegate, balances, supply."""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey

from tradingbot_engine.localnet.encode.amounts import ui_amount
from tradingbot_engine.localnet.rpc.errors import invalid_params
from tradingbot_engine.localnet.rpc.node import Method, Node
from tradingbot_engine.localnet.rpc.params import account_encoding, config, data_slice, need, pubkey, text
from tradingbot_engine.localnet.tokens import TOKEN_PROGRAMS, MintAccount, TokenAccount, mint_account, token_account

LARGEST = 20


def _token(node: Node, key: Pubkey, slot: int) -> TokenAccount:
    account = node.view.account(key, slot)
    if account is None:
        raise invalid_params("Invalid param: could not find account")
    token = token_account(account)
    if token is None:
        raise invalid_params("Invalid param: not a Token account")
    return token


def _mint(node: Node, key: Pubkey, slot: int) -> MintAccount:
    account = node.view.account(key, slot)
    if account is None:
        raise invalid_params("Invalid param: could not find account")
    mint = mint_account(account)
    if mint is None:
        raise invalid_params("Invalid param: not a Token mint")
    return mint


def get_token_account_balance(node: Node, params: list[Any]) -> Any:
    slot = node.slot(config(params, 1))
    token = _token(node, pubkey(text(params, 0)), slot)
    return node.with_context(slot, ui_amount(token.amount, node.decimals_at(slot)(token.mint)))


def get_token_supply(node: Node, params: list[Any]) -> Any:
    slot = node.slot(config(params, 1))
    mint = _mint(node, pubkey(text(params, 0)), slot)
    return node.with_context(slot, ui_amount(mint.supply, mint.decimals))


def get_token_largest_accounts(node: Node, params: list[Any]) -> Any:
    key = pubkey(text(params, 0))
    slot = node.slot(config(params, 1))
    mint = _mint(node, key, slot)
    held = []
    for candidate in node.bank.index.of_mint(key):
        account = node.view.account(candidate, slot)
        token = token_account(account) if account is not None else None
        if token is not None and token.mint == key:
            held.append((token.amount, str(candidate)))
    largest = sorted(held, key=lambda h: (-h[0], h[1]))[:LARGEST]
    return node.with_context(slot, [{"address": a, **ui_amount(amount, mint.decimals)} for amount, a in largest])


def _accounts(node: Node, params: list[Any], *, by_delegate: bool) -> Any:
    who = pubkey(text(params, 0))
    need(params, 2)
    chosen = config(params, 1)
    options = config(params, 2)
    slot = node.slot(options)
    encoding, part = account_encoding(options, "binary"), data_slice(options)
    mint: Pubkey | None = None
    program: Pubkey | None = None
    if "mint" in chosen:
        mint = pubkey(text([chosen["mint"]], 0))
        _mint(node, mint, slot)
    elif "programId" in chosen:
        program = pubkey(text([chosen["programId"]], 0))
        if program not in TOKEN_PROGRAMS:
            raise invalid_params("Invalid param: unrecognized Token program id")
    else:
        raise invalid_params("Invalid params: expected `mint` or `programId`.")
    index = node.bank.index
    found = []
    for key in index.of_delegate(who) if by_delegate else index.of_token_owner(who):
        account = node.view.account(key, slot)
        token = token_account(account) if account is not None else None
        if account is None or token is None or (token.delegate if by_delegate else token.owner) != who:
            continue
        if (mint is None or token.mint == mint) and (program is None or account.owner == program):
            found.append({"pubkey": str(key), "account": node.encoded(account, slot, encoding, part)})
    return node.with_context(slot, found)


def get_token_accounts_by_owner(node: Node, params: list[Any]) -> Any:
    return _accounts(node, params, by_delegate=False)


def get_token_accounts_by_delegate(node: Node, params: list[Any]) -> Any:
    return _accounts(node, params, by_delegate=True)


METHODS: dict[str, Method] = {
    "getTokenAccountBalance": get_token_account_balance,
    "getTokenSupply": get_token_supply,
    "getTokenLargestAccounts": get_token_largest_accounts,
    "getTokenAccountsByOwner": get_token_accounts_by_owner,
    "getTokenAccountsByDelegate": get_token_accounts_by_delegate,
}
