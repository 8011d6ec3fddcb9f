"""Rule E's evidence: one provider, in order, and any doubt is no evidence."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from scripted_rpc import Complaint, ScriptedNode, serving

from tradingbot_engine.clock import SystemClock
from tradingbot_engine.core.intents import IntentEvent
from tradingbot_engine.core.proof import Case, ExpiryEvidence, Unproven, prove_expiry
from tradingbot_engine.execution import evidence
from tradingbot_engine.execution.evidence import EvidenceGatherer
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool

CASE = Case(blockhash_slot=1000, last_valid_block_height=900, genesis_hash="ours", providers_needed=1, blockhash="b")


class Node:
    """A node's answers, each of which a test may change; heights are 300 below slots."""

    def __init__(self, **changes: Any) -> None:
        self.finalized, self.processed = 1205, 1237
        self.first_available, self.genesis = 0, "ours"
        self.ours: Any = None
        self.empty: set[int] = set()
        self.skipped: set[int] = set()
        self.lost: set[int] = set()
        """Slots of blocks that this node has not got, and does not say so."""
        self.known_witness: Any = "finalized"
        self.fails = ""
        self.guard, self.rooted = False, 10**9
        self.__dict__.update(changes)

    def __call__(self, method: str, params: list[Any]) -> Any:
        if method == self.fails:
            raise Complaint(-32603, "Internal error")
        return getattr(self, method)(*params)

    def getEpochInfo(self, config: Any) -> Any:
        slot = {"finalized": self.finalized, "processed": self.processed}[config["commitment"]]
        return {"absoluteSlot": slot, "blockHeight": slot - 300, "epoch": 1}

    def getBlock(self, slot: int, config: Any) -> Any:
        assert config["commitment"] == "finalized"
        if slot in self.skipped | self.lost:
            raise Complaint(-32007, f"Slot {slot} was skipped")
        signatures = [] if slot in self.empty else [f"w{slot}"]
        # Only slots between 1000 and the finalized one are skipped, and from there on heights are the slots' less 300.
        later = sum(s >= slot for s in self.skipped)
        parent = max(s for s in range(slot - 50, slot) if s not in self.skipped)
        return {"blockHeight": slot - 300 + later, "parentSlot": parent, "blockhash": "b", "signatures": signatures}

    def getBlocks(self, first: int, last: int, config: Any) -> Any:
        assert config["commitment"] == "finalized"
        assert last <= self.finalized
        return [s for s in range(first, last + 1) if s not in self.skipped | self.lost]

    def getSignatureStatuses(self, signatures: list[str], config: Any) -> Any:
        witness = (
            None
            if self.known_witness is None
            else {"slot": 1200, "err": None, "confirmationStatus": self.known_witness, "confirmations": None}
        )
        value = [self.ours, *([witness] if len(signatures) > 1 else [])]
        return {"context": {"slot": self.processed}, "value": value}

    def getAccountInfo(self, address: str, config: Any) -> Any:
        assert (address, config["commitment"], config["minContextSlot"]) == ("guard", "finalized", self.finalized)
        if self.finalized > self.rooted:
            raise Complaint(-32016, "Minimum context slot has not been reached")
        account = {"lamports": 890880, "owner": "1" * 32, "data": ["", "base64"], "executable": False, "rentEpoch": 0}
        return {"context": {"slot": min(self.rooted, self.processed)}, "value": account if self.guard else None}

    def getFirstAvailableBlock(self) -> Any:
        return self.first_available

    def getGenesisHash(self) -> Any:
        return self.genesis


@asynccontextmanager
async def gathering(*nodes: Node) -> AsyncIterator[tuple[EvidenceGatherer, list[ScriptedNode]]]:
    servers = [ScriptedNode(node) for node in nodes]
    async with (
        serving(*servers) as endpoints,
        RpcPool(endpoints, request_timeout_s=5, max_in_flight=10, clock=SystemClock(), slot_s=0.001) as pool,
    ):
        yield EvidenceGatherer(Rpc(pool)), servers


async def verdict(node: Node, case: Case = CASE, context_slot: int = 1237) -> Any:
    async with gathering(node) as (gatherer, _):
        piece = await gatherer.expiry("sig", case, provider="n0", context_slot=context_slot)
    return None if piece is None else prove_expiry(case, [piece])


async def test_the_height_is_read_first_then_the_witness_then_both_statuses_in_one_question() -> None:
    """A status read before the height could become true in between; two questions could go to two banks."""
    async with gathering(Node()) as (gatherer, (server,)):
        piece = await gatherer.expiry("sig", CASE, provider="n0", context_slot=1237)
    assert piece is not None
    assert IntentEvent.EXPIRE is prove_expiry(CASE, [piece])
    assert server.methods() == [
        "getEpochInfo",
        "getBlock",
        "getSignatureStatuses",
        "getFirstAvailableBlock",
        "getGenesisHash",
        "getBlock",
    ]
    assert server.calls[0][1] == [{"commitment": "finalized"}]
    assert server.calls[2][1] == [["sig", "w1205"], {"searchTransactionHistory": False}]


async def test_an_attempt_whose_last_valid_height_was_told_too_low_is_not_expired_before_the_chain_says_so() -> None:
    """The block of the blockhash stands at height 700: until 851 is final the attempt may land, whatever L was told."""
    low = replace(CASE, last_valid_block_height=720)
    for finalized, proven in ((1149, Unproven("ValidityNotOver")), (1150, Unproven("ValidityNotOver"))):
        assert await verdict(Node(finalized=finalized, processed=1180), low, 1180) == proven
    assert await verdict(Node(finalized=1151, processed=1180), low, 1180) is IntentEvent.EXPIRE


async def test_a_witness_above_the_l_that_was_told_and_not_above_the_true_one_is_none() -> None:
    """
    A bank that left the chain right above its witness lacks what landed after that: the witness must be above all of it.

    The final height is past the true L of 850 (1,150), and the youngest block with a signature is the one that is shown.
    """
    low = replace(CASE, last_valid_block_height=720)
    for youngest, proven in ((1149, False), (1150, False), (1151, True)):
        node = Node(finalized=1160, processed=1180, empty=set(range(youngest + 1, 1161)))
        got = await verdict(node, low, 1180)
        assert got == (IntentEvent.EXPIRE if proven else Unproven("NoFinalizedWitness")), youngest
    undone = replace(low, blockhash="another")  # nobody can tell how old it is: twice as many blocks
    node = Node(finalized=1302, processed=1310, empty={1301, 1302})
    assert await verdict(node, undone, 1310) == Unproven("NoFinalizedWitness")


async def test_a_blockhash_that_is_not_of_its_slot_on_the_final_chain_must_be_twice_as_old() -> None:
    """A fork undid its block, or the node that gave it named a wrong slot: nobody can tell how old it is."""
    case = replace(CASE, last_valid_block_height=720, blockhash="another")
    for finalized, expired in ((1205, False), (1300, False), (1301, True)):
        node = Node(finalized=finalized, processed=finalized + 1)
        context = 1205 if finalized < 1300 else 1301
        got = await verdict(node, replace(case, blockhash_slot=1000), context)
        assert (got is IntentEvent.EXPIRE) is expired, (finalized, got)


async def test_where_the_blockhash_s_slot_shows_no_block_the_next_one_tells() -> None:
    """It is higher than the blockhash's own: lost, skipped or undone, the attempt is not taken for older than it is."""
    low = replace(CASE, last_valid_block_height=720)
    for finalized, expired in ((1151, False), (1152, True)):
        got = await verdict(Node(finalized=finalized, processed=1180, lost={1000}), low, 1180)
        assert (got is IntentEvent.EXPIRE) is expired, (finalized, got)


async def test_without_the_block_of_the_blockhash_or_one_after_it_nothing_is_proven() -> None:
    """A node that shows no block there is no judge of how long the attempt lives."""
    piece = None
    async with gathering(Node(lost=set(range(1000, 1201)))) as (gatherer, _):
        piece = await gatherer.expiry("sig", CASE, provider="n0", context_slot=1237)
    assert piece is not None
    assert piece.anchor is None
    assert prove_expiry(CASE, [piece]) == Unproven("ValidityNotOver")
    sound = await _piece(Node())
    assert sound.anchor is not None
    for change in ({"provider": "n9"}, {"slot": 999}, {"block_height": 755}):
        changed = replace(sound, anchor=replace(sound.anchor, **change))
        assert prove_expiry(CASE, [changed]) == Unproven("ValidityNotOver"), change


async def _piece(node: Node) -> ExpiryEvidence:
    async with gathering(node) as (gatherer, _):
        piece = await gatherer.expiry("sig", CASE, provider="n0", context_slot=1237)
    assert piece is not None
    return piece


async def test_at_exactly_the_last_valid_height_nothing_is_proven() -> None:
    """Strictly greater: validators compare the parent's height."""
    assert await verdict(Node(finalized=1200)) is None
    assert IntentEvent.EXPIRE is await verdict(Node(finalized=1201))


async def test_every_question_goes_to_the_same_provider() -> None:
    """Readings of two nodes prove nothing together."""
    async with gathering(Node(), Node()) as (gatherer, servers):
        await gatherer.expiry("sig", CASE, provider="n1", context_slot=1237)
    assert (servers[0].calls, len(servers[1].calls)) == ([], 6)


@pytest.mark.parametrize(
    "method", ["getEpochInfo", "getBlock", "getSignatureStatuses", "getFirstAvailableBlock", "getGenesisHash"]
)
async def test_any_error_on_the_way_is_no_evidence(method: str) -> None:
    """Unknown is never expired, whichever question failed."""
    with pytest.raises(RpcError):
        await verdict(Node(fails=method))


async def test_empty_and_skipped_blocks_are_passed_over_for_a_witness_above_the_height() -> None:
    """A quiet chain has blocks without signatures."""
    assert IntentEvent.EXPIRE is await verdict(Node(empty={1205, 1203}, skipped={1204}))
    assert await verdict(Node(empty={1205, 1204, 1203, 1202, 1201})) is None


async def test_beyond_the_status_window_history_is_asked_and_inside_it_is_not() -> None:
    """Inside, one bank must answer for both; beyond, only history can know."""
    old = Node(finalized=1400, processed=1432)
    async with gathering(old) as (gatherer, (server,)):
        piece = await gatherer.expiry("sig", CASE, provider="n0", context_slot=1432)
        assert piece is not None
        assert piece.answer.history
        # The window closed between the last look and now: the wrong kind of answer is asked for again.
        piece = await gatherer.expiry("sig", CASE, provider="n0", context_slot=1299)
        assert piece is not None
        assert piece.answer.history
        assert IntentEvent.EXPIRE is prove_expiry(CASE, [piece])
    assert [p[1]["searchTransactionHistory"] for m, p in server.calls if m == "getSignatureStatuses"] == [
        True,
        False,
        True,
    ]


async def old_verdict(node: Node, case: Case = CASE) -> Any:
    """The verdict on an attempt of which only history can tell."""
    node.finalized, node.processed = 1400, 1432
    return await verdict(node, case, context_slot=1432)


async def test_an_old_attempt_is_dead_only_by_a_node_that_has_every_block_since_its_blockhash() -> None:
    """Slots without a block are no hole: the heights tell, wherever the blockhash's own block went."""
    assert IntentEvent.EXPIRE is await old_verdict(Node())
    assert IntentEvent.EXPIRE is await old_verdict(Node(skipped={1001, 1150, 1151}))
    assert IntentEvent.EXPIRE is await old_verdict(Node(skipped={1000, 1001}))  # the blockhash's block lost to a fork


@pytest.mark.parametrize(
    "lost", [{1000}, {1000, 1001, 1002}, {1001}, {1150, 1151}, {1399}, {1400}, set(range(1000, 1401))]
)
async def test_a_node_that_lacks_a_block_since_the_blockhash_and_does_not_say_so_proves_nothing(lost: set[int]) -> None:
    """The landing may be in the block that it has lost, at the beginning, in the middle or at the end."""
    node = Node(lost=lost, finalized=1400, processed=1432, empty={1400, 1399})
    assert await old_verdict(node) in (Unproven("HistoryHasHoles"), None)
    async with gathering(node) as (gatherer, _):
        if lost == set(range(1000, 1401)):
            return  # nor has it a witness
        piece = await gatherer.expiry("sig", CASE, provider="n0", context_slot=1432)
    assert piece is not None
    assert prove_expiry(CASE, [piece]) == Unproven("HistoryHasHoles")
    assert IntentEvent.EXPIRE is await verdict(Node(lost=lost)), "of a young attempt the bank tells, and no history"


async def test_a_long_history_is_listed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes refuse more than 500,000 slots at once; the pieces join without gap or overlap."""
    assert evidence.SLOTS_PER_LIST <= 500_000
    monkeypatch.setattr(evidence, "SLOTS_PER_LIST", 100)
    async with gathering(Node(finalized=1400, processed=1432)) as (gatherer, (server,)):
        piece = await gatherer.expiry("sig", CASE, provider="n0", context_slot=1432)
    assert piece is not None
    assert prove_expiry(CASE, [piece]) is IntentEvent.EXPIRE
    asked = [params[:2] for name, params in server.calls if name == "getBlocks"]
    assert asked == [[1000, 1099], [1100, 1199], [1200, 1299], [1300, 1399], [1400, 1400]]


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (Node(known_witness=None), "NoFinalizedWitness"),
        (Node(known_witness="confirmed"), "NoFinalizedWitness"),
        (Node(processed=1204), "AnswerOlderThanHeight"),
        (Node(first_available=1001), "HistoryTooShort"),
        (Node(genesis="theirs"), "WrongGenesis"),
        (Node(ours={"slot": 1100, "err": None, "confirmationStatus": "processed", "confirmations": 3}), "StatusKnown"),
    ],
)
async def test_a_node_on_a_dead_fork_lagging_with_holes_or_of_another_chain_proves_nothing(
    node: Node, reason: str
) -> None:
    """Each check of rule E has a node that it is there for."""
    assert Unproven(reason) == await verdict(node)


async def test_one_provider_under_two_names_is_one_provider() -> None:
    """Another key, or a slash at the end, makes no second witness of the same host and path."""
    strict = replace(CASE, providers_needed=2)
    async with serving(ScriptedNode(Node()), ScriptedNode(Node())) as (first, second):
        url = first.url.get_secret_value()
        alias = first.model_copy(update={"name": "alias", "url": SecretStr(url + "/?api-key=another")})
        async with RpcPool((first, alias, second), request_timeout_s=5, max_in_flight=10, clock=SystemClock()) as pool:
            gatherer = EvidenceGatherer(Rpc(pool))
            pieces = [
                await gatherer.expiry("sig", strict, provider=n, context_slot=1237) for n in ("n0", "alias", "n1")
            ]
    one, again, two = (p for p in pieces if p is not None)
    assert Unproven("TooFewProviders") == prove_expiry(strict, [one, again])
    assert IntentEvent.EXPIRE is prove_expiry(strict, [again, two])
    assert "sesame" not in repr(pieces)


async def test_two_providers_must_agree_where_two_are_asked_for() -> None:
    """One provider twice is not two providers."""
    strict = replace(CASE, providers_needed=2)
    async with gathering(Node(), Node()) as (gatherer, _):
        pieces = [await gatherer.expiry("sig", strict, provider=n, context_slot=1237) for n in ("n0", "n1", "n0")]
    assert all(pieces)
    first, second, again = (p for p in pieces if p is not None)
    assert Unproven("TooFewProviders") == prove_expiry(strict, [first, again])
    assert IntentEvent.EXPIRE is prove_expiry(strict, [first, second])


# --- with the guard
OLD = Case(
    blockhash_slot=1000,
    last_valid_block_height=900,
    genesis_hash="ours",
    providers_needed=2,
    guarded=True,
    blockhash="b",
)


async def guarded(node: Node, case: Case = OLD) -> ExpiryEvidence:
    async with gathering(node) as (gatherer, _):
        piece = await gatherer.expiry("sig", case, provider="n0", context_slot=1432, guard="guard")
    assert piece is not None
    return piece


async def test_with_the_guard_absent_at_finalized_one_provider_is_enough_for_an_old_attempt() -> None:
    """An account needs no memory: what else is asked of rule E stays."""
    node = Node(finalized=1400, processed=1432)
    piece = await guarded(node)
    assert piece.guard is not None
    assert (piece.guard.exists, piece.guard.min_context_slot) == (False, 1400)
    assert prove_expiry(OLD, [piece]) is IntentEvent.EXPIRE
    assert prove_expiry(replace(OLD, guarded=False), [piece]) == Unproven("TooFewProviders")
    for node, reason in (
        (Node(finalized=1400, processed=1432, known_witness="confirmed"), "NoFinalizedWitness"),
        (Node(finalized=1400, processed=1399), "AnswerOlderThanHeight"),
        (Node(finalized=1400, processed=1432, first_available=1001), "HistoryTooShort"),
        (Node(finalized=1400, processed=1432, genesis="theirs"), "WrongGenesis"),
    ):
        assert prove_expiry(OLD, [await guarded(node)]) == Unproven(reason)


async def test_a_guard_that_is_there_forbids_expiry_whatever_the_history_says() -> None:
    """Something of the intent succeeded: also in a young attempt, and also if many providers have lost it."""
    young = replace(OLD, providers_needed=1)
    for case in (OLD, young):
        piece = await guarded(Node(finalized=1400, processed=1432, guard=True), case)
        assert prove_expiry(case, [piece, piece]) == Unproven("GuardNotAbsent")
        assert prove_expiry(case, [replace(piece, guard=None)]) == Unproven("GuardNotAbsent")


@pytest.mark.parametrize(
    "change",
    [
        {"commitment": "confirmed"},
        {"commitment": "processed"},
        {"min_context_slot": 1399},
        {"context_slot": 1399},
        {"order": 0},
    ],
)
async def test_an_absence_that_is_not_final_not_new_enough_or_asked_before_is_no_proof(change: dict[str, Any]) -> None:
    """A confirmed bank may be of a fork; an older one, or one asked before the height was known, may precede the landing."""
    piece = await guarded(Node(finalized=1400, processed=1432))
    assert piece.guard is not None
    assert prove_expiry(OLD, [replace(piece, guard=replace(piece.guard, **change))]) == Unproven("GuardNotAbsent")


async def test_a_node_on_a_dead_fork_behind_the_same_name_cannot_answer_for_the_guard() -> None:
    """It never finalizes the slot that is asked for: an error, and an error is no evidence."""
    with pytest.raises(RpcError):
        await guarded(Node(finalized=1400, processed=1432, rooted=1250))


async def test_an_unguarded_attempt_asks_for_no_account() -> None:
    """A Memo's intent has none, and its absence would say nothing."""
    async with gathering(Node()) as (gatherer, (server,)):
        piece = await gatherer.expiry("sig", CASE, provider="n0", context_slot=1237)
    assert piece is not None
    assert (piece.guard, "getAccountInfo" in server.methods()) == (None, False)
