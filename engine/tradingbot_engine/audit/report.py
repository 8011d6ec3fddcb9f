"""The audit's answer: a verdict, for machines in one line and for people as a table with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tradingbot_engine.audit.compare import Comparison, Finding, Kind
from tradingbot_engine.domain.units import Address

SHOWN = 200
"""Findings that the JSON line and the table hold at most; the counts count all."""


class Verdict(StrEnum):
    """What was proved."""

    PROVEN = "proven"
    """Nothing doubled, lost or invented, over the whole history."""
    VIOLATED = "violated"
    INCOMPLETE = "incomplete"
    """Nothing wrong was seen, but not everything could be."""
    UNPROVABLE = "unprovable"
    """Trades carry no mark."""
    PAPER = "paper"
    """A paper bot has nothing on chain."""


EXIT_CODES = {
    Verdict.PROVEN: 0,
    Verdict.PAPER: 0,
    Verdict.VIOLATED: 1,
    Verdict.UNPROVABLE: 3,
    Verdict.INCOMPLETE: 4,
}
"""2 is bad input, as everywhere."""

_SAID = {
    Verdict.PROVEN: "no trade was doubled, lost or invented",
    Verdict.PAPER: "a paper bot: nothing is expected on chain, and nothing is to be proved",
    Verdict.VIOLATED: "the chain and the ledger contradict each other",
    Verdict.UNPROVABLE: "trades carry no mark, so nothing can be proved about them",
    Verdict.INCOMPLETE: "nothing wrong was seen, but the history is not whole: this is no proof",
}
_KEYS = (Kind.DOUBLED, Kind.LOST, Kind.PHANTOM, Kind.OPEN)


@dataclass(frozen=True, slots=True)
class Report:
    """One audit."""

    bot: str
    wallet: Address
    verdict: Verdict
    comparison: Comparison
    node: str = ""
    slots: str = ""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    def document(self) -> dict[str, Any]:
        """Return the JSON answer."""
        c = self.comparison
        return {
            "bot": self.bot,
            "wallet": self.wallet,
            "transactions": c.transactions,
            "filled": c.filled,
            **{kind.value: c.count(kind) for kind in _KEYS},
            "foreign": c.foreign,
            "upkeep": c.upkeep,
            "failed": c.failed,
            "verdict": self.verdict.value,
            "findings": [_finding(f) for f in c.findings[:SHOWN]],
        }

    def text(self) -> str:
        """Return the answer for people."""
        c = self.comparison
        told = f"asked {self.node}, {self.slots}" if self.node else ""
        lines = [f"bot {self.bot}, wallet {self.wallet}", *([told] if told else []), ""]
        rows = [
            ("transactions", c.transactions, "signed by the wallet, finalized"),
            ("filled", c.filled, "trades that landed"),
        ]
        rows += [(kind.value, c.count(kind), _MEANING[kind]) for kind in _KEYS]
        rows += [("foreign", c.foreign, "unmarked, for example a person's own trades: no failure")]
        rows += [("upkeep", c.upkeep, "rent of guard accounts that came back: no trade")]
        rows += [("failed", c.failed, "landed with an error and paid a fee")]
        lines += [f"  {name:<13}{number:>8}  {meaning}" for name, number, meaning in rows]
        for finding in c.findings[:SHOWN]:
            lines += ["", f"{finding.kind.value}: {finding.message}"]
            if finding.signature is not None:
                lines.append(
                    f"  transaction {finding.signature}" + (f" in slot {finding.slot}" if finding.slot else "")
                )
            lines.append(f"  {finding.advice}")
        if len(c.findings) > SHOWN:
            lines += ["", f"and {len(c.findings) - SHOWN} more findings"]
        return "\n".join([*lines, "", f"{self.verdict.value.upper()}: {_SAID[self.verdict]}"])


_MEANING = {
    Kind.DOUBLED: "one mark landed more than once",
    Kind.LOST: "landed with our mark, but not so in the ledger",
    Kind.PHANTOM: "filled in the ledger, but not on chain",
    Kind.OPEN: "not followed to their end yet: no failure",
}


def verdict_of(comparison: Comparison, *, marked: bool, gaps: Sequence[str]) -> Verdict:
    """
    Return what was proved.

    Args:
        comparison: The findings.
        marked: Whether the bot is set to mark its transactions.
        gaps: Why the history may not be whole.
    """
    if comparison.count(Kind.DOUBLED) or comparison.count(Kind.LOST):
        return Verdict.VIOLATED
    if gaps:
        return Verdict.INCOMPLETE  # what is not on this chain may be in the part that was not shown
    if comparison.count(Kind.PHANTOM):
        return Verdict.VIOLATED
    if not marked or comparison.count(Kind.UNMARKED):
        return Verdict.UNPROVABLE
    return Verdict.PROVEN


def gap_findings(gaps: Sequence[str]) -> tuple[Finding, ...]:
    """Return findings that say why the history is not whole."""
    advice = "ask a node with the whole history, by --rpc"
    return tuple(Finding(Kind.INCOMPLETE, gap, advice) for gap in gaps)


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind.value,
        "intent": finding.intent,
        "signature": finding.signature,
        "slot": finding.slot,
        "message": finding.message,
        "advice": finding.advice,
    }
