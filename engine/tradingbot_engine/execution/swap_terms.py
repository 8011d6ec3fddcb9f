"""
What a swap instruction would really do: how much leaves, from where, how much must come, and where to. Pure.

Each program that may be called for a swap has one decoder. What cannot be decoded to the last byte is refused: a program
reads its arguments from the front and ignores what follows, so that figures taken from the end would prove nothing.

Sources: localnet's `pool.c`; Jupiter v6's published interface (instructions `route`, `shared_accounts_route` and their v2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BPS_ONE
from tradingbot_engine.execution.port import QuoteRefused
from tradingbot_engine.execution.programs import JUPITER, TOKEN
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID

_POOL_SWAP = struct.Struct("<BQQ")
_POOL_FIXED, _POOL_PER_HOP, _POOL_MAX_HOPS = 3, 5, 3
_TERMS = struct.Struct("<QQH")
_MAX_STEPS = 32

_PAYLOAD_BYTES: Mapping[int, int] = (
    dict.fromkeys(range(90), 0)
    | dict.fromkeys((8, 12, 15, 16, 17, 18, 21, 23, 24, 27, 28, 39, 58, 60, 61, 64, 85, 89), 1)
    | {29: 16, 33: 4, 41: 4, 42: 3, 43: 10, 44: 5, 45: 5, 71: 2, 81: 8, 82: 8, 86: 2, 87: 9}
)
"""Bytes that follow the number of a market in a route plan of version 1; markets numbered higher came with version 2."""
_WHIRLPOOL_V2, _DLMM_V2 = 47, 75
"""Markets whose payload says how long it is."""


@dataclass(frozen=True, slots=True)
class SwapTerms:
    """One swap, as the program will read it; amounts in base units."""

    amount_in: int
    min_out: int
    """Rounded up where the program's own rounding is not published: at most one base unit too high."""
    fees_bps: int
    """What a third party takes of the swap or of its gain, added up."""
    signer: Pubkey
    source: Pubkey
    destination: Pubkey
    mints: tuple[Pubkey | None, Pubkey | None]
    """What goes in and what comes out, where the instruction says it."""


def read_terms(instruction: Instruction) -> SwapTerms:
    """
    Return what the instruction would do.

    Raises:
        QuoteRefused: It is of no known kind, or not of the shape of its kind.
    """
    decode = _DECODERS.get(instruction.program_id)
    if decode is None:
        raise QuoteRefused(f"ForeignProgram: the swap calls {instruction.program_id}")
    try:
        return decode(bytes(instruction.data), [account.pubkey for account in instruction.accounts])
    except (struct.error, IndexError, ValueError) as error:
        raise QuoteRefused(
            f"UnreadableSwap: its data or accounts have another length ({type(error).__name__})"
        ) from error


def _pool(data: bytes, keys: list[Pubkey]) -> SwapTerms:
    kind, amount, least = _POOL_SWAP.unpack(data)
    hops, rest = divmod(len(keys) - _POOL_FIXED, _POOL_PER_HOP)
    if kind != 1 or rest or not 1 <= hops <= _POOL_MAX_HOPS or keys[1] != TOKEN:
        raise QuoteRefused("UnreadableSwap: no swap of the pool program")
    return SwapTerms(
        amount_in=amount,
        min_out=least,
        fees_bps=0,
        signer=keys[0],
        source=keys[2],
        destination=keys[-1],
        mints=(None, None),
    )


# --- Jupiter v6
def _jupiter(data: bytes, keys: list[Pubkey]) -> SwapTerms:
    route = _ROUTES.get(data[:8])
    if route is None:
        raise QuoteRefused(f"UnreadableSwap: Jupiter's instruction {data[:8].hex()} is not known")
    return route(data[8:], keys)


def _route(arguments: bytes, keys: list[Pubkey]) -> SwapTerms:
    return _first_version(
        arguments, keys, signer=1, source=2, destination=3, other_destination=4, mint_out=5, fee_account=6
    )


def _shared_route(arguments: bytes, keys: list[Pubkey]) -> SwapTerms:
    return _first_version(arguments[1:], keys, signer=2, source=3, destination=6, mint_in=7, mint_out=8, fee_account=9)


def _first_version(
    arguments: bytes,
    keys: list[Pubkey],
    *,
    signer: int,
    source: int,
    destination: int,
    mint_out: int,
    fee_account: int,
    mint_in: int | None = None,
    other_destination: int | None = None,
) -> SwapTerms:
    """Version 1 has its figures behind the plan, whose length only the plan itself tells."""
    at = _end_of_plan(arguments)
    amount, quoted, slippage = _TERMS.unpack(arguments[at : at + _TERMS.size])
    (fee,) = arguments[at + _TERMS.size :]  # the last byte there is
    if keys[fee_account] != JUPITER:
        raise QuoteRefused("PlatformFee: the swap names an account for a fee that was not agreed to")
    if other_destination is not None and keys[other_destination] not in (JUPITER, keys[destination]):
        raise QuoteRefused(f"ForeignDestination: the swap pays on to {keys[other_destination]}")
    return SwapTerms(
        amount_in=amount,
        min_out=_least(quoted, slippage),
        fees_bps=fee,
        signer=keys[signer],
        source=keys[source],
        destination=keys[destination],
        mints=(None if mint_in is None else keys[mint_in], keys[mint_out]),
    )


def _route_v2(arguments: bytes, keys: list[Pubkey]) -> SwapTerms:
    if keys[7] not in (JUPITER, keys[2]):
        raise QuoteRefused(f"ForeignDestination: the swap pays on to {keys[7]}")
    return _second_version(arguments, keys, signer=0, source=1, destination=2, mint_in=3, mint_out=4)


def _shared_route_v2(arguments: bytes, keys: list[Pubkey]) -> SwapTerms:
    return _second_version(arguments[1:], keys, signer=1, source=2, destination=5, mint_in=6, mint_out=7)


def _second_version(
    arguments: bytes, keys: list[Pubkey], *, signer: int, source: int, destination: int, mint_in: int, mint_out: int
) -> SwapTerms:
    """Version 2 has its figures in front, so that the plan need not be understood."""
    amount, quoted, slippage = _TERMS.unpack(arguments[: _TERMS.size])
    platform, positive = struct.unpack_from("<HH", arguments, _TERMS.size)
    return SwapTerms(
        amount_in=amount,
        min_out=_least(quoted, slippage),
        fees_bps=platform + positive,
        signer=keys[signer],
        source=keys[source],
        destination=keys[destination],
        mints=(keys[mint_in], keys[mint_out]),
    )


def _least(quoted: int, slippage_bps: int) -> int:
    return max(0, -(-quoted * (BPS_ONE - slippage_bps) // BPS_ONE))


def _end_of_plan(arguments: bytes) -> int:
    """Return where a route plan of version 1 ends: steps of (market, percent, input index, output index)."""
    (steps,) = struct.unpack_from("<I", arguments)
    if not 1 <= steps <= _MAX_STEPS:
        raise QuoteRefused(f"UnreadableSwap: a plan of {steps} steps")
    at = 4
    for _ in range(steps):
        market = arguments[at]
        at += 1
        if market == _WHIRLPOOL_V2:
            at = _end_of_accounts_info(arguments, at + 2) if arguments[at + 1] else at + 2
        elif market == _DLMM_V2:
            at = _end_of_accounts_info(arguments, at)
        elif market in _PAYLOAD_BYTES:
            at += _PAYLOAD_BYTES[market]
        else:
            raise QuoteRefused(f"UnreadableSwap: market {market} of a route plan is not known")
        at += 3
    return at


def _end_of_accounts_info(arguments: bytes, at: int) -> int:
    (slices,) = struct.unpack_from("<I", arguments, at)
    return at + 4 + 2 * int(slices)


def _named(name: str) -> bytes:
    return sha256(f"global:{name}".encode()).digest()[:8]


_ROUTES: Mapping[bytes, Callable[[bytes, list[Pubkey]], SwapTerms]] = {
    _named("route"): _route,
    _named("shared_accounts_route"): _shared_route,
    _named("route_v2"): _route_v2,
    _named("shared_accounts_route_v2"): _shared_route_v2,
}
_DECODERS: Mapping[Pubkey, Callable[[bytes, list[Pubkey]], SwapTerms]] = {POOL_PROGRAM_ID: _pool, JUPITER: _jupiter}
