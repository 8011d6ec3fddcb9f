"""
What nodes and providers say, turned into numbers that can be trusted; pure.

Everything foreign is read here and nowhere else. Whatever is not exactly as documented raises `Malformed`, which the
feed counts and survives; nothing else leaves these functions.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import Address, BaseUnits, Mint, Slot
from tradingbot_engine.market.layouts import TOKEN_ACCOUNT_SIZE, TOKEN_PROGRAM_ID, token_amount

TOKEN_2022_PROGRAM_ID = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
TOKEN_PROGRAMS = frozenset({str(TOKEN_PROGRAM_ID), str(TOKEN_2022_PROGRAM_ID)})
MINT_SIZE = 82
_MINT_DECIMALS_AT = 44
_MINT_INITIALISED_AT = 45
_TOKEN_STATE_AT = 108
MAX_DECIMALS = 18
_MAX_INT = 2**63 - 1


class Malformed(ValueError):
    """Not what the documentation of the method or API says; the text names the place, never the whole content."""


@dataclass(frozen=True, slots=True)
class SlotSeen:
    """A `slotNotification`: a new slot, the one that it was built on, and the newest that is final (if it was told)."""

    slot: Slot
    parent: Slot
    root: Slot | None = None


@dataclass(frozen=True, slots=True)
class AccountData:
    """An account as a node encodes it in base64."""

    owner: Address
    lamports: int
    data: bytes


@dataclass(frozen=True, slots=True)
class VaultWrite:
    """A vault's amount after the last write of a slot."""

    slot: Slot
    amount: BaseUnits


def parse(raw: bytes | str) -> Any:
    """Return what the JSON text holds."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Malformed("not JSON") from error


def slot_seen(result: Any) -> SlotSeen:
    """Read the result of a `slotNotification`."""
    body = _mapping(result, "slot notification")
    slot, parent = _count(body.get("slot"), "slot"), _count(body.get("parent"), "parent")
    if parent >= slot:
        raise Malformed(f"slot {slot} on parent {parent}")
    root = body.get("root")  # not every provider passes it on
    return SlotSeen(slot, parent, _count(root, "root") if root is not None else None)


def vault_write(result: Any, mint: Mint) -> VaultWrite:
    """Read the result of an `accountNotification` of a vault that must hold `mint`."""
    slot, value = context(result)
    return VaultWrite(slot, vault_amount(account(value), mint))


def context(result: Any) -> tuple[Slot, Any]:
    """Split an answer with a context into its slot and its value."""
    body = _mapping(result, "result")
    return _count(_mapping(body.get("context"), "context").get("slot"), "context.slot"), body.get("value")


def accounts(result: Any, expected: int) -> tuple[Slot, list[AccountData | None]]:
    """Read the result of `getMultipleAccounts` for so many keys; None where no account is."""
    slot, value = context(result)
    if not isinstance(value, list) or len(value) != expected:
        raise Malformed("getMultipleAccounts: not as many values as keys")
    return slot, [None if item is None else account(item) for item in value]


def account(value: Any) -> AccountData:
    """Read one account in base64."""
    body = _mapping(value, "account")
    owner, data = body.get("owner"), body.get("data")
    if not isinstance(owner, str) or not 32 <= len(owner) <= 44:
        raise Malformed("account: owner")
    if not (isinstance(data, list) and len(data) == 2 and data[1] == "base64" and isinstance(data[0], str)):
        raise Malformed("account: data is not in base64")
    try:
        decoded = base64.b64decode(data[0], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("account: data is not valid base64") from error
    return AccountData(owner, _count(body.get("lamports"), "lamports"), decoded)


def vault_amount(vault: AccountData, mint: Mint) -> BaseUnits:
    """Return the amount in a token account that must hold `mint`."""
    if vault.owner not in TOKEN_PROGRAMS:
        raise Malformed("vault: not owned by a token program")
    if len(vault.data) < TOKEN_ACCOUNT_SIZE or vault.data[_TOKEN_STATE_AT] == 0:
        raise Malformed("vault: not an initialised token account")
    if bytes(vault.data[:32]) != _key(mint):
        raise Malformed("vault: holds another mint")
    return token_amount(vault.data)


def mint_decimals(mint: AccountData) -> int:
    """Return the decimals that a mint's account says."""
    if mint.owner not in TOKEN_PROGRAMS:
        raise Malformed("mint: not owned by a token program")
    # Both token programs keep a mint's first 82 bytes alike; 2022 puts its extensions (and an account type) behind.
    if len(mint.data) < MINT_SIZE or len(mint.data) == TOKEN_ACCOUNT_SIZE or mint.data[_MINT_INITIALISED_AT] != 1:
        raise Malformed("mint: not an initialised mint")
    decimals = mint.data[_MINT_DECIMALS_AT]
    if decimals > MAX_DECIMALS:
        raise Malformed(f"mint: {decimals} decimals")
    return decimals


def single_pool(quote: Any, *, input_mint: Mint, output_mint: Mint) -> Address:
    """Return the pool of a swap quote that goes through exactly one."""
    body = _mapping(quote, "quote")
    plan = body.get("routePlan")
    if not isinstance(plan, list) or len(plan) != 1:
        raise Malformed("quote: not exactly one hop")
    hop = _mapping(_mapping(plan[0], "quote: hop").get("swapInfo"), "quote: swapInfo")
    if (hop.get("inputMint"), hop.get("outputMint")) != (input_mint, output_mint):
        raise Malformed("quote: the hop is between other mints")
    pool = hop.get("ammKey")
    if not isinstance(pool, str):
        raise Malformed("quote: ammKey")
    _key(pool)
    return pool


@dataclass(frozen=True, slots=True)
class Candle:
    """One row of an OHLCV API; `volume` in whole units of the quote token."""

    start_s: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def candles(document: Any) -> tuple[list[Candle], int]:
    """
    Read a page of GeckoTerminal's OHLCV.

    Returns:
        The sound rows, oldest first, one per minute, and how many rows were not sound.

    Raises:
        Malformed: There is no list of rows at all.
    """
    attributes = _mapping(_mapping(_mapping(document, "page").get("data"), "data").get("attributes"), "attributes")
    rows = attributes.get("ohlcv_list")
    if not isinstance(rows, list):
        raise Malformed("ohlcv_list")
    sound: dict[int, Candle] = {}
    dirty = 0
    for row in rows:
        try:
            candle = _candle(row)
        except Malformed:
            dirty += 1
            continue
        sound.setdefault(candle.start_s, candle)
    return [sound[start] for start in sorted(sound)], dirty


def _candle(row: Any) -> Candle:
    if not isinstance(row, list) or len(row) != 6:
        raise Malformed("row")
    start = _number(row[0], "start")
    opened, high, low, close, volume = (_number(cell, "cell") for cell in row[1:])
    if not 0 < start < 2**40 or start != int(start) or int(start) % 60:
        raise Malformed("row: start is not a minute")
    if low <= 0 or volume < 0 or not low <= min(opened, close) <= max(opened, close) <= high:
        raise Malformed("row: not open, high, low, close of one minute")
    return Candle(int(start), opened, high, low, close, volume)


def usd_price(document: Any, mint: Mint) -> float:
    """Read a mint's price from Jupiter's `/price/v3`; unreliable tokens are left out there, which is Malformed here."""
    price = _number(_mapping(_mapping(document, "prices").get(mint), "price").get("usdPrice"), "usdPrice")
    if price <= 0:
        raise Malformed("usdPrice is not positive")
    return price


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{what}: not an object")
    return value


def _count(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2 * _MAX_INT + 1:
        raise Malformed(f"{what}: not a whole number from 0 on")
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Malformed(f"{what}: not a number")
    if isinstance(value, str) and len(value) > 64:
        raise Malformed(f"{what}: too long for a number")
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"{what}: not a number") from error
    if not math.isfinite(number):
        raise Malformed(f"{what}: not finite")
    return number


def _key(text: str) -> bytes:
    try:
        return bytes(Pubkey.from_string(text))
    except ValueError as error:
        raise Malformed("not a base58 public key") from error
