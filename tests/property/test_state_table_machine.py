"""The state table under random events, and rule E under random evidence."""

from __future__ import annotations

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tradingbot_engine.core.intents import LIVE, OPEN, TABLE, TERMINAL, IntentEvent, next_state
from tradingbot_engine.core.proof import (
    STATUS_CACHE_SLOTS,
    Anchor,
    BlockList,
    Case,
    ExpiryEvidence,
    HeightReading,
    NodeRange,
    SignatureStatus,
    StatusAnswer,
    Unproven,
    prove_expiry,
    read_status,
)
from tradingbot_engine.core.steps import Abandon, Finished, Follow, NewAttempt, next_step
from tradingbot_engine.domain.intents import IntentRecord, OrderIntent
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.domain.signals import Priority, Purpose, Side

E = IntentEvent


class AnIntent(RuleBasedStateMachine):
    """A row that obeys the table, and a chain on which each attempt is unborn, alive, dead, landed or failed."""

    def __init__(self) -> None:
        super().__init__()
        self.state = S.INTENT
        self.chain: list[str] = []
        self.history = [S.INTENT]

    def _may(self, event: IntentEvent) -> bool:
        """Only facts: an event is offered when the chain, as it stands, could make it true."""
        newest = self.chain[-1] if self.chain else "none"
        return {
            E.SIGN: True,
            E.ABANDON: True,
            E.SEND: newest in ("alive", "landed", "failed"),
            E.CONFIRM: newest == "landed",
            E.FORK: newest == "alive",
            E.FINALIZE: newest == "landed",
            E.FAIL: newest == "failed",
            E.EXPIRE: newest == "dead",
        }[event]

    @rule(event=st.sampled_from(list(E)))
    def happens(self, event: IntentEvent) -> None:
        if not self._may(event):
            return
        after = next_state(self.state, event)
        if after is None:
            return
        if event is E.SIGN:
            self.chain.append("alive")
        if event is E.FINALIZE:
            self.chain[-1] = "final"
        if event is E.FAIL:
            self.chain[-1] = "failed for ever"
        self.state = after
        self.history.append(after)

    @precondition(lambda self: self.chain and self.chain[-1] == "alive")
    @rule(fate=st.sampled_from(["landed", "failed", "dead"]))
    def the_chain_moves(self, fate: str) -> None:
        self.chain[-1] = fate

    @precondition(lambda self: self.chain and self.chain[-1] in ("landed", "failed"))
    @rule()
    def the_chain_forks(self) -> None:
        self.chain[-1] = "alive"

    @invariant()
    def at_most_one_attempt_can_still_land(self) -> None:
        """A second attempt is signed only when every earlier one is dead."""
        assert all(fate == "dead" for fate in self.chain[:-1])

    @invariant()
    def nothing_alive_is_given_up(self) -> None:
        if self.state not in LIVE:
            assert not self.chain or self.chain[-1] in ("dead", "final", "failed for ever")

    @invariant()
    def nothing_leaves_a_terminal_state(self) -> None:
        assert not any(state in TERMINAL for state in self.history[:-1])

    @invariant()
    def expired_is_reached_from_a_journalled_attempt_only(self) -> None:
        for before, after in zip(self.history, self.history[1:], strict=False):
            if after is S.EXPIRED:
                assert before in (S.SIGNED, S.SUBMITTED)


TestAnIntent = AnIntent.TestCase
TestAnIntent.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_every_open_state_can_reach_a_terminal_one() -> None:
    """No row leads into a dead end, and every state is named by the table."""
    reaches = set(TERMINAL)
    while True:
        more = {state for (state, _), after in TABLE.items() if after in reaches} - reaches
        if not more:
            break
        reaches |= more
    assert reaches == set(S)
    assert {state for state, _ in TABLE} == set(OPEN)


@settings(max_examples=300, deadline=None)
@given(
    state=st.sampled_from(list(S)),
    attempt=st.integers(0, 4),
    purpose=st.sampled_from(list(Purpose)),
    age_ms=st.integers(0, 200_000),
    may_attempt=st.booleans(),
    most=st.integers(1, 3),
)
def test_the_driver_asks_only_for_rows_that_the_table_has(
    state: S, attempt: int, purpose: Purpose, age_ms: int, may_attempt: bool, most: int
) -> None:
    """A new attempt and giving up are proposed only where no attempt is alive; whatever is alive is followed."""
    intent = OrderIntent(
        id="a" * 32, strategy="s", mint="m", side=Side.BUY, purpose=purpose, priority=Priority.NORMAL,
        position_id="a" * 32, amount_in=1, reserve_quote=1, reserve_lamports=0, max_slippage_bps=1,
        max_priority_fee_lamports=0, signal_at_ms=0, created_at_ms=0, price=1.0, reason="Test",
    )  # fmt: skip
    record = IntentRecord(intent=intent, shard=0, epoch=1, state=state, attempt=attempt)
    step = next_step(record, now_ms=age_ms, entry_max_age_ms=30_000, entry_max_attempts=most, may_attempt=may_attempt)
    assert isinstance(step, Finished) == (state in TERMINAL)
    assert isinstance(step, Follow) == (state in LIVE)
    if isinstance(step, NewAttempt):
        assert next_state(state, E.SIGN) is S.SIGNED
        assert may_attempt
    if isinstance(step, Abandon):
        assert next_state(state, E.ABANDON) is S.ABANDONED


SLOTS = st.integers(min_value=0, max_value=2_000)
HEIGHTS = st.integers(min_value=0, max_value=1_200)
COMMITMENTS = st.sampled_from(["processed", "confirmed", "finalized"])
STATUSES = st.none() | st.builds(SignatureStatus, SLOTS, COMMITMENTS, st.booleans())
PROVIDERS = st.sampled_from(["a", "b", "c"])
ANSWERS = st.builds(
    StatusAnswer, SLOTS, STATUSES, STATUSES, st.none() | HEIGHTS, st.integers(1, 4), PROVIDERS, st.booleans()
)
CASES = st.builds(
    Case, st.integers(0, 1_500), st.integers(0, 1_000), st.just("g"), st.integers(1, 3), st.none() | SLOTS
)
EVIDENCE = st.builds(
    ExpiryEvidence,
    st.builds(HeightReading, SLOTS, HEIGHTS, st.integers(1, 4), st.sampled_from(["processed", "finalized"])),
    ANSWERS,
    st.builds(NodeRange, PROVIDERS, SLOTS, st.sampled_from(["g", "other"])),
    st.none() | st.builds(Anchor, PROVIDERS, SLOTS, HEIGHTS, st.sampled_from(["", "other"])),
    st.none(),
    st.none() | st.builds(BlockList, PROVIDERS, st.integers(1, 3), SLOTS, HEIGHTS, SLOTS),
)


@st.composite
def good_blocks(draw: st.DrawFn, case: Case, provider: str, height: int) -> BlockList:
    """A list without a hole up to `height`, whose oldest block is the blockhash's or follows it, whatever its height."""
    count = draw(st.integers(1, 200))
    first, parent = draw(
        st.tuples(st.just(case.blockhash_slot), st.integers(0, 2_000))
        | st.tuples(st.integers(case.blockhash_slot, 2_000), st.integers(-1, case.blockhash_slot - 1))
    )
    return BlockList(provider, count, first, height - count + 1, parent)


@st.composite
def good_anchor(draw: st.DrawFn, case: Case, provider: str, height: int) -> Anchor:
    """The blockhash's block or a later one, 151 and more below the height; or another block in its place, twice as far."""
    far = draw(st.integers(0, 100))
    if draw(st.booleans()):
        return Anchor(provider, case.blockhash_slot, height - 301 - far, "other")
    ahead = draw(st.integers(0, 200))
    return Anchor(provider, case.blockhash_slot + ahead, height - 151 - far, case.blockhash)


def _true_last(case: Case, anchor: Anchor) -> int:
    undone = anchor.slot == case.blockhash_slot and anchor.blockhash != case.blockhash
    return anchor.block_height + (300 if undone else 150)


@st.composite
def good_evidence(draw: st.DrawFn, case: Case) -> ExpiryEvidence:
    """Evidence that satisfies rule E, as written in the decision record."""
    past = draw(st.integers(1, 50))
    slot = case.blockhash_slot + draw(st.integers(1, 600))
    context = slot + draw(st.integers(0, 50))
    height = case.last_valid_block_height + past
    provider = draw(PROVIDERS)
    anchor = draw(good_anchor(case, provider, height))
    witness_height = draw(st.integers(1 + max(case.last_valid_block_height, _true_last(case, anchor)), height))
    return ExpiryEvidence(
        HeightReading(slot, height, 1),
        StatusAnswer(
            context, None, SignatureStatus(slot, "finalized", draw(st.booleans())), witness_height, 2, provider,
            context - case.blockhash_slot > STATUS_CACHE_SLOTS,
        ),
        NodeRange(provider, draw(st.integers(0, case.blockhash_slot)), case.genesis_hash),
        anchor,
        None,
        draw(good_blocks(case, provider, height)),
    )  # fmt: skip


def _is_sound(case: Case, e: ExpiryEvidence) -> bool:
    """Rule E said a second time, in one sentence."""
    a = e.answer
    return (
        (e.height.commitment, e.node.genesis_hash, e.node.provider) == ("finalized", case.genesis_hash, a.provider)
        and e.height.block_height > case.last_valid_block_height
        and e.height.order < a.order
        and e.height.slot <= a.context_slot
        and a.status is None
        and a.witness is not None
        and a.witness.commitment == "finalized"
        and (a.witness_height or 0) > case.last_valid_block_height
        and a.history is (a.context_slot > case.blockhash_slot + STATUS_CACHE_SLOTS)
        and e.node.first_available_block <= case.blockhash_slot
        and e.anchor is not None
        and e.anchor.provider == a.provider
        and e.anchor.slot >= case.blockhash_slot
        and min(e.height.block_height, a.witness_height or 0) > _true_last(case, e.anchor)
        and (not a.history or _lists_all(case, e))
    )


def _lists_all(case: Case, e: ExpiryEvidence) -> bool:
    b = e.blocks
    return (
        b is not None
        and b.provider == e.answer.provider
        and (b.first_slot == case.blockhash_slot or not b.first_parent >= case.blockhash_slot)
        and b.first_height + b.count - 1 == e.height.block_height
    )


@settings(max_examples=400, deadline=None)
@given(case=CASES, evidence=st.lists(EVIDENCE, max_size=3))
def test_random_evidence_proves_expiry_only_if_every_piece_is_sound(case: Case, evidence: list[ExpiryEvidence]) -> None:
    """EXPIRE exactly when every piece meets rule E and enough different providers agree."""
    enough = len({e.answer.provider for e in evidence}) >= case.providers_needed
    expected = bool(evidence) and enough and all(_is_sound(case, e) for e in evidence)
    assert (prove_expiry(case, evidence) is E.EXPIRE) == expected


@settings(max_examples=300, deadline=None)
@given(data=st.data(), case=CASES, bad=EVIDENCE)
def test_one_piece_of_bad_evidence_spoils_any_amount_of_good_evidence(
    data: st.DataObject, case: Case, bad: ExpiryEvidence
) -> None:
    """Good evidence proves; adding a piece that is not sound never leaves it proven."""
    case = dataclasses.replace(case, providers_needed=1)
    good = data.draw(st.lists(good_evidence(case), min_size=1, max_size=3))
    assert all(_is_sound(case, e) for e in good)
    assert prove_expiry(case, good) is E.EXPIRE
    if not _is_sound(case, bad):
        place = data.draw(st.integers(0, len(good)))
        assert isinstance(prove_expiry(case, [*good[:place], bad, *good[place:]]), Unproven)


BAD_CHANGES = st.sampled_from(
    [
        lambda c, e: (c, _height(e, block_height=c.last_valid_block_height)),
        lambda c, e: (c, _height(e, commitment="processed")),
        lambda c, e: (c, _height(e, order=3)),
        lambda c, e: (c, _height(e, slot=e.answer.context_slot + 1)),
        lambda c, e: (c, _said(e, status=SignatureStatus(1, "processed", False))),
        lambda c, e: (c, _said(e, witness=None)),
        lambda c, e: (c, _said(e, witness=SignatureStatus(1, "confirmed", False))),
        lambda c, e: (c, _said(e, witness_height=c.last_valid_block_height)),
        lambda c, e: (c, _said(e, witness_height=_true_last(c, e.anchor))),
        lambda c, e: (c, _said(e, history=not e.answer.history)),
        lambda c, e: (c, _said(e, provider="elsewhere")),
        lambda c, e: (dataclasses.replace(c, blockhash_slot=-1), e),
        lambda c, e: (dataclasses.replace(c, genesis_hash="other"), e),
        lambda c, e: (dataclasses.replace(c, providers_needed=2), e),
    ]
)


def _height(e: ExpiryEvidence, **change: object) -> ExpiryEvidence:
    return dataclasses.replace(e, height=dataclasses.replace(e.height, **change))  # type: ignore[arg-type]


def _said(e: ExpiryEvidence, **change: object) -> ExpiryEvidence:
    return dataclasses.replace(e, answer=dataclasses.replace(e.answer, **change))  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(data=st.data(), case=CASES, change=BAD_CHANGES)
def test_every_single_flaw_turns_a_proof_into_none(data: st.DataObject, case: Case, change: object) -> None:
    """Sound evidence with one fact worsened proves nothing: no check is implied by the others."""
    case = dataclasses.replace(case, providers_needed=1)
    worse_case, worse = change(case, data.draw(good_evidence(case)))  # type: ignore[operator]
    assert isinstance(prove_expiry(worse_case, [worse]), Unproven)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), case=CASES, flaw=st.sampled_from(["none", "fewer", "more", "later", "another's"]))
def test_an_old_attempt_needs_a_list_of_blocks_without_a_hole(data: st.DataObject, case: Case, flaw: str) -> None:
    """Beyond the bank's memory sound evidence proves nothing without the list, or with one that a block is missing from."""
    case = dataclasses.replace(case, providers_needed=1)
    good = data.draw(good_evidence(case).filter(lambda e: e.answer.history))
    blocks = good.blocks
    assert blocks is not None
    worse = {
        "none": None,
        "fewer": dataclasses.replace(blocks, count=blocks.count - 1),
        "more": dataclasses.replace(blocks, count=blocks.count + 1),
        "later": dataclasses.replace(blocks, first_slot=case.blockhash_slot + 5, first_parent=case.blockhash_slot + 4),
        "another's": dataclasses.replace(blocks, provider="elsewhere"),
    }[flaw]
    assert prove_expiry(case, [good]) is E.EXPIRE
    assert prove_expiry(case, [dataclasses.replace(good, blocks=worse)]) == Unproven("HistoryHasHoles")


@settings(max_examples=400, deadline=None)
@given(state=st.sampled_from(list(S)), case=CASES, answer=ANSWERS)
def test_a_status_alone_never_expires_and_never_ends_what_is_not_final(
    state: S, case: Case, answer: StatusAnswer
) -> None:
    """One answer establishes at most what it shows: an end only at finality, a fork only for a confirmed attempt."""
    event = read_status(state, case, answer)
    assert event in (None, E.CONFIRM, E.FORK, E.FINALIZE, E.FAIL)
    if event in (E.FINALIZE, E.FAIL):
        assert answer.status is not None
        assert answer.status.commitment == "finalized"
        assert answer.status.failed == (event is E.FAIL)
    if event is E.FORK:
        assert (state, answer.status) == (S.CONFIRMED, None)
        assert case.confirmed_slot is not None
        assert answer.context_slot >= case.confirmed_slot
    if event is not None and state in LIVE:
        assert next_state(state, event) is not None
