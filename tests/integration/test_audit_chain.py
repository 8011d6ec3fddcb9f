"""The audit on a real chain: every contradiction flips the verdict, and nothing else does."""

from __future__ import annotations

import pytest
import pytest_asyncio
from audit_stage import BONK, LedgerFile, memo, new_id, staged
from pydantic import SecretStr
from solders.keypair import Keypair

from tradingbot_engine.audit.audit import WrongLedger, run_audit
from tradingbot_engine.audit.books import LedgerUnreadable
from tradingbot_engine.audit.walk import ChainUnreadable, WrongChain
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.localnet.cluster import Cluster
from tradingbot_engine.localnet.faults import parse_fault
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import EndpointSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def chain():
    async with staged() as chain:
        yield chain


@pytest_asyncio.fixture(loop_scope="module")
async def bot(chain, tmp_path):
    """A funded wallet and its empty ledger."""
    key = await chain.wallet()
    yield key, LedgerFile(tmp_path / "ledger.sqlite", chain, key)
    chain.cluster.faults.clear()


async def audited(chain, ledger, *nodes, **options):
    async with chain.rpc(*nodes) as rpc:
        report = await run_audit(rpc=rpc, ledger=ledger.path, clock=SystemClock(), **options)
    return report.document(), report


def verdict(document):
    return {k: document[k] for k in ("filled", "doubled", "lost", "phantom", "open", "foreign", "failed", "verdict")}


CLEAN = {"filled": 0, "doubled": 0, "lost": 0, "phantom": 0, "open": 0, "foreign": 0, "failed": 0, "verdict": "proven"}


async def test_a_clean_history_is_proven(chain, bot):
    """Buys and sells, marked by memo and by guard, with amounts as the executor reads them."""
    key, ledger = bot
    for amount in (50_000_000, 50_000_001):
        intent = new_id()
        await ledger.done(intent, await chain.trade(key, intent, amount=amount))
    held = int(
        (await chain.call("getTokenAccountsByOwner", str(key.pubkey()), {"mint": BONK}, {"encoding": "jsonParsed"}))[
            "value"
        ][0]["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"]
    )
    sale = new_id()
    await ledger.done(sale, await chain.trade(key, sale, buy=False, amount=held // 2))
    guarded = new_id()
    instructions = [chain.guard(key, guarded), *await chain.swap_instructions(key)]
    await ledger.done(guarded, await chain.send(key, instructions))
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"filled": 4}
    assert (document["transactions"], document["findings"], report.exit_code) == (4, [], 0)
    assert (document["bot"], document["wallet"]) == ("first-bot", str(key.pubkey()))


async def test_a_mark_that_landed_twice_is_doubled(chain, bot):
    """The ledger knows one of the two; the other is money spent twice."""
    key, ledger = bot
    intent = new_id()
    first = await chain.trade(key, intent)
    second = await chain.trade(key, intent, amount=51_000_000)
    await ledger.done(intent, first)
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"filled": 1, "doubled": 1, "verdict": "violated"}
    assert report.exit_code == 1
    assert first in document["findings"][0]["message"]
    assert second in document["findings"][0]["message"]


async def test_a_trade_that_the_ledger_does_not_know_is_lost(chain, bot):
    """An older copy of the ledger was put back."""
    key, ledger = bot
    signature = await chain.trade(key, new_id())
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"filled": 1, "lost": 1, "verdict": "violated"}
    assert (document["findings"][0]["signature"], report.exit_code) == (signature, 1)


@pytest.mark.parametrize(
    "column",
    [
        "base_delta",
        "quote_delta",
        "lamport_delta",
        "base_fee_lamports",
        "priority_fee_lamports",
        "rent_lamports",
        "slot",
    ],
)
async def test_any_other_amount_in_the_ledger_is_lost(chain, bot, column):
    """One unit off in any number is a contradiction; the message names the number."""
    key, ledger = bot
    intent = new_id()
    await ledger.done(intent, await chain.trade(key, intent))
    assert verdict((await audited(chain, ledger))[0]) == CLEAN | {"filled": 1}
    ledger.execute(f"UPDATE fills SET {column} = {column} + 1")
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"filled": 1, "lost": 1, "verdict": "violated"}
    assert column.partition("_")[0] in document["findings"][0]["message"]
    assert report.exit_code == 1


@pytest.mark.parametrize("state", ["ABANDONED", "EXPIRED", "FAILED"])
async def test_a_success_that_the_ledger_gave_up_is_lost(chain, bot, state):
    """Expiry was proved wrongly, or the attempt was forgotten."""
    key, ledger = bot
    intent = new_id()
    signature = await chain.trade(key, intent)
    ledger.intent(intent, state)
    ledger.attempt(intent, signature, "EXPIRED" if state != "FAILED" else "FAILED")
    document, _ = await audited(chain, ledger)
    assert (document["lost"], document["verdict"]) == (1, "violated")


async def test_an_expired_attempt_that_landed_is_lost_although_a_newer_one_is_open(chain, bot):
    """Evidence is about one attempt, not about the intent."""
    key, ledger = bot
    intent = new_id()
    signature = await chain.trade(key, intent)
    ledger.intent(intent, "SUBMITTED", attempt=2)
    ledger.attempt(intent, signature, "EXPIRED", n=1)
    ledger.attempt(intent, str(Keypair().sign_message(b"x")), "SUBMITTED", n=2)
    document, _ = await audited(chain, ledger)
    assert (document["lost"], document["open"], document["verdict"]) == (1, 1, "violated")


async def test_a_fill_that_the_chain_does_not_have_is_phantom(chain, bot):
    """The bot believes in money that it does not have."""
    _key, ledger = bot
    intent = new_id()
    invented = str(Keypair().sign_message(b"never sent"))
    ledger.intent(intent, "DONE")
    ledger.attempt(intent, invented, "DONE")
    ledger.fill(intent, invented)
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"phantom": 1, "verdict": "violated"}
    assert report.exit_code == 1


async def test_a_fill_whose_transaction_failed_is_phantom(chain, bot):
    """Landed is not filled."""
    key, ledger = bot
    await chain.send(key, await chain.swap_instructions(key, amount=1_000_000))
    intent = new_id()
    signature = await chain.trade(key, intent, failing=True)
    ledger.intent(intent, "DONE")
    ledger.attempt(intent, signature, "DONE")
    ledger.fill(intent, signature)
    document, _ = await audited(chain, ledger)
    assert document["phantom"] == 1
    assert document["verdict"] == "violated"


async def test_an_intent_that_is_done_without_a_fill_is_phantom(chain, bot):
    """Half a record is none."""
    key, ledger = bot
    intent = new_id()
    await ledger.done(intent, await chain.trade(key, intent))
    ledger.execute("DELETE FROM fills")
    document, _ = await audited(chain, ledger)
    assert (document["lost"], document["phantom"], document["verdict"]) == (1, 1, "violated")


async def test_a_copied_mark_of_another_wallet_changes_nothing(chain, bot):
    """Anybody may send the wallet a lamport with our mark beside it; only what the wallet signed counts."""
    key, ledger = bot
    intent = new_id()
    await ledger.done(intent, await chain.trade(key, intent))
    stranger = await chain.wallet()
    await chain.send(stranger, [memo(intent), chain.payment(stranger, key.pubkey())])
    await chain.send(stranger, [memo(new_id()), chain.payment(stranger, key.pubkey())])
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"filled": 1}
    assert report.exit_code == 0


async def test_a_persons_own_trades_are_foreign_and_no_failure(chain, bot):
    """Unmarked, signed by the wallet: told, not judged. Money that comes in is not even that."""
    key, ledger = bot
    await chain.send(key, [chain.payment(key, Keypair().pubkey())])
    await chain.send(key, await chain.swap_instructions(key))
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"foreign": 2}
    assert (document["transactions"], report.exit_code) == (2, 0)


async def test_a_co_signed_mark_counts_although_another_pays(chain, bot):
    """Signed by the wallet means among the signers, not first of them."""
    key, ledger = bot
    payer = await chain.wallet()
    await chain.send(payer, [memo(new_id()), chain.payment(key, payer.pubkey())], others=[key])
    document, _ = await audited(chain, ledger)
    assert (document["lost"], document["verdict"]) == (1, "violated")


async def test_a_failed_trade_with_its_fee_in_the_ledger_is_in_order(chain, bot):
    """It is counted; the same mark in a failed and a successful transaction is not doubled."""
    key, ledger = bot
    intent = new_id()
    await ledger.done(intent, await chain.trade(key, intent, failing=True), state="FAILED")
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"failed": 1}
    assert report.exit_code == 0
    ledger.execute("UPDATE attempts SET fee_lamports = fee_lamports - 1")
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"failed": 1, "lost": 1, "verdict": "violated"}


async def test_a_failed_landing_beside_a_success_is_not_doubled(chain, bot):
    """Only one of them moved money."""
    key, ledger = bot
    intent = new_id()
    failed = await chain.trade(key, intent, failing=True)
    await ledger.done(intent, await chain.trade(key, intent))
    ledger.attempt(intent, failed, "EXPIRED", n=2)
    document, _ = await audited(chain, ledger)
    assert document["doubled"] == 0
    assert (document["lost"], document["failed"]) == (1, 1)  # proof of expiry was wrong: the fee is in no book
    assert "the ledger says EXPIRED" in document["findings"][0]["message"]


async def test_what_landed_and_is_still_waited_for_is_open_not_lost(chain, bot):
    """Killed between sending and noticing: journalled, so the next run follows it."""
    key, ledger = bot
    landed, unsent, confirmed = new_id(), new_id(), new_id()
    signature = await chain.trade(key, landed)
    ledger.intent(landed, "SUBMITTED")
    ledger.attempt(landed, signature, "SUBMITTED")
    ledger.intent(unsent, "INTENT", attempt=0)
    await ledger.done(
        confirmed, await chain.trade(key, confirmed, amount=1_000_000), state="CONFIRMED", finalized=False
    )
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"filled": 2, "open": 3}
    assert report.exit_code == 0


async def test_a_provisional_fill_with_other_amounts_is_open_not_lost(chain, bot):
    """It may be of a fork that is gone; what the ledger calls final must agree, what it still follows need not."""
    key, ledger = bot
    intent = new_id()
    await ledger.done(intent, await chain.trade(key, intent), state="CONFIRMED", finalized=False)
    ledger.execute("UPDATE fills SET quote_delta = quote_delta - 1, slot = slot - 1")
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"filled": 1, "open": 1}
    ledger.execute("UPDATE intents SET state = 'DONE'")
    document, report = await audited(chain, ledger)
    assert (document["lost"], report.exit_code) == (1, 1)


async def test_a_node_on_a_dead_fork_is_not_asked_and_alone_proves_nothing(chain, bot):
    """Nothing is ever final there: what the ledger has beyond its last finalized slot is no phantom, the node is behind."""
    key, ledger = bot
    intent = new_id()
    chain.cluster.faults.add(parse_fault({"kind": "dead_fork", "nodes": [1]}))
    chain.settle()
    await ledger.done(intent, await chain.trade(key, intent))
    document, report = await audited(chain, ledger, 1, 0)
    assert verdict(document) == CLEAN | {"filled": 1}
    assert report.node == "node-0"
    document, report = await audited(chain, ledger, 1)
    assert (document["verdict"], report.exit_code) == ("incomplete", 4)
    assert any("the node is behind" in f["message"] for f in document["findings"])


async def test_nodes_that_disagree_about_a_final_block_are_outvoted_or_prove_nothing(chain, bot):
    """Two against one: the majority is asked. One against one: nobody knows."""
    _, ledger = bot
    async with Cluster(nodes=2, slot_ms=0, finalize_depth=4) as other:
        other.bank.tick(max(0, chain.cluster.bank.slot - other.bank.slot) + 30)
        urls = [chain.cluster.nodes[0].http_url, other.nodes[0].http_url]
        with pytest.raises(ChainUnreadable, match="disagree"):
            await audited_at(ledger, *urls)
        document, report = await audited_at(ledger, *urls, chain.cluster.nodes[1].http_url)
        assert (document["verdict"], report.node) == ("proven", "node-0")
        with pytest.raises(WrongChain):
            await audited_at(ledger, *urls, other.nodes[1].http_url)


async def audited_at(ledger, *urls):
    endpoints = [EndpointSettings(name=f"node-{i}", url=SecretStr(url)) for i, url in enumerate(urls)]
    async with RpcPool(endpoints, request_timeout_s=5, max_in_flight=8, clock=SystemClock()) as rpc:
        report = await run_audit(rpc=rpc, ledger=ledger.path, clock=SystemClock())
    return report.document(), report


async def test_transactions_without_marks_are_unprovable(chain, bot):
    """With mark None a second landing could not be told from a person's own trade; that is said, and is not success."""
    key, ledger = bot
    intent = new_id()
    await ledger.done(intent, await chain.send(key, await chain.swap_instructions(key)))
    document, report = await audited(chain, ledger)
    assert (document["verdict"], report.exit_code) == ("unprovable", 3)
    assert (document["doubled"], document["lost"], document["phantom"], document["foreign"]) == (0, 0, 0, 0)


async def test_a_bot_that_is_set_to_no_mark_is_unprovable_even_without_trades(chain, bot):
    """The setting alone says that nothing will be provable."""
    _, ledger = bot
    document, report = await audited(chain, ledger, marked=False)
    assert (document["verdict"], report.exit_code) == ("unprovable", 3)


async def test_a_long_history_is_walked_page_by_page(chain, bot):
    """Cutting pages small shows the same history, oldest first, none twice."""
    key, ledger = bot
    for amount in range(9):
        intent = new_id()
        await ledger.done(intent, await chain.trade(key, intent, amount=1_000_000 + amount))
    whole, _ = await audited(chain, ledger)
    for page in (1, 2, 3, 10):
        assert (await audited(chain, ledger, page=page))[0] == whole
    assert verdict(whole) == CLEAN | {"filled": 9}


class Interrupted(RpcPool):
    """A pool that lets something happen once, just before a method is called for the first time."""

    def __init__(self, chain, method, happen) -> None:
        endpoints = [EndpointSettings(name="node", url=SecretStr(chain.url))]
        super().__init__(endpoints, request_timeout_s=5, max_in_flight=8, clock=SystemClock())
        self._method, self._happen = method, happen

    async def call(self, method, *args, **kwargs):
        if method == self._method and self._happen is not None:
            happen, self._happen = self._happen, None
            await happen()
        return await super().call(method, *args, **kwargs)


@pytest.mark.parametrize("moment", ["getSlot", "getSignaturesForAddress", "getTransaction"])
async def test_trades_that_settle_while_the_audit_runs_are_neither_lost_nor_phantom(chain, bot, moment):
    """The ledger is read again after the chain, and what it claims beyond the walk is asked for one by one."""
    key, ledger = bot
    first, meanwhile = new_id(), new_id()
    await ledger.done(first, await chain.trade(key, first))

    async def settle_another() -> None:
        await ledger.done(meanwhile, await chain.trade(key, meanwhile, amount=1_000_000))

    async with Interrupted(chain, moment, settle_another) as rpc:
        report = await run_audit(rpc=rpc, ledger=ledger.path, clock=SystemClock())
    document = report.document()
    assert verdict(document) == CLEAN | {"filled": 2}


async def test_only_finalized_transactions_count(chain, bot):
    """A confirmed one may still be forked away."""
    key, ledger = bot
    bank = chain.cluster.bank
    settle, chain.settle = chain.settle, lambda slots=7: bank.tick(2)
    try:
        signature = await chain.trade(key, new_id())
    finally:
        chain.settle = settle
    assert (await audited(chain, ledger))[0]["lost"] == 0
    chain.settle()
    assert (await audited(chain, ledger))[0]["findings"][0]["signature"] == signature


@pytest.mark.parametrize(("missing", "said"), [(1, "lamports moved"), (2, "its listed history ends with")])
async def test_a_node_with_a_hole_in_its_history_proves_nothing(chain, bot, missing, said):
    """
    The wallet's lamports jump over what the node does not list, or do not end at its balance.

    Incomplete, not proven, and no phantom is claimed.
    """
    key, ledger = bot
    signatures = []
    for amount in range(3):
        intent = new_id()
        signatures.append(await chain.trade(key, intent, amount=1_000_000 + amount))
        await ledger.done(intent, signatures[-1])
    options = {"encoding": "base64", "maxSupportedTransactionVersion": 0, "commitment": "finalized"}
    slot = (await chain.call("getTransaction", signatures[missing], options))["slot"]
    chain.cluster.faults.add(parse_fault({"kind": "snapshot", "nodes": [0], "first_slot": slot, "last_slot": slot}))
    try:
        document, report = await audited(chain, ledger)
        assert (document["verdict"], report.exit_code) == ("incomplete", 4)
        assert any(said in f["message"] for f in document["findings"])
    finally:
        chain.cluster.faults.clear()


async def test_a_history_that_begins_after_the_bot_proves_nothing(chain, bot):
    """The node's first block is newer than the oldest attempt."""
    key, ledger = bot
    intent = new_id()
    await ledger.done(intent, await chain.trade(key, intent))
    first = chain.cluster.bank.slot
    chain.cluster.faults.add(
        parse_fault({"kind": "snapshot", "nodes": [0], "first_slot": 0, "last_slot": 1, "first_available_block": first})
    )
    try:
        document, report = await audited(chain, ledger)
        assert (document["verdict"], report.exit_code) == ("incomplete", 4)
        assert any("history begins at slot" in f["message"] for f in document["findings"])
    finally:
        chain.cluster.faults.clear()


async def test_another_chain_or_another_bots_ledger_is_refused(chain, bot, tmp_path):
    """A comparison of things that do not belong together would say anything."""
    _, ledger = bot
    with pytest.raises(WrongLedger):
        await audited(chain, ledger, wallet=str(Keypair().pubkey()))
    ledger.execute("UPDATE bots SET genesis_hash = 'other'")
    with pytest.raises(WrongChain):
        await audited(chain, ledger)
    (tmp_path / "text").write_text("no ledger")
    for name in ("text", "absent"):
        ledger.path = tmp_path / name
        with pytest.raises(LedgerUnreadable):
            await audited(chain, ledger)


async def test_a_paper_bot_has_nothing_to_prove(chain, tmp_path):
    """Its fills are modelled; nothing is asked of the chain, and that is said."""
    ledger = LedgerFile(tmp_path / "paper.sqlite", chain, Keypair(), paper=True)
    intent = new_id()
    ledger.intent(intent, "DONE")
    ledger.fill(intent, "paper-1", paper=1)
    document, report = await audited(chain, ledger)
    assert verdict(document) == CLEAN | {"filled": 1, "verdict": "paper"}
    assert report.exit_code == 0


async def test_a_node_that_is_down_is_not_proof_of_anything(chain, bot, monkeypatch):
    """Neither success nor contradiction: the audit could not be done."""
    monkeypatch.setattr("tradingbot_engine.audit.walk.FIRST_PAUSE_S", 0.001)
    _, ledger = bot
    chain.cluster.faults.add(parse_fault({"kind": "http_error", "nodes": [0]}))
    try:
        with pytest.raises(ChainUnreadable):
            await audited(chain, ledger)
    finally:
        chain.cluster.faults.clear()
