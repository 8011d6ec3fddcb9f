"""Joining the writes of two vaults into prices that are not torn."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tradingbot_engine.market.reserves import SETTLE_SLOTS, Pair, Reserves, Vault


def test_a_price_needs_both_vaults_of_one_slot():
    """One vault alone gives nothing; its other half in the same slot completes the pair."""
    reserves = Reserves()
    assert reserves.write(Vault.BASE, 10, 1000) is None
    assert reserves.write(Vault.QUOTE, 10, 50) == Pair(10, 1000, 50)
    assert reserves.pair == Pair(10, 1000, 50)


def test_halves_of_different_slots_are_never_joined():
    """A base amount of slot 11 with a quote amount of slot 10 would be a price that never was."""
    reserves = Reserves()
    reserves.write(Vault.BASE, 10, 1000)
    reserves.write(Vault.QUOTE, 10, 50)
    assert reserves.write(Vault.BASE, 11, 900) is None
    assert reserves.pair == Pair(10, 1000, 50)
    assert reserves.write(Vault.QUOTE, 12, 60) is None
    assert reserves.pair == Pair(10, 1000, 50)
    assert reserves.write(Vault.BASE, 12, 880) == Pair(12, 880, 60)


def test_the_last_write_in_a_slot_wins_and_waits_for_its_other_half():
    """Two swaps in one slot: after the second one's first half the pair of the first stands, not a mixture."""
    reserves = Reserves()
    reserves.write(Vault.BASE, 10, 1000)
    reserves.write(Vault.QUOTE, 10, 50)
    assert reserves.write(Vault.BASE, 10, 990) is None
    assert reserves.pair == Pair(10, 1000, 50)
    assert reserves.write(Vault.QUOTE, 10, 51) == Pair(10, 990, 51)


def test_a_vault_told_alone_asks_for_a_read_after_some_slots():
    """A deposit into one side and a lost half look alike: nothing is presumed, both vaults are read from one bank."""
    reserves = Reserves()
    reserves.read(9, 1000, 50)
    reserves.write(Vault.QUOTE, 10, 70)
    assert reserves.wants_read(10 + SETTLE_SLOTS - 1) is None
    assert reserves.wants_read(10 + SETTLE_SLOTS) == 10
    assert reserves.read(12, 1000, 70) == Pair(12, 1000, 70)
    assert not reserves.lone
    assert reserves.wants_read(99) is None


def test_a_read_that_is_older_than_the_lone_write_does_not_settle_it():
    """The read says nothing about what was written after it."""
    reserves = Reserves()
    reserves.write(Vault.QUOTE, 10, 70)
    assert reserves.read(9, 1000, 50) == Pair(9, 1000, 50)
    assert reserves.lone
    assert reserves.write(Vault.BASE, 10, 990) == Pair(10, 990, 70)


def test_a_lone_write_is_overtaken_by_the_next_joined_slot():
    """The newer pair needs no read."""
    reserves = Reserves()
    reserves.write(Vault.QUOTE, 10, 70)
    reserves.write(Vault.BASE, 11, 990)
    assert reserves.write(Vault.QUOTE, 11, 71) == Pair(11, 990, 71)
    assert not reserves.lone


def test_what_a_read_told_already_is_not_told_again():
    """A notification of the slot that was read, with the same amount, is no new write."""
    reserves = Reserves()
    assert reserves.read(10, 1000, 50) == Pair(10, 1000, 50)
    assert reserves.write(Vault.BASE, 10, 1000) is None
    assert reserves.write(Vault.QUOTE, 10, 50) is None
    assert not reserves.lone


def test_older_writes_and_reads_are_counted_and_change_nothing():
    """A node that lags behind the one asked before cannot turn the price back."""
    reserves = Reserves()
    reserves.read(10, 1000, 50)
    assert reserves.write(Vault.BASE, 8, 1) is None
    assert reserves.read(7, 1, 1) is None
    assert (reserves.pair, reserves.late) == (Pair(10, 1000, 50), 2)


def test_after_a_fork_lower_slots_count_again():
    """What was known may never have been."""
    reserves = Reserves()
    reserves.read(10, 1000, 50)
    reserves.forget()
    assert reserves.newest == 0
    assert reserves.read(8, 1010, 49) == Pair(8, 1010, 49)


@settings(max_examples=150, deadline=None)
@given(
    swaps=st.lists(st.integers(0, 3), min_size=1, max_size=25),
    one_sided=st.lists(st.tuples(st.integers(1, 25), st.sampled_from(Vault)), max_size=5),
    data=st.data(),
)
def test_every_pair_ever_told_held_at_some_moment(swaps, one_sided, data):
    """
    Whatever the order of the two vaults within a slot and whichever notifications are lost or doubled, no torn price.

    The chain: slot s has swaps[s] swaps (each writes both vaults), and perhaps a deposit into one side. Notifications are
    of the state at the end of the slot (as validators send them), one per changed vault, in any order; some get lost.
    """
    base, quote = 10_000, 500
    truth = {(base, quote)}
    reserves = Reserves()
    reserves.read(0, base, quote)
    for slot, count in enumerate(swaps, start=1):
        changed = set()
        for _ in range(count):
            base, quote = base - 7, quote + 3
            truth.add((base, quote))
            changed = {Vault.BASE, Vault.QUOTE}
        for at, side in one_sided:
            if at == slot:
                base, quote = (base + 11, quote) if side is Vault.BASE else (base, quote + 11)
                truth.add((base, quote))
                changed.add(side)
        told = data.draw(st.permutations([(v, (base, quote)[v]) for v in sorted(changed)]))
        told = [item for item in told if data.draw(st.booleans()) or data.draw(st.booleans())]
        for vault, amount in told:
            pair = reserves.write(vault, slot, amount)
            if pair is not None:
                assert (pair.base, pair.quote) == (base, quote)
        wanted = reserves.wants_read(slot)
        if wanted is not None:
            assert wanted <= slot
            reserves.read(slot, base, quote)
            assert reserves.pair == Pair(slot, base, quote)
        assert reserves.pair is not None
        assert (reserves.pair.base, reserves.pair.quote) in truth
