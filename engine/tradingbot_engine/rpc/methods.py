"""
The JSON-RPC methods that the engine uses, typed; thin: one call, one answer.

Source: Solana's RPC reference (solana.com/docs/rpc/http).
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from functools import cache, partial
from typing import Any, TypeVar

from tradingbot_engine.core.proof import Commitment, SignatureStatus
from tradingbot_engine.domain.units import Address, Lamports, Signature, Slot
from tradingbot_engine.rpc import decode
from tradingbot_engine.rpc.decode import Account, AddressSignature, Blockhash, BlockSignatures, EpochInfo
from tradingbot_engine.rpc.errors import RpcUnavailable
from tradingbot_engine.rpc.pool import MalformedAnswer, RpcAnswer, RpcPool

T = TypeVar("T")

MAX_STATUSES = 256
MAX_ACCOUNTS = 100
MAX_SIGNATURES_PAGE = 1000


class Rpc:
    """
    Typed calls over a pool; `pinned(name)` gives the same calls to one provider only, for evidence that must not mix.

    Raises, everywhere: `RpcError` (see `rpc.errors`).
    """

    def __init__(self, pool: RpcPool, *, provider: str | None = None, timeout_s: float | None = None) -> None:
        self.pool = pool
        self.provider = provider
        self._timeout_s = timeout_s

    def pinned(self, provider: str) -> Rpc:
        """Return the same calls, to `provider` alone."""
        return Rpc(self.pool, provider=provider, timeout_s=self._timeout_s)

    def _call(
        self,
        method: str,
        params: Sequence[Any],
        decode: Callable[[Any], T],
        *,
        exclude: Collection[str] = (),
    ) -> Coroutine[Any, Any, RpcAnswer[T]]:
        return self.pool.call(
            method,
            params,
            decode=decode,
            provider=self.provider,
            exclude=exclude,
            timeout_s=self._timeout_s,
        )

    # --- where a node stands
    async def get_slot(self, commitment: Commitment = "confirmed") -> Slot:
        """Return the node's slot at `commitment`."""
        return (await self._call("getSlot", [{"commitment": commitment}], decode.integer)).result

    async def get_epoch_info(self, commitment: Commitment = "finalized") -> RpcAnswer[EpochInfo]:
        """Return slot and block height at `commitment`, from one bank."""
        return await self._call("getEpochInfo", [{"commitment": commitment}], decode.epoch_info)

    async def get_latest_blockhash(
        self, commitment: Commitment = "confirmed", *, min_context_slot: Slot | None = None
    ) -> RpcAnswer[Blockhash]:
        """
        Return a blockhash to sign with, and L.

        A node whose L or slot contradicts what the nodes show of the chain's heights (`rpc.heights`) is not believed, and
        another one is asked.
        """
        refused: list[str] = []
        while True:
            answer = await self._call(
                "getLatestBlockhash", [_config(commitment, min_context_slot)], decode.blockhash, exclude=tuple(refused)
            )
            told = answer.result
            doubt = self.pool.doubt_of_validity(answer.provider, told.context_slot, told.last_valid_block_height)
            if not doubt:
                return answer
            refused.append(answer.provider)
            if self.provider is not None or len(refused) == len(self.pool.names):
                raise RpcUnavailable(doubt, provider=answer.provider)

    async def get_genesis_hash(self) -> str:
        """Return the hash that names the chain."""
        return (await self._call("getGenesisHash", [], decode.text)).result

    async def get_first_available_block(self) -> Slot:
        """Return the oldest slot of which the node still has the block."""
        return (await self._call("getFirstAvailableBlock", [], decode.integer)).result

    # --- accounts
    async def get_balance(self, address: Address, commitment: Commitment = "confirmed") -> RpcAnswer[Lamports]:
        """Return an account's lamports; 0 if it does not exist."""
        return await self._call("getBalance", [address, {"commitment": commitment}], _balance)

    async def get_minimum_balance_for_rent_exemption(self, size: int) -> Lamports:
        """Return what an account of `size` bytes must hold to be exempt from rent."""
        return (await self._call("getMinimumBalanceForRentExemption", [size], decode.integer)).result

    async def get_account(
        self, address: Address, commitment: Commitment = "confirmed", *, min_context_slot: Slot | None = None
    ) -> RpcAnswer[Account | None]:
        """Return an account, None if it does not exist."""
        return await self._call(
            "getAccountInfo",
            [address, {**_config(commitment, min_context_slot), "encoding": "base64"}],
            _account,
        )

    async def get_multiple_accounts(
        self,
        addresses: Sequence[Address],
        commitment: Commitment = "confirmed",
        *,
        min_context_slot: Slot | None = None,
    ) -> RpcAnswer[tuple[Account | None, ...]]:
        """Return up to 100 accounts as of one slot, in order."""
        return await self._call(
            "getMultipleAccounts",
            [list(addresses), {**_config(commitment, min_context_slot), "encoding": "base64"}],
            _accounts_of(len(addresses)),
        )

    async def get_token_accounts_by_owner(
        self, owner: Address, mint: Address, commitment: Commitment = "confirmed"
    ) -> RpcAnswer[dict[Address, int]]:
        """Return the owner's token accounts of one mint: address → amount in base units."""
        return await self._call(
            "getTokenAccountsByOwner",
            [owner, {"mint": mint}, {"commitment": commitment, "encoding": "jsonParsed"}],
            _token_amounts,
        )

    # --- transactions
    async def send_transaction(
        self, wire: bytes, *, skip_preflight: bool, preflight_commitment: Commitment, exclude: Collection[str] = ()
    ) -> RpcAnswer[Signature]:
        """
        Hand the bytes to a node, which forwards them once (`maxRetries` 0: resending is ours).

        Raises:
            AlreadyProcessed: They are in a block.
            BlockhashNotFound, RpcUnavailable: Unknown whether any node took them.
            PreflightFailed: The last node that was asked did not take them; an earlier one may have.
        """
        config = {
            "encoding": "base64",
            "skipPreflight": skip_preflight,
            "preflightCommitment": preflight_commitment,
            "maxRetries": 0,
        }
        return await self._call(
            "sendTransaction", [base64.b64encode(wire).decode(), config], decode.text, exclude=exclude
        )

    async def get_signature_statuses(
        self, signatures: Sequence[Signature], *, search_history: bool
    ) -> RpcAnswer[tuple[SignatureStatus | None, ...]]:
        """Return up to 256 statuses, in order, as one bank sees them (with history: as it and its archive do)."""
        return await self._call(
            "getSignatureStatuses",
            [list(signatures), {"searchTransactionHistory": search_history}],
            lambda v: decode.statuses(len(signatures), v)[1],
        )

    async def get_transaction(
        self, signature: Signature, commitment: Commitment = "finalized", *, encoding: str = "json"
    ) -> RpcAnswer[dict[str, Any] | None]:
        """Return a transaction with its meta; None while the node does not show it at `commitment`."""
        return await self._call(
            "getTransaction",
            [signature, {"commitment": commitment, "encoding": encoding, "maxSupportedTransactionVersion": 0}],
            decode.optional_object,
        )

    async def get_block_signatures(
        self, slot: Slot, commitment: Commitment = "finalized"
    ) -> RpcAnswer[BlockSignatures | None]:
        """
        Return a block's height and signatures.

        Raises:
            SlotSkipped: There is no block at this slot.
        """
        config = {
            "commitment": commitment,
            "encoding": "json",
            "transactionDetails": "signatures",
            "rewards": False,
            "maxSupportedTransactionVersion": 0,
        }
        return await self._call("getBlock", [slot, config], partial(decode.block_signatures, slot))

    async def get_blocks(self, first: Slot, last: Slot, commitment: Commitment = "finalized") -> tuple[Slot, ...]:
        """Return the slots in [first, last] that have a block."""
        answer = await self._call(
            "getBlocks", [first, last, {"commitment": commitment}], lambda v: tuple(map(decode.integer, v))
        )
        return answer.result

    async def get_block_time(self, slot: Slot) -> int | None:
        """Return when a block was made by the clocks of its voters, Unix seconds; None if nobody knows."""
        answer = await self._call("getBlockTime", [slot], lambda v: None if v is None else decode.integer(v))
        return answer.result

    async def get_signatures_for_address(
        self,
        address: Address,
        *,
        before: Signature | None = None,
        until: Signature | None = None,
        limit: int = MAX_SIGNATURES_PAGE,
        commitment: Commitment = "finalized",
        min_context_slot: Slot | None = None,
    ) -> RpcAnswer[tuple[AddressSignature, ...]]:
        """Return one page of transactions that mention `address`, newest first; both ends exclusive."""
        config = {**_config(commitment, min_context_slot), "limit": limit}
        if before is not None:
            config["before"] = before
        if until is not None:
            config["until"] = until
        return await self._call(
            "getSignaturesForAddress",
            [address, config],
            lambda v: tuple(decode.address_signature(row) for row in decode.sequence(v)),
        )

    async def all_signatures_for_address(
        self,
        address: Address,
        *,
        until: Signature | None = None,
        min_slot: Slot = 0,
        commitment: Commitment = "finalized",
        page: int = MAX_SIGNATURES_PAGE,
    ) -> AsyncIterator[AddressSignature]:
        """Yield all transactions that mention `address`, newest first, down to `until` (exclusive) or `min_slot`."""
        before: Signature | None = None
        while True:
            answer = await self.get_signatures_for_address(
                address, before=before, until=until, limit=page, commitment=commitment
            )
            for row in answer.result:
                if row.slot < min_slot:
                    return
                yield row
            if len(answer.result) < page:
                return
            before = answer.result[-1].signature


def _config(commitment: Commitment, min_context_slot: Slot | None) -> dict[str, Any]:
    if min_context_slot is None:
        return {"commitment": commitment}
    return {"commitment": commitment, "minContextSlot": min_context_slot}


# Decoders of calls that may be shared are functions that stay the same: two calls are equal only if these are.
def _balance(value: Any) -> Lamports:
    return decode.integer(decode.context(value)[1])


def _account(value: Any) -> Account | None:
    return decode.account(decode.context(value)[1])


@cache
def _accounts_of(count: int) -> Callable[[Any], tuple[Account | None, ...]]:
    return partial(_accounts, count)


def _accounts(count: int, value: Any) -> tuple[Account | None, ...]:
    rows = decode.sequence(decode.context(value)[1])
    if len(rows) != count:
        raise MalformedAnswer("another number of accounts than was asked for")
    return tuple(decode.account(row) for row in rows)


def _token_amounts(value: Any) -> dict[Address, int]:
    rows = decode.sequence(decode.context(value)[1])
    return {
        decode.text(row["pubkey"]): int(row["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"])
        for row in rows
    }
