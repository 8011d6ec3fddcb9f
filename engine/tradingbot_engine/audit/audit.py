"""The audit from end to end: the chain first, then the ledger, then the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tradingbot_engine.audit.books import Books, read_books
from tradingbot_engine.audit.compare import Comparison, compare, missing
from tradingbot_engine.audit.report import Report, Verdict, gap_findings, verdict_of
from tradingbot_engine.audit.walk import PAGE, ChainWalker
from tradingbot_engine.clock import Clock
from tradingbot_engine.errors import PermanentError
from tradingbot_engine.rpc.pool import RpcPool


class WrongLedger(PermanentError):
    """The ledger is another bot's than the settings say."""


async def run_audit(
    *,
    rpc: RpcPool,
    ledger: str | Path,
    clock: Clock,
    marked: bool = True,
    wallet: str | None = None,
    page: int = PAGE,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """
    Prove from the chain what became of every trade in a ledger.

    Args:
        rpc: The public nodes to ask.
        ledger: Path of an SQLite file, or a postgresql:// URL.
        marked: Whether the bot's settings ask for marks.
        wallet: The wallet that the settings name; must be the ledger's.
        page: Signatures per page of the walk.
        progress: Called with (done, all) now and then.

    Raises:
        LedgerUnreadable, WrongLedger, WrongChain: Bad input.
        ChainUnreadable: No node could tell.
    """
    before = await read_books(ledger)
    if wallet is not None and wallet != before.wallet:
        raise WrongLedger(f"the ledger is of wallet {before.wallet}, the settings name {wallet}")
    if before.paper:
        return _paper(before)
    walker = ChainWalker(rpc=rpc, wallet=before.wallet, clock=clock, page=page, progress=progress)
    walked = await walker.walk(genesis_hash=before.genesis_hash or None, needed_slot=before.oldest_slot)
    # Read again after the chain: a transaction that was finalized by then must be in it (or be waited for).
    books = await read_books(ledger)
    transactions, gaps = list(walked.transactions), list(walked.gaps)
    for signature in sorted(missing(transactions, books)):
        found = await walker.find(signature)
        if found is not None:
            transactions.append(found)  # settled after the walk began, or kept back by the node that lists
        elif books.slot_of(signature) > walked.finalized_slot:
            gaps.append(
                f"the node's finalized slot is {walked.finalized_slot}, but the ledger has {signature} "
                f"in slot {books.slot_of(signature)}: the node is behind"
            )
    comparison = compare(transactions, books)
    verdict = verdict_of(comparison, marked=marked, gaps=gaps)
    comparison = replace(comparison, findings=(*comparison.findings, *gap_findings(gaps)))
    slots = f"slots {walked.first_available} to {walked.finalized_slot}"
    return Report(books.bot, books.wallet, verdict, comparison, node=walked.provider, slots=slots)


def _paper(books: Books) -> Report:
    filled = sum(fill.paper for fill in books.fills.values())
    nothing = Comparison(transactions=0, filled=filled, foreign=0, upkeep=0, failed=0, doubled=0, findings=())
    return Report(books.bot, books.wallet, Verdict.PAPER, nothing)
