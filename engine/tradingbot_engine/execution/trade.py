"""
The driver: takes one intent from wherever the ledger says it stands to its end.

Recovery and normal work are this one path. Nothing here is remembered that the journal does not hold, so that the process
may die at any line; every change goes through the ledger's compare, and every doubt means *look again*.

Source: `docs/adr/0002-exactly-once.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from tradingbot_engine import crashpoint
from tradingbot_engine.clock import Clock
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.proof import Case, Unproven, prove_expiry, providers_needed, read_status
from tradingbot_engine.core.steps import (
    Abandon,
    Finished,
    Follow,
    NewAttempt,
    case_of,
    next_step,
    resend_is_due,
)
from tradingbot_engine.domain.intents import Attempt, Fill, IntentRecord, IntentState
from tradingbot_engine.domain.signals import Purpose
from tradingbot_engine.errors import LedgerBehindChain, LedgerCorrupt, PermanentError, TemporaryError
from tradingbot_engine.execution.course import Course
from tradingbot_engine.execution.guards import refused_by_guard
from tradingbot_engine.execution.journal import BACKOFF_S, Journal
from tradingbot_engine.execution.limits import check_quote
from tradingbot_engine.execution.port import Executor, GuardTaken, QuoteUnavailable, Reading, SendRejected
from tradingbot_engine.execution.sizing import GiveUp, size_exit
from tradingbot_engine.ledger.port import Ledger, Ownership
from tradingbot_engine.logs import timed
from tradingbot_engine.settings import ExecutionSettings

_log = structlog.get_logger(__name__)
E = IntentEvent

MAX_RETRY_AFTER_S = 5.0
"""A swap API may ask for longer, but an intent's age is looked at in between."""
MAX_TOLD = 300
"""Characters of an error that an intent's reason keeps."""
SLIPPAGE_EXCEEDED = "custom program error: 0x1771"
"""How a preflight tells program error 6001."""
HOPELESS_SLOTS = 400
"""So long after its blockhash no node forwards a transaction any more: resending stops, looking goes on."""

FINAL_AFTER_SLOTS = 31
"""So many slots above its own a confirmed block becomes final: a supermajority has locked out every other fork."""
EAGER_SLOTS = (-1, 4)
"""From one slot before that is due until four after it, looks come `EAGER` times as often: it ends the trade."""
EAGER = 4


@dataclass(frozen=True, slots=True)
class _Maker:
    """Who made the intent's guard account: the attempt's number, 0 for a stranger."""

    n: int


class TradeDriver:
    """
    Drives intents; one instance serves all of them, and holds nothing about any.

    Args of the constructor:
        on_step: Told each record after its step was committed.
        on_send: Told each new attempt just before its first byte leaves.
        recheck: Asked before each attempt, a recovered intent's first one included: a reason (CamelCase) to abandon the
            intent instead, or None.
        hold: While it says True of an intent no attempt is made of it, and no exit is given up for that: the step waits. For
            the time in which it is unknown whether the ledger is an older copy, in which no node may be asked, or in which
            exits go first.
        on_ledger_away: Told why, once each time the ledger begins to be away for somebody who waits for it.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        executor: Executor,
        clock: Clock,
        settings: ExecutionSettings,
        genesis_hash: str,
        on_step: Callable[[IntentRecord], None] | None = None,
        on_send: Callable[[Attempt], None] | None = None,
        recheck: Callable[[IntentRecord], str | None] | None = None,
        hold: Callable[[IntentRecord], bool] | None = None,
        on_ledger_away: Callable[[str], None] | None = None,
    ) -> None:
        self._journal = Journal(ledger, clock=clock, on_step=on_step, on_ledger_away=on_ledger_away)
        self._executor, self._clock, self._settings = executor, clock, settings
        self._genesis_hash = genesis_hash
        self._on_send, self._recheck, self._hold = on_send, recheck, hold

    async def drive(
        self, record: IntentRecord, ownership: Ownership, *, may_attempt: Callable[[], bool]
    ) -> IntentRecord:
        """
        Return the record once it is terminal. May be cancelled at any await: what is open stays journalled.

        Args:
            record: As read under `ownership`.
            ownership: Under which every move is written; never looked up anew.
            may_attempt: False while draining: an attempt in flight is followed, a new one is not made.

        Raises:
            Fenced: Another holder owns the shard: stop.
            FatalError: See there.
        """
        course = Course()
        while True:
            step = next_step(
                record,
                now_ms=self._clock.now_ms(),
                entry_max_age_ms=round(self._settings.entry_max_age_s * 1000),
                entry_max_attempts=self._settings.entry_max_attempts,
                may_attempt=may_attempt(),
                held_until_ms=course.held_until_ms,
            )
            match step:
                case Finished():
                    return record
                case Abandon(reason):
                    if course.rejection:
                        reason = f"PreflightRejected: {reason}: {course.rejection}"
                    elif course.hindered:
                        reason = f"{reason}: {course.hindered}"
                    record = await self._journal.move(record, ownership, E.ABANDON, reason=reason)
                case NewAttempt() if self._held(record):
                    course.held_until_ms = self._clock.now_ms()
                    await self._clock.sleep(self._settings.poll_interval_s)
                    record = await self._journal.read_again(record)
                case NewAttempt():
                    record = await self._attempt(record, ownership, course, may_attempt)
                case Follow():
                    record = await self._follow(record, ownership, course)

    def _held(self, record: IntentRecord) -> bool:
        return self._hold is not None and self._hold(record)

    # --- no attempt is alive
    async def _attempt(
        self, record: IntentRecord, ownership: Ownership, course: Course, may_attempt: Callable[[], bool]
    ) -> IntentRecord:
        """Quote, check, sign, journal. No byte leaves here."""
        if self._recheck is not None and (reason := self._recheck(record)):
            return await self._journal.move(record, ownership, E.ABANDON, reason=reason)
        try:
            amount = await self._amount(record)
            if isinstance(amount, GiveUp):
                _log.warning("exit given up", intent=record.intent.id, reason=amount.reason)
                return await self._journal.move(record, ownership, E.ABANDON, reason=amount.reason, short=amount.short)
            sized = replace(record, intent=replace(record.intent, amount_in=amount))
            with timed(_log, "quote"):
                quote = await self._executor.quote(sized.intent)
            check_quote(sized.intent, quote, max_price_impact_bps=self._settings.max_price_impact_bps)
            with timed(_log, "sign"):
                attempt = await self._executor.prepare(sized, quote, epoch=ownership.epoch, now_ms=self._clock.now_ms())
            if (last := record.current) is not None and attempt.last_valid_block_height <= last.last_valid_block_height:
                # A node that lags may even give the expired attempt's own blockhash, and so the very same signature.
                raise TemporaryError("the blockhash is no younger than the expired attempt's: its node lags")
        except TemporaryError as error:
            course.hindered = str(error)[:MAX_TOLD]
            _log.info("no attempt yet", intent=record.intent.id, error=str(error))
            wait_s = error.retry_after_s if isinstance(error, QuoteUnavailable) else 0.0
            await self._clock.sleep(max(min(wait_s, MAX_RETRY_AFTER_S), self._backoff_s(course)))
            return record
        except PermanentError as error:
            _log.warning("intent given up", intent=record.intent.id, error=str(error))
            return await self._journal.move(record, ownership, E.ABANDON, reason=_reason(error))
        if not may_attempt() or self._held(record):
            return record  # that began while the quote was under way: nothing was journalled, nothing was sent
        if await self._shrank(record, amount):
            return record  # a fork took the purchase back meanwhile: sized anew
        crashpoint.reached("signed:before")
        moved = await self._journal.move(record, ownership, E.SIGN, new_attempt=attempt)
        crashpoint.reached("signed:after")
        ours = moved.current is not None and moved.current.signature == attempt.signature
        if moved.current is not None:
            course.onto(moved.current, fresh=ours)
        return moved

    async def _amount(self, record: IntentRecord) -> int | GiveUp:
        """Return what the next attempt spends: an entry what it was claimed for, an exit what there is."""
        if record.intent.purpose is Purpose.ENTRY:
            return record.intent.amount_in
        amount = await size_exit(record, await self._journal.holding(record), executor=self._executor)
        if not isinstance(amount, GiveUp) and amount < record.intent.amount_in:
            _log.warning("exit of less", intent=record.intent.id, wanted=record.intent.amount_in, there=amount)
        return amount

    async def _shrank(self, record: IntentRecord, amount: int) -> bool:
        """Tell whether an exit's position holds less than `amount` by now."""
        return record.intent.purpose is Purpose.EXIT and (await self._journal.holding(record)).held < amount

    # --- an attempt may be alive
    async def _follow(self, record: IntentRecord, ownership: Ownership, course: Course) -> IntentRecord:
        """Resend if it is time, look once, and move by what is established."""
        attempt = record.current
        if attempt is None:
            raise LedgerCorrupt(f"intent {record.intent.id} is {record.state} without an attempt")
        if course.attempt != attempt.n:
            course.onto(attempt, fresh=False)
        if self._should_send(record, attempt, course):
            sent = await self._send(attempt, course, purpose=record.intent.purpose)
            if sent and record.state is IntentState.SIGNED:
                return await self._journal.move(record, ownership, E.SEND)
        try:
            if course.taken:
                await self._find_creator(record, course)
            reading = await self._executor.look(record, self._case(record, attempt, course))
            moved = await self._establish(record, attempt, ownership, course, reading)
        except TemporaryError as error:
            _log.debug("unknown yet", intent=record.intent.id, error=str(error))
            moved = None
        if moved is None:
            await self._clock.sleep(self._pause_s(record, course))
            return record
        return moved

    def _pause_s(self, record: IntentRecord, course: Course) -> float:
        """Return how long to wait until the next look; hardly at all while finality is due, for which a drain may wait."""
        if record.state is IntentState.CONFIRMED and record.confirmed_slot is not None:
            overdue = course.seen_slot - record.confirmed_slot - FINAL_AFTER_SLOTS
            if EAGER_SLOTS[0] <= overdue <= EAGER_SLOTS[1]:
                return self._settings.poll_interval_s / EAGER
        return self._settings.poll_interval_s

    def _should_send(self, record: IntentRecord, attempt: Attempt, course: Course) -> bool:
        if record.state is IntentState.CONFIRMED or course.seen_slot > attempt.blockhash_slot + HOPELESS_SLOTS:
            return False
        if course.rejected and record.intent.purpose is Purpose.ENTRY:
            return False  # it would only land to fail, for a fee; rule E ends it. An exit asks another node first.
        return resend_is_due(
            now_s=self._clock.monotonic_s(),
            last_send_s=course.last_send_s,
            interval_s=self._settings.resend_interval_s,
        )

    async def _send(self, attempt: Attempt, course: Course, *, purpose: Purpose) -> bool:
        """
        Hand over the journalled bytes; return whether a node took them. Never a new transaction.

        Bytes that a preflight rejected pass another node's preflight or go nowhere: they would land to fail, for a fee. An
        exit that only the price is against is sent all the same: the price may come back, and if not it fails within
        seconds, so that the next one may give way further, where rule E would take minutes.
        """
        first = course.fresh and course.sends == 0
        if first and self._on_send is not None:
            self._on_send(attempt)
        course.last_send_s = self._clock.monotonic_s()
        course.sends += 1
        crashpoint.reached("send:before")
        try:
            with timed(_log, "send", attempt=attempt.n):
                await self._executor.send(attempt, first=first or course.rejected)
            course.rejected, course.rejection = False, ""
        except SendRejected as error:
            _log.info("a node rejects the transaction", intent=attempt.intent_id, error=str(error))
            course.taken = isinstance(error, GuardTaken)
            course.rejected = purpose is Purpose.ENTRY or SLIPPAGE_EXCEEDED not in str(error)
            course.rejection = str(error)
            return False
        except TemporaryError as error:
            _log.info("send: outcome unknown", intent=attempt.intent_id, error=str(error))
            return False
        finally:
            crashpoint.reached("send:after")
        return True

    async def _establish(
        self, record: IntentRecord, attempt: Attempt, ownership: Ownership, course: Course, reading: Reading
    ) -> IntentRecord | None:
        """Return the record after what the reading establishes; None if that is nothing."""
        answer = reading.answer
        if answer is None:
            return None
        course.seen_slot = max(course.seen_slot, answer.context_slot)
        case = self._case(record, attempt, course)
        event = read_status(record.state, case, answer)
        if event is E.FAIL and course.guarded and answer.status is not None and refused_by_guard(answer.status.error):
            maker = await self._find_creator(record, course)
            if maker is None:
                return None  # whoever made the account landed before: the chain will show it
            if maker.n:
                return await self._settle_by(maker.n, record, ownership, landed=True)
        match event:
            case E.CONFIRM | E.FINALIZE | E.FAIL:
                fill = await self._executor.fill(record, finalized=event is not E.CONFIRM)
                status = answer.status
                assert status is not None
                if fill is None or (event is E.FAIL) is not _moved_nothing(fill):
                    return None  # not shown yet, or shown by a node on another fork
                return await self._journal.move(
                    record, ownership, event, fill=fill, confirmed_slot=status.slot, reason=status.error
                )
            case E.FORK:
                _log.warning("a confirmed trade was forked away", intent=record.intent.id)
                moved = await self._journal.move(record, ownership, E.FORK)
                course.last_send_s = None  # its bytes are still valid: send them without waiting for their turn
                # Nodes on two forks would else lead from CONFIRMED to SUBMITTED and back as fast as they answer.
                await self._clock.sleep(self._settings.poll_interval_s)
                return moved
        if answer.status is not None or record.state is IntentState.CONFIRMED or not reading.expiry:
            return None
        newest = max(piece.answer.context_slot for piece in reading.expiry)
        strict = providers_needed(
            blockhash_slot=attempt.blockhash_slot,
            context_slot=newest,
            amount_lamports=0,
            above_lamports=0,
            providers=self._settings.expiry_proof.providers,
        )
        case = replace(case, providers_needed=max(strict, reading.providers_needed))
        if reading.guard_exists:
            # It cannot be that nothing was executed: the attempt is over by the plain rule, and its end is its maker's.
            maker = await self._find_creator(record, course)
            if maker is None:
                return None
            case = replace(case, guarded=False)
            if maker.n:
                alone = replace(case, providers_needed=1)
                over = any(prove_expiry(alone, [piece]) is E.EXPIRE for piece in reading.expiry)
                settles = maker.n == attempt.n or over
                return await self._settle_by(maker.n, record, ownership, landed=False) if settles else None
        proof = prove_expiry(case, reading.expiry)
        if isinstance(proof, Unproven):
            if proof.reason != course.unproven:  # said once, not at every look
                _log.info("expiry unproven", intent=record.intent.id, reason=proof.reason)
                course.unproven = proof.reason
            return None
        return await self._journal.move(record, ownership, E.EXPIRE)

    # --- the guard account is there
    def _case(self, record: IntentRecord, attempt: Attempt, course: Course) -> Case:
        return case_of(record, attempt, genesis_hash=self._genesis_hash, guarded=course.guarded)

    async def _find_creator(self, record: IntentRecord, course: Course) -> _Maker | None:
        """
        Return which attempt made the intent's guard account; None while the chain does not show it.

        Raises:
            LedgerBehindChain: Our wallet did, by a transaction that this ledger does not know.
        """
        creator = await self._executor.creator(record)
        if creator is None:
            return None
        course.taken = False  # answered; a preflight that says it again asks again
        for attempt in record.attempts:
            if attempt.signature == creator.signature:
                _log.warning("executed already, by its guard", intent=record.intent.id, by_attempt=attempt.n)
                return _Maker(attempt.n)
        if creator.ours:
            raise LedgerBehindChain(
                f"intent {record.intent.id} was executed by {creator.signature}, which this ledger does not know: "
                "an older copy of the ledger was put back, or it was lost. Restore the newest copy, or run `tradingbot audit`"
            )
        _log.error("a stranger made the guard account", intent=record.intent.id, transaction=creator.signature)
        return _Maker(0)

    async def _settle_by(
        self, executed: int, record: IntentRecord, ownership: Ownership, *, landed: bool
    ) -> IntentRecord | None:
        """Write that attempt `executed` was the one that succeeded; `landed`: the current one failed by the guard, for a fee."""
        fill = await self._executor.fill(_as_of(record, executed), finalized=True)
        failed = await self._executor.fill(record, finalized=True) if landed else None
        if fill is None or _moved_nothing(fill) or (landed and (failed is None or not _moved_nothing(failed))):
            return None  # not shown yet
        reason = "" if executed == record.attempt else f"AlreadyExecuted: by attempt {executed}"
        return await self._journal.move(record, ownership, E.FINALIZE, fill=fill, failed=failed, reason=reason)

    def _backoff_s(self, course: Course) -> float:
        course.failures += 1
        return BACKOFF_S[min(course.failures, len(BACKOFF_S) - 1)]


def _as_of(record: IntentRecord, attempt: int) -> IntentRecord:
    """Return the record with an earlier attempt as its current one, for reading what that did."""
    return replace(record, attempt=attempt, attempts=tuple(a for a in record.attempts if a.n <= attempt))


def _moved_nothing(fill: Fill) -> bool:
    return fill.base_delta == 0 and fill.quote_delta == 0


def _reason(error: PermanentError) -> str:
    """Return a CamelCase reason with its message."""
    text = str(error)
    return text if ":" in text and text.split(":")[0].isalnum() else f"{type(error).__name__}: {text}"
