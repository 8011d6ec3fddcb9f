"""The rules of the protocol that can be left out of the model, one at a time, and the small world in which each matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from model.model_state import Configuration
from mutants.mutate import mutated

from tradingbot_engine.core import proof
from tradingbot_engine.core.intents import TABLE, IntentEvent
from tradingbot_engine.core.proof import Case, ExpiryEvidence
from tradingbot_engine.domain.intents import IntentState as S

Patch = Callable[[pytest.MonkeyPatch], None]

ALONE = Configuration(pods=1, submitted=False, errors=False)
"""One pod, crashes, forks, lagging nodes."""
GHOSTLY = replace(ALONE, ghosts=True)
TOLD_TOO_LOW = replace(ALONE, told_too_low=1)
"""The L that came with the blockhash is a block too low."""
TWO_TASKS = Configuration(one_process=True, submitted=False, errors=False)
TWO_PODS = Configuration(submitted=False, errors=False)
TWO_EXITS = Configuration(attempts=1, intents=2, submitted=False, errors=False, exits_of_one_position=True)


@dataclass(frozen=True)
class Rule:
    """
    One rule to leave out.

    `without` patches the engine's own code, `world` is the configuration with the rule left out, and `sound` the one
    with it: there nothing may break. `also` is left out of both: a rule that would hide this one (defence in depth).
    """

    name: str
    breaks: str
    world: Configuration
    sound: Configuration
    without: Patch | None = None
    also: Patch | None = None
    large: bool = False
    """Takes seconds, so it runs by `make model` only."""


def checks_without(*names: str) -> Patch:
    """Return a patch that leaves the named checks out of rule E."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        known = {name for name, _ in proof.EXPIRY_CHECKS}
        assert set(names) <= known, f"rule E has no {set(names) - known}"
        kept = tuple(check for check in proof.EXPIRY_CHECKS if check[0] not in names)
        monkeypatch.setattr(proof, "EXPIRY_CHECKS", kept)

    return patch


def check_replaced(name: str, *changes: tuple[str, str]) -> Patch:
    """Return a patch that changes the text of the named check of rule E."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        known: dict[str, Callable[[Case, ExpiryEvidence], bool]] = dict(proof.EXPIRY_CHECKS)
        changed = mutated(known[name], *changes)
        kept = tuple((n, changed if n == name else f) for n, f in proof.EXPIRY_CHECKS)
        monkeypatch.setattr(proof, "EXPIRY_CHECKS", kept)

    return patch


def function_replaced(name: str, *changes: tuple[str, str]) -> Patch:
    """Return a patch that changes the text of a function of `core.proof`."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proof, name, mutated(getattr(proof, name), *changes))

    return patch


def row_replaced(state: S, event: IntentEvent, target: S) -> Patch:
    """Return a patch of one existing row of the state table."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        assert (state, event) in TABLE, f"the table has no row {state}, {event}"
        monkeypatch.setitem(TABLE, (state, event), target)

    return patch


def both(*patches: Patch) -> Patch:
    """Return a patch that applies all of `patches`."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        for one in patches:
            one(monkeypatch)

    return patch


NO_WITNESS = checks_without("NoFinalizedWitness")
ONLY_ABOVE_L = check_replaced("NoFinalizedWitness", ("height > true_last_height(case, e.anchor)", "True"))

RULES = [
    # --- rule E, each check of which the model feels on its own
    Rule("status without a witness", "P2", GHOSTLY, GHOSTLY, NO_WITNESS),
    Rule("any block as a witness, finalized or not", "P2", GHOSTLY, GHOSTLY, check_replaced("NoFinalizedWitness", ('w.commitment == "finalized"', "True"))),
    Rule("a witness of any height", "P2", GHOSTLY, GHOSTLY, check_replaced("NoFinalizedWitness", ("height > case.last_valid_block_height", "True"))),
    Rule("a null from a bank that has forgotten", "P2", ALONE, ALONE, checks_without("WrongMemory")),
    Rule("a null from a history that starts too late", "P2", ALONE, ALONE, checks_without("HistoryTooShort")),
    Rule("a null from a history with a hole", "P2", ALONE, ALONE, checks_without("HistoryHasHoles")),
    Rule("a null from another chain", "P2", ALONE, ALONE, checks_without("WrongGenesis")),
    Rule("a late null from one provider", "P2", ALONE, ALONE, function_replaced("providers_needed", ("return providers if doubted else 1", "return 1"))),
    Rule("a late null from one provider asked twice", "P2", ALONE, ALONE, function_replaced("prove_expiry", ("len({piece.answer.provider for piece in evidence})", "len(evidence)"))),
    Rule("expiry although the status is known", "P2", ALONE, ALONE, checks_without("StatusKnown")),
    Rule("a new attempt after a timeout", "P1", ALONE, ALONE, function_replaced("prove_expiry", ('return Unproven("NoEvidence")', "return IntentEvent.EXPIRE"))),
    Rule("height >= L instead of > L", "P1", ALONE, ALONE, both(check_replaced("HeightNotPast", ("block_height > case", "block_height >= case")), check_replaced("NoFinalizedWitness", ("height > case", "height >= case")))),
    Rule("expiry by processed height", "P1", ALONE, ALONE, both(check_replaced("HeightNotPast", ('e.height.commitment == "finalized" and ', "")), check_replaced("NoFinalizedWitness", ('w.commitment == "finalized"', "True")))),
    Rule("a witness above the L that was told, not above the true one", "P2", replace(GHOSTLY, told_too_low=1), replace(GHOSTLY, told_too_low=1), ONLY_ABOVE_L),
    Rule("L believed as it was told", "P1", TOLD_TOO_LOW, TOLD_TOO_LOW, both(checks_without("ValidityNotOver"), ONLY_ABOVE_L)),
    # --- rule E, checks that the witness makes doubly sure: they matter as soon as the witness is gone
    Rule("expiry before the last valid height", "P1", ALONE, ALONE, checks_without("HeightNotPast"), NO_WITNESS),
    Rule("status read before the height", "P1", ALONE, ALONE, checks_without("StatusReadBeforeHeight"), NO_WITNESS),
    Rule("150 blocks above the blockhash's own not waited for", "P1", TOLD_TOO_LOW, TOLD_TOO_LOW, checks_without("ValidityNotOver"), NO_WITNESS),
    Rule("an answer older than the height", "P1", ALONE, ALONE, checks_without("AnswerOlderThanHeight"), NO_WITNESS),
    # --- what else a status establishes, and the table
    Rule("terminal at confirmed", "P3", ALONE, ALONE, function_replaced("read_status", ('if status.commitment == "finalized":', 'if status.commitment in ("confirmed", "finalized"):'))),
    Rule("a fork treated as expiry", "P1", ALONE, ALONE, row_replaced(S.CONFIRMED, IntentEvent.FORK, S.EXPIRED)),
    # --- the ledger's compares and the order of calls
    Rule("no epoch compared", "P4", replace(TWO_PODS, compare_epoch=False), TWO_PODS),
    Rule("the epoch compared without the shard row's lock", "P4", replace(TWO_PODS, lock_shard=False), TWO_PODS),
    Rule("neither epoch nor attempt compared", "P2", replace(TWO_PODS, compare_epoch=False, compare_attempt=False), TWO_PODS, large=True),
    Rule("attempt left out of the compare", "P2", replace(TWO_TASKS, compare_attempt=False), TWO_TASKS),
    Rule("state and attempt left out of the compare", "P1", replace(TWO_TASKS, compare_state=False, compare_attempt=False), TWO_TASKS),
    Rule("send before journal", "P1", replace(ALONE, journal_before_send=False), ALONE),
    Rule("a claim that does not check the open exit", "P7", replace(TWO_EXITS, claim_checks_open_exit=False), TWO_EXITS, large=True),
]  # fmt: skip

MASKED = [
    ("expiry before the last valid height", GHOSTLY, checks_without("HeightNotPast")),
    ("150 blocks above the blockhash's own", replace(GHOSTLY, told_too_low=1), checks_without("ValidityNotOver")),
    ("status read before the height", GHOSTLY, checks_without("StatusReadBeforeHeight")),
    ("an answer older than the height", GHOSTLY, checks_without("AnswerOlderThanHeight")),
    ("the epoch's compare, as far as trades go", replace(TWO_PODS, compare_epoch=False), None),
]
"""Rules that another one backs up: leaving out only this one costs no trade (P4, the ledger's own invariant, apart)."""
