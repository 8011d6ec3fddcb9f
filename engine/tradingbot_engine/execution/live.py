"""
The live executor: swap instructions, mark, signature, send, and what the chain says of it.

Holds no state about intents. Providers are asked in turn, so that one that lags, drops or hangs costs a turn and no more.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.pubkey import Pubkey

from tradingbot_engine.clock import Clock
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.proof import (
    Case,
    Commitment,
    ExpiryEvidence,
    StatusAnswer,
    Unproven,
    deserves_doubt,
    prove_expiry,
)
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, IntentState, OrderIntent
from tradingbot_engine.domain.signals import Side
from tradingbot_engine.domain.units import SOL_MINT, Epoch, Lamports, Mint, Slot, UnixMs
from tradingbot_engine.errors import TemporaryError
from tradingbot_engine.execution.build import assemble, build_message
from tradingbot_engine.execution.evidence import EvidenceGatherer
from tradingbot_engine.execution.fills import fill_of
from tradingbot_engine.execution.guards import Guards, carries_guard, refused_by_guard
from tradingbot_engine.execution.holdings import Holdings
from tradingbot_engine.execution.limits import check_quote
from tradingbot_engine.execution.plan import SwapPlan, check_plan
from tradingbot_engine.execution.port import (
    Balance,
    Creator,
    GuardTaken,
    Quote,
    Reading,
    SendRejected,
    TransactionTooLarge,
)
from tradingbot_engine.execution.programs import (
    QUOTE_DECIMALS,
    swap_programs,
)
from tradingbot_engine.execution.quoting import Quoter
from tradingbot_engine.execution.signer import Signer
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.execution.tables import LookupTables
from tradingbot_engine.execution.unreadable import ChainUnreadable, unknown
from tradingbot_engine.execution.wallet_change import FillUnbalanced
from tradingbot_engine.key_file import KeyUnusable
from tradingbot_engine.rpc.decode import Blockhash
from tradingbot_engine.rpc.errors import AlreadyProcessed, PreflightFailed, RequestInvalid, RpcError, RpcUnavailable
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EngineSettings

_log = structlog.get_logger(__name__)

VALID_SLOTS = 150
"""A block height grows at most as fast as the slot: before this many slots after the blockhash nothing can have expired."""
FEWER_ACCOUNTS = (32, 20)
"""What `maxAccounts` is lowered to, in turn, when a transaction is too large."""
WORDS_OF_ONE = 3
"""How often the only provider there is must say that a fill does not add up before it is believed."""
BETWEEN_WORDS_S = 1.0
LAMPORTS_PER_MICRO_USDC = 100
"""A bound, not a price: taking SOL at 10 dollars overstates what an amount of USDC is worth in lamports, so doubts sooner."""


async def _put_away(task: asyncio.Task[Blockhash]) -> None:
    """End a task whose result nobody may want any more, and look at its error, so that neither is left behind."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


class LiveExecutor:
    """Trades for real. See `execution.port.Executor` for what each method promises and raises."""

    def __init__(
        self,
        *,
        swap: SwapApi,
        rpc: RpcPool,
        signer: Signer,
        settings: EngineSettings,
        clock: Clock,
        decimals: Mapping[Mint, int] | None = None,
        fair_price: Callable[[Mint], float | None] | None = None,
    ) -> None:
        """
        Besides its collaborators:

        Args:
            decimals: See `quoting.Quoter`; no route may lead over an account of these tokens but the traded one.
            fair_price: See there.
        """
        if signer.address != settings.wallet.address:
            raise KeyUnusable(f"the signer is for {signer.address}, the wallet is {settings.wallet.address}")
        if settings.execution.expiry_proof.providers > len(settings.rpc.endpoints):
            _log.warning(
                "fewer RPC endpoints than execution.expiry_proof.providers: old or large attempts that never landed "
                "stay open until there are more",
                endpoints=len(settings.rpc.endpoints),
                providers=settings.execution.expiry_proof.providers,
            )
        self._swap, self._pool, self._rpc, self._signer, self._clock = swap, rpc, Rpc(rpc), signer, clock
        self._execution = settings.execution
        self._wallet = settings.wallet.address
        self._wallet_key = Pubkey.from_string(self._wallet)
        self._quoter = Quoter(swap=swap, settings=settings, decimals=decimals, fair_price=fair_price)
        self._swap_programs = swap_programs(settings.bot.cluster)
        # Routes pass through the currencies all the time; through another position they have no business to.
        self._other_mints = [Pubkey.from_string(mint) for mint in decimals or () if mint not in QUOTE_DECIMALS]
        self._evidence = EvidenceGatherer(self._rpc)
        self._holdings = Holdings(rpc, wallet=self._wallet_key, providers=self._execution.expiry_proof.providers)
        self._guards = Guards(self._rpc, wallet=self._wallet_key, clock=clock)
        self._tables = LookupTables(rpc=self._rpc, clock=clock)
        # Each kind of question has its own turns: shared, two kinds could fall into step and always meet the same node.
        self._sends, self._looks, self._fills = itertools.count(), itertools.count(), itertools.count()

    @property
    def paper(self) -> bool:
        return False

    async def genesis_hash(self) -> str:
        return await self._rpc.get_genesis_hash()

    # --- before anything leaves
    async def quote(self, intent: OrderIntent) -> Quote:
        return await self._quoter.quote(intent)

    async def prepare(self, record: IntentRecord, quote: Quote, *, epoch: Epoch, now_ms: UnixMs) -> Attempt:
        intent = record.intent
        for max_accounts in (*FEWER_ACCOUNTS, None):
            try:
                return await self._prepare(record, quote, epoch=epoch, now_ms=now_ms)
            except TransactionTooLarge:
                if max_accounts is None:
                    raise
                quote = await self._quoter.quote(intent, max_accounts=max_accounts)
                check_quote(intent, quote, max_price_impact_bps=self._execution.max_price_impact_bps)
        raise AssertionError("unreachable")

    async def _prepare(self, record: IntentRecord, quote: Quote, *, epoch: Epoch, now_ms: UnixMs) -> Attempt:
        intent = record.intent
        max_fee = min(intent.max_priority_fee_lamports, self._execution.priority_fee.max_lamports)
        asking = asyncio.create_task(
            self._recent_blockhash()
        )  # beside the instructions: it waits for nothing of theirs
        try:
            plan = await self._swap.instructions(
                quote, user=self._wallet, level=self._execution.priority_fee.level, max_priority_fee_lamports=max_fee
            )
            input_mint, output_mint = self._quoter.mints(intent)
            check_plan(
                plan,
                wallet=self._wallet_key,
                input_mint=Pubkey.from_string(input_mint),
                output_mint=Pubkey.from_string(output_mint),
                amount_in=intent.amount_in,
                min_amount_out=quote.min_amount_out,
                swap_programs=self._swap_programs,
                other_mints=self._other_mints,
            )
            tables = await self._tables_of(plan)
            rent = await self._guard_rent()
            recent = await asking
        finally:
            await _put_away(asking)
        message = build_message(
            plan,
            wallet=self._wallet_key,
            intent_id=intent.id,
            mark=self._execution.mark,
            max_priority_fee_lamports=max_fee,
            lookup_tables=tables,
            blockhash=recent.blockhash,
            guard_rent_lamports=rent,
        )
        number = record.attempt + 1
        signature = await self._signer.sign(message, intent_id=intent.id, attempt=number, epoch=epoch)
        return Attempt(
            intent_id=intent.id,
            n=number,
            signature=str(signature),
            wire=assemble(message, signature),
            blockhash=recent.blockhash,
            blockhash_slot=recent.context_slot,
            last_valid_block_height=recent.last_valid_block_height,
            epoch=epoch,
            signed_at_ms=now_ms,
            quoted_out=quote.amount_out,
        )

    async def _tables_of(self, plan: SwapPlan) -> tuple[AddressLookupTableAccount, ...]:
        with unknown():
            return await self._tables.get(plan.lookup_table_addresses) if plan.lookup_table_addresses else ()

    async def _guard_rent(self) -> Lamports:
        with unknown():
            return await self._guards.rent() if self._execution.mark == "Guard" else 0

    async def _recent_blockhash(self) -> Blockhash:
        """L comes from our own node and from nobody else."""
        with unknown():
            return (await self._rpc.get_latest_blockhash("confirmed")).result

    # --- bytes leave
    async def send(self, attempt: Attempt, *, first: bool) -> None:
        # Each repetition starts at another provider: one that drops silently must not be the only one that ever hears of it.
        names = self._in_turn(self._sends)
        provider = names[0]
        try:
            try:
                await self._rpc.pinned(provider).send_transaction(
                    attempt.wire, skip_preflight=not first, preflight_commitment="confirmed"
                )
            except TemporaryError:
                if len(names) < 2:
                    raise
                await self._rpc.send_transaction(
                    attempt.wire, skip_preflight=not first, preflight_commitment="confirmed", exclude=(provider,)
                )
        except AlreadyProcessed:
            return
        except (PreflightFailed, RequestInvalid) as error:
            told = error.data.get("err") if isinstance(error.data, dict) else None
            if refused_by_guard(told) and carries_guard(attempt):
                raise GuardTaken(str(error)) from error
            raise SendRejected(str(error)) from error
        except RpcError as error:
            if isinstance(error, TemporaryError):
                raise
            raise ChainUnreadable(str(error)) from error

    # --- what the chain says
    async def look(self, record: IntentRecord, case: Case) -> Reading:
        attempt = record.current
        assert attempt is not None, "only a signed intent can be looked for"
        names = self._in_turn(self._looks)
        answer = await self._first(names, partial(self._evidence.status, attempt.signature))
        if answer.status is not None or record.state is IntentState.CONFIRMED:
            return Reading(answer)
        if answer.context_slot <= case.blockhash_slot + VALID_SLOTS:
            return Reading(answer)
        doubted = self._deserves_doubt(record.intent, attempt, answer.context_slot)
        needed = max(case.providers_needed, self._execution.expiry_proof.providers if doubted else 1)
        pieces: list[ExpiryEvidence] = []
        for name in names:  # all of them if there is doubt: one may know what as many as must agree have lost
            piece = await self._expiry(attempt, case, provider=name, context_slot=answer.context_slot)
            if piece is None:
                known = await self._known(attempt, provider=name) if doubted else None
                if known is not None:
                    return Reading(known)  # it could prove nothing, but it knows
                continue
            if piece.answer.status is not None:
                return Reading(piece.answer)  # it is known after all: that outranks every silence
            alone = prove_expiry(replace(case, providers_needed=1), [piece])
            if alone is IntentEvent.EXPIRE or alone == Unproven("GuardNotAbsent"):  # the last check: all others hold
                pieces.append(piece)
                if not doubted and prove_expiry(replace(case, providers_needed=needed), pieces) is IntentEvent.EXPIRE:
                    break
            elif isinstance(alone, Unproven):
                _log.debug("no proof of expiry", provider=name, reason=alone.reason, signature=attempt.signature)
        return Reading(answer, tuple(pieces), needed)

    async def _expiry(
        self, attempt: Attempt, case: Case, *, provider: str, context_slot: Slot
    ) -> ExpiryEvidence | None:
        try:
            guard = self._guards.address(attempt.intent_id) if case.guarded else None
            return await self._evidence.expiry(
                attempt.signature, case, provider=provider, context_slot=context_slot, guard=guard
            )
        except RpcError as error:
            _log.debug("no evidence", provider=provider, error=str(error))
            return None

    async def _known(self, attempt: Attempt, *, provider: str) -> StatusAnswer | None:
        """Return what `provider` shows of the attempt, None if nothing: its silence counts for nothing here."""
        try:
            answer = await self._evidence.status(attempt.signature, provider=provider)
        except RpcError as error:
            _log.debug("no status", provider=provider, error=str(error))
            return None
        return None if answer.status is None else answer

    def _deserves_doubt(self, intent: OrderIntent, attempt: Attempt, context_slot: Slot) -> bool:
        return deserves_doubt(
            blockhash_slot=attempt.blockhash_slot,
            context_slot=context_slot,
            amount_lamports=lamports_at_stake(intent, attempt, self._quoter.quote_mint),
            above_lamports=self._execution.expiry_proof.above_lamports,
        )

    async def creator(self, record: IntentRecord) -> Creator | None:
        return await self._guards.creator(record.intent.id, providers=self._in_turn(self._fills))

    async def balance(self, mint: Mint, *, min_slot: Slot, finalized: bool) -> Balance | None:
        names = self._in_turn(self._fills) if finalized else ()
        return await self._holdings.balance(mint, names=names, min_slot=min_slot, finalized=finalized)

    async def fill(self, record: IntentRecord, *, finalized: bool) -> Fill | None:
        attempt = record.current
        assert attempt is not None, "only a signed intent can be filled"
        names = self._in_turn(self._fills)
        alone = len({self._pool.independent(name) for name in self._pool.names}) == 1
        doubts: dict[str, set[str]] = {}
        for turn, name in enumerate(names * (WORDS_OF_ONE if alone else 1)):
            if alone and turn:
                await self._clock.sleep(BETWEEN_WORDS_S)
            shown = await self._shown(name, attempt, "finalized" if finalized else "confirmed")
            if shown is None:
                continue
            try:
                return fill_of(
                    shown,
                    intent=record.intent,
                    attempt=attempt,
                    wallet=self._wallet,
                    quote_mint=self._quoter.quote_mint,
                    finalized=finalized,
                )
            except FillUnbalanced as error:
                # One node may be broken or lie: it ends trading only if another one, or it alone again and again, agrees.
                _log.warning("a trade as this node shows it does not add up", provider=name, error=str(error))
                voices = doubts.setdefault(str(error), set())
                voices.add(str(turn) if alone else self._pool.independent(name))
                if len(voices) >= (WORDS_OF_ONE if alone else 2):
                    raise
        return None

    async def _shown(self, provider: str, attempt: Attempt, commitment: Commitment) -> dict[str, Any] | None:
        """Return what `provider` shows of the attempt; without its effects it is as good as not shown."""
        try:
            shown = (await self._rpc.pinned(provider).get_transaction(attempt.signature, commitment)).result
        except RpcError as error:
            _log.debug("transaction not read", provider=provider, error=str(error))
            return None
        return None if shown is None or shown.get("meta") is None else shown

    async def _first(self, names: list[str], ask: Callable[..., Awaitable[StatusAnswer]]) -> StatusAnswer:
        """Return the first answer that any of the providers gives."""
        failure: RpcError = RpcUnavailable("no endpoint may be asked")
        for name in names:
            try:
                return await ask(provider=name)
            except RpcError as error:
                failure = error
        with unknown():
            raise failure

    def _in_turn(self, turns: Iterator[int]) -> list[str]:
        """Return the providers that may be asked, another sound one first each time."""
        names = self._pool.order(next(turns))
        if not names:
            raise RpcUnavailable("no endpoint may be asked")
        return names


def lamports_at_stake(intent: OrderIntent, attempt: Attempt, quote_mint: Mint) -> Lamports:
    """Return at most what an attempt moves, in lamports, for deciding how strict a proof must be."""
    at_stake = intent.amount_in if intent.side is Side.BUY else attempt.quoted_out
    return at_stake if quote_mint == SOL_MINT else at_stake * LAMPORTS_PER_MICRO_USDC
