"""The chain against the ledger; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tradingbot_engine.audit.books import LIVE_STATES, OPEN_STATES, Books, ClaimedFill, ClaimedIntent
from tradingbot_engine.audit.transaction import LAMPORTS_PER_SIGNATURE, Landed
from tradingbot_engine.domain.units import SOL_MINT, IntentId, Mint, Signature, Slot


class Kind(StrEnum):
    """What a finding is about."""

    DOUBLED = "doubled"
    """One mark landed more than once."""
    LOST = "lost"
    """Landed with our mark, but the ledger does not know it, or has other amounts."""
    PHANTOM = "phantom"
    """In the ledger as filled, but not on chain."""
    OPEN = "open"
    """Not followed to its end yet."""
    UNMARKED = "unmarked"
    """Our transaction, but without a mark: nothing can be proved about it."""
    INCOMPLETE = "incomplete"
    """The chain's history could not be read as a whole."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know, with what to do about it."""

    kind: Kind
    message: str
    advice: str
    intent: IntentId | None = None
    signature: Signature | None = None
    slot: Slot | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """All findings, and the counts that are no findings."""

    transactions: int
    filled: int
    foreign: int
    upkeep: int
    """Rent of guard accounts on its way back."""
    failed: int
    doubled: int
    findings: tuple[Finding, ...]

    def count(self, kind: Kind) -> int:
        return self.doubled if kind is Kind.DOUBLED else sum(f.kind is kind for f in self.findings)


_AUDIT_BY_HAND = "look the transaction up in an explorer, stop the bot, and restore the newest copy of the ledger"


def compare(transactions: Sequence[Landed], books: Books) -> Comparison:
    """
    Compare the wallet's finalized history, oldest first, with its ledger.

    The ledger must have been read after the chain: what landed since then is not in `transactions`, and what the ledger
    does not know although it landed before is lost.
    """
    own = [t for t in transactions if t.signed]
    by_signature = {t.signature: t for t in own}
    findings: list[Finding] = []
    landed: dict[IntentId, list[Landed]] = defaultdict(list)
    foreign = upkeep = failed = 0
    for transaction in own:
        if not transaction.marks:
            if transaction.signature in books.attempts:
                findings.append(_unmarked(transaction, books))
            elif transaction.reclaims:
                upkeep += 1
            else:
                foreign += 1
            continue
        if transaction.failed:
            failed += 1
        for mark in transaction.marks:
            if transaction.failed:
                findings += _failed(mark, transaction, books)
            else:
                landed[mark].append(transaction)
    doubled = 0
    for mark, copies in landed.items():
        if len(copies) > 1:
            doubled += len(copies) - 1
            findings.append(_doubled(mark, copies))
        # Of a doubled mark only the landing that the ledger has is looked at further: the others are told above.
        known = [t for t in copies if t.signature in books.fills] or copies[:1]
        findings += _landed(mark, known[0], books)
    findings += _phantoms(by_signature, books)
    findings += _open(books, by_signature)
    return Comparison(
        transactions=len(own),
        filled=len(landed),
        foreign=foreign,
        upkeep=upkeep,
        failed=failed,
        doubled=doubled,
        findings=tuple(findings),
    )


def missing(transactions: Iterable[Landed], books: Books) -> set[Signature]:
    """Return signatures that the ledger claims to be finalized but the walk did not meet: to be asked for one by one."""
    met = {t.signature for t in transactions}
    claimed = {f.signature for f in books.fills.values() if f.finalized and not f.paper}
    return (claimed | {a.signature for a in books.attempts.values() if a.state == "FAILED"}) - met


def _doubled(mark: IntentId, copies: Sequence[Landed]) -> Finding:
    return Finding(
        Kind.DOUBLED,
        f"intent {mark} was executed {len(copies)} times: {', '.join(t.signature for t in copies)}",
        "stop the bot and close the surplus position by hand; then find out how two attempts could live at once",
        mark,
        copies[-1].signature,
        copies[-1].slot,
    )


def _unmarked(transaction: Landed, books: Books) -> Finding:
    intent_id = books.attempts[transaction.signature].intent_id
    return Finding(
        Kind.UNMARKED,
        f"the ledger's transaction {transaction.signature} carries no mark",
        "set execution.mark to Memo or Guard: without a mark a second landing cannot be told from a person's own trade",
        intent_id,
        transaction.signature,
        transaction.slot,
    )


def _lost(mark: IntentId, transaction: Landed, message: str, advice: str = _AUDIT_BY_HAND) -> Finding:
    return Finding(Kind.LOST, message, advice, mark, transaction.signature, transaction.slot)


def _known(mark: IntentId, transaction: Landed, books: Books) -> ClaimedIntent | Finding:
    """Return the intent if the ledger has both it and this transaction as an attempt of it."""
    intent = books.intents.get(mark)
    if intent is None:
        return _lost(mark, transaction, f"landed with the mark of intent {mark}, which the ledger does not know")
    attempt = books.attempts.get(transaction.signature)
    if attempt is None:
        return _lost(mark, transaction, f"landed for intent {mark}, but the ledger knows no such attempt of it")
    if attempt.intent_id != mark:
        return _lost(
            mark, transaction, f"landed with the mark of {mark}, but the ledger has it under {attempt.intent_id}"
        )
    return intent


def _still_open(intent: ClaimedIntent, transaction: Landed, books: Books) -> bool:
    """Whether the ledger is still waiting for just this transaction."""
    return intent.state in LIVE_STATES and books.attempts[transaction.signature].n == intent.attempt


def _landed(mark: IntentId, transaction: Landed, books: Books) -> Iterator[Finding]:
    intent = _known(mark, transaction, books)
    if isinstance(intent, Finding):
        yield intent
        return
    fill = books.fills.get(transaction.signature)
    if intent.state not in ("DONE", "CONFIRMED") and not _still_open(intent, transaction, books):
        yield _lost(mark, transaction, f"succeeded on chain, but the ledger says {intent.state}")
    elif _still_open(intent, transaction, books) and (fill is None or not fill.finalized):
        return  # a provisional fill may be of a fork that is gone; following the intent to its end replaces it
    elif fill is not None and not fill.paper:
        differences = list(_differences(fill, transaction, intent, books.quote_mint))
        if differences:
            yield _lost(mark, transaction, "the ledger has other amounts: " + "; ".join(differences))
    else:
        yield _lost(mark, transaction, f"succeeded on chain, the ledger says {intent.state} but has no fill")


def _failed(mark: IntentId, transaction: Landed, books: Books) -> Iterator[Finding]:
    intent = _known(mark, transaction, books)
    if isinstance(intent, Finding):
        yield intent
        return
    if _still_open(intent, transaction, books):
        return
    attempt = books.attempts[transaction.signature]
    if attempt.state != "FAILED":
        message = f"failed on chain and paid {transaction.fee} lamports, the ledger says {attempt.state}"
        yield _lost(mark, transaction, message)
        return
    differences = [
        f"{name} {claimed} instead of {true}"
        for name, claimed, true in (
            ("landed_slot", attempt.landed_slot, transaction.slot),
            ("fee_lamports", attempt.fee, transaction.fee),
            ("lamport_delta", attempt.lamport_delta, transaction.lamports),
        )
        if claimed != true
    ]
    if differences:
        yield _lost(mark, transaction, "failed on chain, the ledger has other amounts: " + "; ".join(differences))


def _differences(fill: ClaimedFill, on_chain: Landed, intent: ClaimedIntent, quote_mint: Mint) -> Iterator[str]:
    """Yield what the ledger has otherwise than the chain, field by field."""
    base_fee = LAMPORTS_PER_SIGNATURE * on_chain.signatures
    for name, claimed, true in (
        ("slot", fill.slot, on_chain.slot),
        ("lamport_delta", fill.lamport_delta, on_chain.lamports),
        ("base_fee_lamports", fill.base_fee, base_fee),
        ("priority_fee_lamports", fill.priority_fee, on_chain.fee - base_fee),
    ):
        if claimed != true:
            yield f"{name} {claimed} instead of {true}"
    for name, claimed, mint in (
        ("base_delta", fill.base_delta, intent.mint),
        ("quote_delta", fill.quote_delta, quote_mint),
    ):
        true = on_chain.swapped.get(mint, 0)
        if claimed != true and not (mint in on_chain.fee_mints and claimed == on_chain.balances.get(mint, 0)):
            yield f"{name} {claimed} instead of {true}"
    by_swap = fill.quote_delta if quote_mint == SOL_MINT and not on_chain.failed else 0
    adds_up = by_swap - fill.base_fee - fill.priority_fee - fill.tip - fill.rent
    if fill.lamport_delta != adds_up:
        yield f"its lamports do not add up: {fill.lamport_delta} instead of {adds_up} (swap, fees, tip, rent)"


def _phantoms(by_signature: Mapping[Signature, Landed], books: Books) -> Iterator[Finding]:
    settled: set[IntentId] = set()
    for fill in books.fills.values():
        if fill.paper or not fill.finalized:
            continue
        settled.add(fill.intent_id)
        transaction = by_signature.get(fill.signature)
        if transaction is None:
            yield _phantom(fill.intent_id, fill.signature, fill.slot, "is finalized in the ledger, but not on chain")
        elif transaction.failed:
            yield _phantom(fill.intent_id, fill.signature, fill.slot, "is filled in the ledger, but failed on chain")
    for attempt in books.attempts.values():
        if attempt.state == "FAILED":
            settled.add(attempt.intent_id)
            if attempt.signature not in by_signature:
                what = "failed and paid its fee by the ledger, but is not on chain"
                yield _phantom(attempt.intent_id, attempt.signature, attempt.landed_slot, what)
    for intent in books.intents.values():
        if intent.state in ("DONE", "FAILED") and intent.id not in settled and not _is_paper(intent.id, books):
            yield _phantom(intent.id, None, None, f"is {intent.state} in the ledger without a finalized transaction")


def _is_paper(intent_id: IntentId, books: Books) -> bool:
    return any(fill.paper and fill.intent_id == intent_id for fill in books.fills.values())


def _phantom(intent: IntentId, signature: Signature | None, slot: Slot | None, message: str) -> Finding:
    return Finding(
        Kind.PHANTOM,
        f"intent {intent} {message}",
        "the bot believes in money that it does not have: stop it, and compare its positions with the wallet",
        intent,
        signature,
        slot,
    )


def _open(books: Books, by_signature: Mapping[Signature, Landed]) -> Iterator[Finding]:
    newest = {(a.intent_id, a.n): a.signature for a in books.attempts.values()}
    for intent in books.intents.values():
        if intent.state not in OPEN_STATES:
            continue
        signature = newest.get((intent.id, intent.attempt))
        on_chain = by_signature.get(signature) if signature is not None else None
        what = (
            "and landed" if on_chain is not None and not on_chain.failed else "" if on_chain is None else "and failed"
        )
        yield Finding(
            Kind.OPEN,
            f"intent {intent.id} is {intent.state} {what}".strip(),
            "journalled and safe: the next run follows it to its end",
            intent.id,
            signature,
            on_chain.slot if on_chain is not None else None,
        )
