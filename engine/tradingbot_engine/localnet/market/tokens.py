"""The tokens of localnet, at their addresses on mainnet, so that configuration carries over unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT
from tradingbot_engine.errors import PermanentError

MAX_DECIMALS = 9
"""Above this, a vault of a cheap token would not fit into 64 bits."""


class BadToken(PermanentError):
    """A `--token` argument is not MINT or MINT:DECIMALS; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Token:
    """A mint, what its market is called, and what one whole token costs when localnet is born."""

    mint: Pubkey
    symbol: str
    name: str
    decimals: int
    opening_usd: float
    coin_id: str
    """Its name at CoinGecko."""
    stable: bool = False
    """Pegged to the dollar: no scenario moves it."""

    @property
    def is_extra(self) -> bool:
        """Whether it is none of the tokens that every localnet has; its symbol may be anybody's."""
        return self not in (SOL, USDC, *WELL_KNOWN)

    @property
    def unit(self) -> int:
        """Base units of one whole token."""
        return int(10**self.decimals)


def _token(
    mint: str, symbol: str, name: str, decimals: int, usd: float, coin_id: str, *, stable: bool = False
) -> Token:
    return Token(Pubkey.from_string(mint), symbol, name, decimals, usd, coin_id, stable)


SOL = _token(SOL_MINT, "SOL", "Wrapped SOL", 9, 150.0, "solana")
USDC = _token(USDC_MINT, "USDC", "USD Coin", 6, 1.0, "usd-coin", stable=True)
WELL_KNOWN = (
    _token("DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", "BONK", "Bonk", 5, 2e-5, "bonk"),
    _token("EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm", "WIF", "dogwifhat", 6, 0.8, "dogwifcoin"),
    _token("JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", "JUP", "Jupiter", 6, 0.45, "jupiter-exchange-solana"),
    _token("4k3Dyjzvzp8eMZWUXbBCjEvwSkkk59S5iCNLY3QrkX6R", "RAY", "Raydium", 6, 2.0, "raydium"),
    _token("HZ1JovNiVvGrGNiiYvEozEVgZ58xaU3RKwX8eACQBCt3", "PYTH", "Pyth Network", 6, 0.15, "pyth-network"),
    _token("jtojtomepa8beP8AuQc6eXt5FriJwfFMwQx2v2f9mCL", "JTO", "Jito", 9, 1.6, "jito-governance-token"),
    _token("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB", "USDT", "USDT", 6, 1.0, "tether", stable=True),
)
"""Tokens that every localnet has, beside SOL and USDC."""


def parse_token(text: str) -> Token:
    """
    Return the token that `--token MINT[:DECIMALS]` asks for; 6 decimals and one dollar where nothing is known of it.

    Raises:
        BadToken: Not a base58 public key, or decimals outside 0 to 9, or other decimals than a well-known mint has.
    """
    address, _, decimals_text = text.partition(":")
    try:
        mint = Pubkey.from_string(address)
    except ValueError as error:
        raise BadToken(f"token {text!r}: {address!r} is not the base58 address of a mint") from error
    if decimals_text and not (
        decimals_text.isascii() and decimals_text.isdigit() and int(decimals_text) <= MAX_DECIMALS
    ):
        raise BadToken(
            f"token {text!r}: decimals must be a whole number from 0 to {MAX_DECIMALS}, not {decimals_text!r}"
        )
    known = next((token for token in (SOL, USDC, *WELL_KNOWN) if token.mint == mint), None)
    if known is None:
        return Token(mint, address[:4].upper(), address[:8], int(decimals_text or 6), 1.0, address)
    if decimals_text and int(decimals_text) != known.decimals:
        raise BadToken(f"token {text!r}: {known.symbol} has {known.decimals} decimals")
    return known


def with_added(kept: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """
    Return the extra tokens of a world that was born with `kept` and is started with `wanted`: none ever goes, new ones come last.

    Raises:
        BadToken: One is malformed, or is wanted with other decimals than it has.
    """
    known = {token.mint: token for token in (SOL, USDC, *listed(kept))}
    tokens = list(kept)
    for text in wanted:
        token = parse_token(text)
        there = known.get(token.mint)
        if there is None:
            known[token.mint] = token
            tokens.append(text)
        elif ":" in text and there.decimals != token.decimals:
            raise BadToken(f"token {text!r}: this localnet has it with {there.decimals} decimals since it was listed")
    return tuple(tokens)


def listed(extra: Sequence[str]) -> tuple[Token, ...]:
    """Return the tokens that trade against SOL and USDC: the well-known ones and `extra` (MINT[:DECIMALS]), each once."""
    tokens = {token.mint: token for token in WELL_KNOWN}
    for text in extra:
        token = parse_token(text)
        if token not in (SOL, USDC):
            tokens.setdefault(token.mint, token)
    return tuple(tokens.values())
