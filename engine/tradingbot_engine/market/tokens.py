"""What the chain says about the tokens that are traded."""

from __future__ import annotations

from collections.abc import Sequence

from tradingbot_engine.domain.tokens import Token
from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT, Mint
from tradingbot_engine.errors import PermanentError
from tradingbot_engine.market.normalise import AccountData, Malformed, accounts, mint_decimals
from tradingbot_engine.rpc.pool import MalformedAnswer, RpcPool
from tradingbot_engine.settings import EngineSettings

ACCOUNTS_PER_CALL = 100
"""What validators allow in one getMultipleAccounts."""

QUOTE_MINTS: dict[str, Mint] = {"SOL": SOL_MINT, "USDC": USDC_MINT}
QUOTE_DECIMALS: dict[str, int] = {"SOL": 9, "USDC": 6}


class TokenUnknown(PermanentError):
    """A mint in the settings is no token's mint on this chain; every such mint is listed."""


async def resolve_tokens(settings: EngineSettings, rpc: RpcPool) -> list[Token]:
    """
    Return the tokens of the settings, in their order, with the decimals that their mints say.

    Raises:
        TokenUnknown: Some address is not a mint.
        TemporaryError: No node could answer; try again.
    """
    wanted = settings.market.tokens
    found: list[AccountData | None] = []
    for start in range(0, len(wanted), ACCOUNTS_PER_CALL):
        mints = [t.mint for t in wanted[start : start + ACCOUNTS_PER_CALL]]
        found += (await read_accounts(rpc, mints, commitment="confirmed"))[1]
    tokens, problems = [], []
    for token, mint in zip(wanted, found, strict=True):
        try:
            if mint is None:
                raise Malformed("no such account")
            tokens.append(Token(token.mint, token.symbol or token.mint[:4], mint_decimals(mint)))
        except Malformed as error:
            problems.append(f"{token.mint}: {error}")
    if problems:
        raise TokenUnknown("not a token on this chain: " + "; ".join(problems))
    return tokens


async def read_accounts(
    rpc: RpcPool, addresses: Sequence[str], *, commitment: str, min_context_slot: int | None = None
) -> tuple[int, list[AccountData | None]]:
    """
    Read at most 100 accounts as one bank holds them.

    Returns:
        The bank's slot, and one account per address (None where there is none).

    Raises:
        RpcError: Temporary or permanent by its class; a node that answers nonsense was passed over.
    """
    config: dict[str, object] = {"encoding": "base64", "commitment": commitment}
    if min_context_slot is not None:
        config["minContextSlot"] = min_context_slot

    def decode(result: object) -> tuple[int, list[AccountData | None]]:
        try:
            slot, values = accounts(result, len(addresses))
        except Malformed as error:
            raise MalformedAnswer(str(error)) from error
        if min_context_slot is not None and slot < min_context_slot:
            raise MalformedAnswer("older than minContextSlot")  # a node that ignores the question is no evidence
        return slot, values

    answer = await rpc.call("getMultipleAccounts", [list(addresses), config], decode=decode)
    return answer.result
