"""A mutant whose text is gone must fail loudly: a refactoring may not disable it in silence."""

from __future__ import annotations

import pytest
from mutants.mutate import MutationMissing, mutated, mutated_text

from tradingbot_engine.core import proof


def _doubled(value: int) -> int:
    """Return twice the value."""
    return value * 2


def test_a_mutant_is_a_copy_with_the_text_replaced() -> None:
    """The original stays as it is, and a mutant may be broken further."""
    once = mutated(_doubled, ("value * 2", "value * 3"))
    assert (_doubled(2), once(2)) == (4, 6)
    assert mutated(once, ("value * 3", "value * 5"))(2) == 10


@pytest.mark.parametrize("change", [("value * 9", "value"), ("value", "worth"), ("value * 2", "value * 2")])
def test_a_text_that_is_missing_ambiguous_or_unchanged_is_refused(change: tuple[str, str]) -> None:
    """Not found, found twice, or replaced by itself."""
    with pytest.raises(MutationMissing):
        mutated(_doubled, change)
    with pytest.raises(MutationMissing):
        mutated_text("SELECT value, value * 2", *change, where="sql")


def test_mutants_see_the_globals_of_the_module_that_they_come_from() -> None:
    """A broken function goes on calling its neighbours, and patches of them."""
    mutant = mutated(proof.prove_expiry, ('Unproven("NoEvidence")', 'Unproven("Broken")'))
    case = proof.Case(1, 1, "g", 1)
    assert mutant(case, ()) == proof.Unproven("Broken")
    assert proof.prove_expiry(case, ()) == proof.Unproven("NoEvidence")
