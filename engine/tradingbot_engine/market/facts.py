"""What the chain says of a token beside its price: supply, who holds it, since when it exists. For the screen."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from solders.pubkey import Pubkey

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.events import TokenFacts
from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import Mint, UnixMs
from tradingbot_engine.market.event_time import EventTime
from tradingbot_engine.rpc import decode
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.methods import MAX_SIGNATURES_PAGE, Rpc
from tradingbot_engine.rpc.pool import MalformedAnswer, RpcPool

REFRESH_S = 600.0
"""Supply and holders move slowly, and the questions are heavy for a node."""
LARGEST_HOLDERS = 10
BIRTH_PAGES = 5
"""So many pages of a mint's signatures are read for its birth; a token with more is old anyway, and its age a lower bound."""
MAX_U64, MAX_DIGITS = 2**64 - 1, 20
_OWNER_OFFSET, _KEY_BYTES = 32, 32
"""Where a token account says who owns it (SPL Token layout: mint, then owner)."""

_log = structlog.get_logger(__name__)


class FactsReader:
    """Reads the facts of one token after another, and each again every ten minutes."""

    def __init__(
        self,
        *,
        rpc: RpcPool,
        tokens: Sequence[Token],
        emit: Callable[[TokenFacts], None],
        event_time: EventTime,
        clock: Clock,
    ) -> None:
        self._pool, self._rpc, self._tokens, self._emit = rpc, Rpc(rpc), tokens, emit
        self._event_time, self._clock = event_time, clock
        self._due_s: dict[Mint, float] = {t.mint: 0.0 for t in tokens}
        self._seen: dict[Mint, tuple[UnixMs, bool]] = {}

    async def learn(self) -> None:
        """Read the tokens whose time has come; one that cannot be read now is tried again at the next call."""
        problem: RpcError | None = None
        for token in self._tokens:
            if self._due_s[token.mint] > self._clock.monotonic_s():
                continue
            try:
                facts = await self._facts_of(token)
            except RpcError as error:
                problem = error
                continue
            self._due_s[token.mint] = self._clock.monotonic_s() + REFRESH_S
            self._emit(facts)
        if problem is not None:
            raise problem

    async def _facts_of(self, token: Token) -> TokenFacts:
        supply = await self._supply(token.mint)
        top = await self._held_by_the_largest(token.mint)
        seen = await self._seen_since(token.mint)
        return TokenFacts(
            mint=token.mint,
            supply=supply / 10**token.decimals,
            top_share=min(1.0, top / supply) if supply else None,
            seen_ms=seen[0] if seen else None,
            seen_is_birth=seen[1] if seen else False,
        )

    async def _supply(self, mint: Mint) -> int:
        answer = await self._pool.call(
            "getTokenSupply",
            [mint, {"commitment": "confirmed"}],
            decode=lambda v: _amount(decode.context(v)[1]["amount"]),
        )
        return answer.result

    async def _held_by_the_largest(self, mint: Mint) -> int:
        """
        Return what the ten largest holders own together, in base units.

        Accounts of programs (an owner off the curve: pools, lockers) are no holders who could sell at will. A node tells
        the twenty largest accounts; among them there are ten people, or the rest is smaller than what they hold.
        """
        answer = await self._pool.call(
            "getTokenLargestAccounts", [mint, {"commitment": "confirmed"}], decode=_largest_accounts
        )
        if not answer.result:
            return 0
        addresses = [address for address, _ in answer.result]
        owners = await self._pool.call(
            "getMultipleAccounts",
            [
                addresses,
                {
                    "commitment": "confirmed",
                    "encoding": "base64",
                    "dataSlice": {"offset": _OWNER_OFFSET, "length": _KEY_BYTES},
                },
            ],
            decode=lambda v: _owners(v, len(addresses)),
        )
        people: dict[Pubkey, int] = {}
        for (_, amount), owner in zip(answer.result, owners.result, strict=True):
            if owner is not None and owner.is_on_curve():
                people[owner] = people.get(owner, 0) + amount
        return sum(sorted(people.values(), reverse=True)[:LARGEST_HOLDERS])

    async def _seen_since(self, mint: Mint) -> tuple[UnixMs, bool] | None:
        """Return an event time at which the token existed, and whether it is its birth; read once."""
        if (known := self._seen.get(mint)) is not None:
            return known
        before: str | None = None
        oldest: UnixMs | None = None
        for _ in range(BIRTH_PAGES):
            page = (await self._rpc.get_signatures_for_address(mint, before=before)).result
            if page:
                last = page[-1]
                before = last.signature
                if self._event_time.by_slot:
                    oldest = self._event_time.at_ms(last.slot)
                elif last.block_time is not None:
                    oldest = last.block_time * 1000
            if len(page) < MAX_SIGNATURES_PAGE:
                break
        whole = oldest is not None and len(page) < MAX_SIGNATURES_PAGE
        if oldest is None:
            return None
        self._seen[mint] = (oldest, whole)
        _log.debug("token's age known", mint=mint, since_ms=oldest, birth=whole)
        return self._seen[mint]


def _largest_accounts(value: Any) -> list[tuple[str, int]]:
    rows = decode.sequence(decode.context(value)[1])
    return [(decode.text(row["address"]), _amount(row["amount"])) for row in rows]


def _amount(value: Any) -> int:
    """Read an amount as token programs hold it: text of an unsigned 64-bit number. A larger one would end the reader."""
    text = decode.text(value)
    if not (text.isascii() and text.isdigit()) or len(text) > MAX_DIGITS or int(text) > MAX_U64:
        raise MalformedAnswer("no amount")
    return int(text)


def _owners(value: Any, count: int) -> list[Pubkey | None]:
    rows = decode.sequence(decode.context(value)[1])
    if len(rows) != count:
        raise MalformedAnswer("another number of accounts than was asked for")
    return [None if row is None else Pubkey.from_bytes(base64.b64decode(row["data"][0])) for row in rows]
