"""The bot's row, shards, risk, marks, bars and the wallet, alike on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.ledgers import (
    MINT,
    NOW_MS,
    SOL,
    TODAY,
    a_bot,
    a_fill,
    a_risk,
    an_entry,
    an_exit,
    bought,
    claimed,
    limits,
    own,
    signed,
    sold,
    step,
)
from support.places import Place

from tradingbot_engine.book import Book
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.core.intents import IntentEvent as E
from tradingbot_engine.core.risk.tiers import apply_flow
from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.intents import IntentState as S
from tradingbot_engine.domain.portfolio import RiskState, Tier
from tradingbot_engine.errors import LedgerInUse, LedgerOfAnother, LedgerUnavailable, PermanentError, WrongGenesis
from tradingbot_engine.ledger.base import ProgramLedger
from tradingbot_engine.ledger.invariants import violations
from tradingbot_engine.ledger.port import ClaimOutcome, Ledger, ShardRow
from tradingbot_engine.ledger.program import execute
from tradingbot_engine.ledger.readonly import open_ledger_readonly
from tradingbot_engine.ledger.retention import DAY_MS, KEEP_DAYS
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.market.wallet import WalletBalance
from tradingbot_engine.upkeep import WalletWatch

pytest_plugins = ["support.ledger_fixtures"]
MINUTE = 60_000


def a_bar(start_ms: int, close: float = 1.5) -> Bar:
    return Bar(start_ms, 1.25, 2.0, 1.0, close, 12_345, 2**40)


async def test_a_bot_is_made_once_and_found_again(place: Place) -> None:
    """The second start finds what the first one made, with its shards, and keeps nothing of what it wished."""
    ledger = await place.open()
    with pytest.raises(LedgerUnavailable):
        await ledger.bot()
    made = await ledger.adopt_bot(a_bot(), risk=a_risk())
    assert made == a_bot()
    found = await ledger.adopt_bot(a_bot(bot_id="c" * 32, wallet_lamports=1), risk=a_risk(capital=1))
    assert found == made == await ledger.bot()
    assert await ledger.risk() == a_risk()
    assert list(await ledger.shards()) == [ShardRow(0, "", 0, 0), ShardRow(1, "", 0, 0)]
    other = await place.open("another")
    assert await other.bot() == made


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"wallet": "another"}, LedgerInUse),
        ({"name": "default/second"}, LedgerOfAnother),
        ({"cluster_id": "elsewhere"}, LedgerInUse),
        ({"genesis_hash": "mainnet"}, WrongGenesis),
    ],
)
async def test_a_ledger_of_another_bot_wallet_cluster_or_chain_is_refused(
    ledger: Ledger, change: dict[str, str], error: type[Exception]
) -> None:
    """Two bots on one ledger, or one on the wrong chain, would trade with each other's money."""
    with pytest.raises(error) as refused:
        await ledger.adopt_bot(a_bot(**change), risk=a_risk())
    assert type(refused.value) is error
    assert await ledger.bot() == a_bot()


async def test_another_cluster_may_adopt_the_ledger_on_purpose(ledger: Ledger) -> None:
    """Only the cluster id can be adopted."""
    moved = await ledger.adopt_bot(a_bot(cluster_id="elsewhere"), risk=a_risk(), force=True)
    assert moved.cluster_id == "elsewhere"
    with pytest.raises(LedgerInUse):
        await ledger.adopt_bot(a_bot(cluster_id="elsewhere", wallet="other"), risk=a_risk(), force=True)


async def test_live_settings_never_go_back_to_an_older_generation(ledger: Ledger) -> None:
    """The newest wins, whoever comes late; the same generation may be said again."""
    assert await ledger.live_risk() == ""
    assert await ledger.set_live(generation=3, paused=True, risk_json='{"a":1}')
    assert not await ledger.set_live(generation=2, paused=False, risk_json="{}")
    assert await ledger.set_live(generation=3, paused=True, risk_json='{"a":2}')
    bot = await ledger.bot()
    assert (bot.generation, bot.paused, await ledger.live_risk()) == (3, True, '{"a":2}')
    await ledger.set_latch(True)
    assert (await ledger.bot()).latch


async def test_the_wish_to_close_out_is_kept_with_its_first_moment_until_it_is_taken_back(place: Place) -> None:
    """Another process finds it; told again its moment stays, since exits are named after it, and the newest words count."""
    ledger = await place.open()
    await ledger.adopt_bot(a_bot(), risk=a_risk())
    await ledger.close_out(by="a deletion")
    first = await ledger.bot()
    assert first.closing_since_ms > 0
    assert first.closing_by == "a deletion"
    other = await place.open("another", now_ms=NOW_MS + 5_000)
    assert await other.bot() == first
    await other.close_out(by="a person")
    assert await other.bot() == replace(first, closing_by="a person")
    assert await other.adopt_bot(a_bot(), risk=a_risk()) == await other.bot()
    await other.reopen()
    assert ((await ledger.bot()).closing_since_ms, (await ledger.bot()).closing_by) == (0, "")


async def test_the_settled_slot_never_goes_back(ledger: Ledger) -> None:
    """What was compared stays compared."""
    await ledger.set_settled_slot(50)
    await ledger.set_settled_slot(40)
    assert (await ledger.bot()).settled_slot == 50


async def test_a_shard_is_taken_by_compare_and_set(ledger: Ledger) -> None:
    """Of many that saw the same row one takes it; the epoch rises by one each time, also for the same holder."""
    seen = (await ledger.shards())[0]
    taken = await asyncio.gather(*(ledger.take(seen, holder=f"h{n}", now_ms=5) for n in range(6)))
    (winner,) = [o for o in taken if o is not None]
    assert winner.epoch == 1
    assert (await ledger.shards())[0] == ShardRow(0, winner.holder, 1, 5)
    assert await ledger.take(seen, holder="late", now_ms=6) is None
    again = await own(ledger, holder=winner.holder)
    assert again.epoch == 2
    assert not await ledger.release(winner, now_ms=7)
    assert await ledger.release(again, now_ms=8)
    assert (await ledger.shards())[0] == ShardRow(0, "", 2, 8)
    assert not await ledger.release(again, now_ms=9)
    assert await violations(ledger) == []


async def test_risk_is_replaced_under_its_lock_and_tier_changes_are_journalled(ledger: Ledger) -> None:
    """No update is lost between two writers; a person's act needs no shard."""
    me = await own(ledger)

    def deeper(risk: RiskState) -> RiskState:
        return replace(risk, equity=risk.equity - 1)

    await asyncio.gather(*(ledger.update_risk(deeper, ownership=me, actor="engine") for _ in range(20)))
    assert (await ledger.risk()).equity == a_risk().equity - 20
    assert await ledger.tier_changes() == []
    halted = await ledger.update_risk(
        lambda r: replace(r, tier=Tier.HALT, tier_since_ms=NOW_MS, tier_reason="5 % below the peak"),
        ownership=me,
        actor="engine",
    )
    assert halted == await ledger.risk()
    await ledger.update_risk(
        lambda r: replace(r, tier=Tier.NORMAL, tier_since_ms=NOW_MS + 1, tier_reason="looked at"),
        ownership=None,
        actor="ana",
    )
    assert [(c.old, c.new, c.reason, c.actor) for c in await ledger.tier_changes()] == [
        ("HALT", "NORMAL", "looked at", "ana"),
        ("NORMAL", "HALT", "5 % below the peak", "engine"),
    ]
    assert len(await ledger.tier_changes(1)) == 1


async def test_failed_fees_survive_a_late_turn_of_the_risk_day(ledger: Ledger) -> None:
    """A failure just after midnight belongs to the new day, also if the risk's day turns a second later."""
    me = await own(ledger)
    after_midnight = NOW_MS + 24 * 3_600_000
    for n, at_ms in ((1, NOW_MS), (2, after_midnight)):
        record = await signed(ledger, await claimed(ledger, an_entry(n), me), me)
        await step(ledger, record, E.FAIL, me, fill=a_fill(record.intent, base=0, quote=0), at_ms=at_ms)
    assert (await ledger.risk()).fees_failed_today == 7_000
    turned = await ledger.update_risk(
        lambda r: replace(r, day="2023-11-15", fees_failed_today=0), ownership=me, actor="engine"
    )
    assert (turned.fees_failed_today, (await ledger.risk()).fees_failed_today) == (7_000, 7_000)
    next_day = await ledger.update_risk(
        lambda r: replace(r, day="2023-11-16", fees_failed_today=0), ownership=me, actor="engine"
    )
    assert next_day.fees_failed_today == 0
    assert next_day == await ledger.risk()


async def test_marks_of_all_shards_add_up_and_one_old_mark_blocks_entries(ledger: Ledger) -> None:
    """A shard whose owner is stuck must stop the whole bot from opening more."""
    a, b = await own(ledger, 0), await own(ledger, 1)
    assert await ledger.mark(ownership=a, unrealized=-7, at_ms=NOW_MS) == -7
    assert await ledger.mark(ownership=b, unrealized=10, at_ms=NOW_MS + 6000) == 3
    assert (await ledger.risk()).marked_at_ms == NOW_MS + 6000
    result = await ledger.claim(an_entry(), ownership=a, limits=limits(now_ms=NOW_MS + 6001))
    assert result.reason == "StaleEquity"
    await ledger.mark(ownership=a, unrealized=0, at_ms=NOW_MS + 6001)
    await claimed(ledger, an_entry(), a, now_ms=NOW_MS + 6001)


async def test_money_moved_by_others_is_seen_only_when_it_cannot_be_our_own(ledger: Ledger) -> None:
    """No verdict while an attempt is alive, before its fill's slot, or from an older look."""
    me = await own(ledger)
    assert await ledger.observe_wallet(lamports=100 * SOL, quote=100 * SOL, slot=9) is None
    assert await ledger.observe_wallet(lamports=100 * SOL, quote=100 * SOL, slot=20) == 0
    assert await ledger.observe_wallet(lamports=103 * SOL, quote=103 * SOL, slot=30) == 3 * SOL
    record = await signed(ledger, await claimed(ledger, an_entry(), me), me)
    assert await ledger.observe_wallet(lamports=1, quote=1, slot=40) is None
    fill = a_fill(record.intent, base=5, quote=-SOL, slot=50)
    await step(ledger, record, E.FINALIZE, me, fill=fill)
    now = 103 * SOL + fill.lamport_delta
    assert await ledger.observe_wallet(lamports=103 * SOL, quote=103 * SOL, slot=45) is None
    assert await ledger.observe_wallet(lamports=now, quote=now, slot=50) == 0
    assert await ledger.observe_wallet(lamports=now - 2, quote=now - 2, slot=60) == -2
    bot = await ledger.bot()
    assert (bot.wallet_lamports, bot.wallet_quote, bot.wallet_slot) == (now - 2, now - 2, 60)


async def test_a_flow_reaches_the_risk_row_in_the_transaction_that_notices_it(ledger: Ledger) -> None:
    """The balance hides a flow from every later look: what follows from it is kept together with it, or not at all."""
    seen: list[int] = []

    def broken(risk: RiskState, flow: int) -> RiskState:
        seen.append(flow)
        raise RuntimeError("the process dies here")

    before = await ledger.bot()
    with pytest.raises(PermanentError, match="dies here"):
        await ledger.observe_wallet(lamports=130 * SOL, quote=130 * SOL, slot=20, on_flow=broken)
    assert set(seen) == {30 * SOL}
    assert (await ledger.bot(), await ledger.risk()) == (before, a_risk())
    assert await ledger.observe_wallet(lamports=130 * SOL, quote=130 * SOL, slot=20, on_flow=apply_flow) == 30 * SOL
    assert await ledger.risk() == apply_flow(a_risk(), 30 * SOL) != a_risk()
    assert (await ledger.bot()).wallet_lamports == 130 * SOL
    # Neither the same balance, nor a look that decides nothing, applies anything; without `on_flow` capital is fixed.
    for slot in (30, 5):
        await ledger.observe_wallet(lamports=130 * SOL, quote=130 * SOL, slot=slot, on_flow=broken)
    assert await ledger.observe_wallet(lamports=100 * SOL, quote=100 * SOL, slot=40) == -30 * SOL
    assert await ledger.risk() == apply_flow(a_risk(), 30 * SOL)


async def test_a_flow_in_another_quote_currency_is_told_in_its_units(place: Place) -> None:
    """Lamports that come and go pay fees there; capital is in the quote currency."""
    ledger = await place.open()
    await ledger.adopt_bot(a_bot(quote_mint="USDC", wallet_quote=500), risk=a_risk())
    assert await ledger.observe_wallet(lamports=7, quote=500, slot=20, on_flow=apply_flow) == 0
    assert await ledger.risk() == a_risk()
    assert await ledger.observe_wallet(lamports=7, quote=400, slot=21, on_flow=apply_flow) == -100
    assert await ledger.risk() == apply_flow(a_risk(), -100)


@pytest.mark.parametrize("capital_is_fixed", [False, True])
async def test_a_deposit_survives_a_ledger_that_goes_away_right_after_it_was_noticed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capital_is_fixed: bool
) -> None:
    """Whatever dies after the balance was written: capital has followed, or the flow is noticed again."""

    async def away(*_: object, **__: object) -> RiskState:
        raise LedgerUnavailable("gone")

    async def read() -> WalletBalance:
        return WalletBalance(lamports=130 * SOL, quote=130 * SOL, slot=20)

    book = Book(ledger=ledger, bot=await ledger.bot(), risk=a_risk(), emit=lambda _: None, event_time_ms=lambda: NOW_MS)
    watch = WalletWatch(
        ledger=ledger,
        book=book,
        read=read,
        capital_is_fixed=capital_is_fixed,
        fee_reserve=lambda: SOL,
        lifecycle=Lifecycle(clock=ManualClock()),
    )
    with monkeypatch.context() as broken:
        broken.setattr(ledger, "update_risk", away)
        broken.setattr(ledger, "bot", away)
        with pytest.raises(LedgerUnavailable):
            await watch.compare()
    await watch.compare()
    assert (await ledger.bot()).wallet_lamports == 130 * SOL
    assert await ledger.risk() == (a_risk() if capital_is_fixed else apply_flow(a_risk(), 30 * SOL))


async def test_bars_are_kept_for_25_hours_and_never_replaced(ledger: Ledger) -> None:
    """A bar that closed is closed."""
    await ledger.save_bars([("A", a_bar(0)), ("A", a_bar(MINUTE)), ("B", a_bar(0))])
    await ledger.save_bars([("A", a_bar(0, close=9.0)), ("A", a_bar(2 * MINUTE))])
    assert list(await ledger.bars("A", since_ms=0)) == [a_bar(n * MINUTE) for n in range(3)]
    assert list(await ledger.bars("A", since_ms=1)) == [a_bar(MINUTE), a_bar(2 * MINUTE)]
    hour = 60 * MINUTE
    await ledger.save_bars([("A", a_bar(25 * hour + MINUTE))])
    assert [b.start_ms for b in await ledger.bars("A", since_ms=0)] == [MINUTE, 2 * MINUTE, 25 * hour + MINUTE]
    assert len(await ledger.bars("B", since_ms=0)) == 1
    await ledger.save_bars([])


async def test_everything_is_there_after_closing_and_opening_again(place: Place) -> None:
    """What was answered was durable, and a second engine sees it."""
    ledger = await place.open()
    await ledger.adopt_bot(a_bot(), risk=a_risk())
    me = await own(ledger)
    done = await bought(ledger, an_entry(), me)
    waiting = await signed(ledger, await claimed(ledger, an_entry(2, mint="2"), me), me)
    before = (await ledger.risk(), await ledger.bot(), list(await ledger.positions()), list(await ledger.fills()))
    await ledger.close()
    with pytest.raises(LedgerUnavailable):
        await ledger.bot()
    with pytest.raises(LedgerUnavailable):
        await ledger.claim(an_entry(3), ownership=me, limits=limits())
    again = await place.open("successor")
    assert (await again.risk(), await again.bot(), list(await again.positions()), list(await again.fills())) == before
    assert await again.intent(done.intent.id) == done
    assert list(await again.open_intents()) == [waiting]
    assert (await again.risk()).day == TODAY
    assert await violations(again) == []


async def test_the_audit_reads_the_tables_by_plain_sql_and_writes_nothing(place: Place) -> None:
    """The names that the schema promises, beside an open ledger."""
    ledger = await place.open()
    await ledger.adopt_bot(a_bot(), risk=a_risk())
    me = await own(ledger)
    record = await bought(ledger, an_entry(), me, cost=SOL - 1)
    where = place.path if place.kind == "sqlite" else place.url
    async with open_ledger_readonly(where) as reader:
        rows = await reader.fetch(
            "SELECT i.id, i.state, i.side, i.mint, i.strategy, i.purpose, i.attempt, i.amount_in, a.signature, f.slot, "
            "f.base_delta, f.quote_delta, f.lamport_delta, f.base_fee_lamports, f.priority_fee_lamports, f.finalized, f.paper "
            "FROM intents i JOIN attempts a ON a.intent_id = i.id AND a.n = i.attempt "
            "JOIN fills f ON f.intent_id = i.id AND f.attempt = a.n AND f.signature = a.signature WHERE i.id = $1",
            record.intent.id,
        )
        (row,) = rows
        assert row[:2] == (record.intent.id, "DONE")
        assert row[8:] == (f"sig-{record.intent.id}-1", 200, 2_000_000, 1 - SOL, 1 - SOL - 7_000, 5_000, 2_000, 1, 0)
        with pytest.raises((PermanentError, LedgerUnavailable)):
            await reader.fetch("UPDATE bots SET name = 'changed'")
    assert (await ledger.bot()).name == "default/first"


async def test_a_ledger_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    """A wrong path is told, not turned into an empty ledger that proves anything."""
    with pytest.raises(LedgerUnavailable):
        async with open_ledger_readonly(tmp_path / "none.db"):
            pass
    assert list(tmp_path.iterdir()) == []


async def test_what_ended_long_ago_leaves_the_journal_and_nothing_that_an_audit_asks_for(
    ledger: Ledger, place: Place
) -> None:
    """Old steps, takes, flows and bytes that cannot be sent any more go; trades with their signatures, amounts and results stay."""
    assert await ledger.observe_wallet(lamports=101 * SOL, quote=101 * SOL, slot=20) == SOL
    for shard in (0, 0, 1, 0):
        me = await own(ledger, shard)
    held, sold_out, failed, open_one = (an_entry(n, mint=f"mint {n}") for n in range(4))
    await bought(ledger, held, me, slot=200)
    await bought(ledger, sold_out, me, slot=201)
    await sold(ledger, an_exit(sold_out, "out"), me, proceeds=SOL, slot=202)
    record = await signed(ledger, await claimed(ledger, failed, me), me)
    await step(ledger, record, E.FAIL, me, fill=a_fill(failed, base=0, quote=0))
    record = await signed(ledger, await claimed(ledger, open_one, me), me)
    record = await step(ledger, record, E.EXPIRE, me)
    for tier in (Tier.WARNING, Tier.NORMAL):
        await ledger.update_risk(
            lambda risk, to=tier: replace(risk, tier=to, tier_since_ms=risk.tier_since_ms + 1),  # type: ignore[misc]
            ownership=None,
            actor="test",
        )

    young = KEEP_DAYS * DAY_MS
    later = await place.open(now_ms=NOW_MS + young)
    before = await everything(later)
    assert await later.forget() == 0
    assert await everything(later) == before

    old = await place.open(now_ms=NOW_MS + young + 10_000)
    await old.save_bars([(MINT, Bar(NOW_MS - NOW_MS % 60_000, 1.0, 1.0, 1.0, 1.0, 1, 1))])
    after = await everything(old)
    journal = {row[3] for row in after["transitions"]}
    assert journal == {None, open_one.id}
    assert [(row[1], row[2]) for row in after["transitions"] if row[3] is None] == [(1, 1), (0, 3)]
    assert [len(state["tier_journal"]) for state in (before, after)] == [2, 1]
    assert [len(state["flows"]) for state in (before, after)] == [1, 0]
    wires = {(row[0], row[1]): bytes(row[3]) for row in after["attempts"]}
    assert wires[failed.id, 1] == b""
    assert all(wires[key] for key in wires if key[0] != failed.id)
    for table in ("intents", "positions", "fills", "bots", "strategies"):
        assert after[table] == before[table], table
    assert [row[:3] for row in after["attempts"]] == [row[:3] for row in before["attempts"]]
    assert await violations(old, forgotten_ms=NOW_MS + 10_000) == []
    assert await old.forget() == 0
    again = await old.claim(failed, ownership=me, limits=limits())
    assert again.outcome is ClaimOutcome.KNOWN
    record = await signed(old, record, me)  # what is open goes on as ever
    await step(old, record, E.ABANDON if record.state is S.EXPIRED else E.EXPIRE, me)
    assert await violations(old, forgotten_ms=NOW_MS + 10_000) == []


async def test_a_long_journal_is_forgotten_in_small_batches(ledger: Ledger, place: Place) -> None:
    """Each batch is a short transaction of its own, and leaves every trade's steps either all there or all gone."""
    me = await own(ledger)
    for n in range(120):
        record = await claimed(ledger, an_entry(n, mint=f"mint {n}"), me)
        await step(ledger, record, E.ABANDON, me)
    old = await place.open(now_ms=NOW_MS + KEEP_DAYS * DAY_MS + 10_000)
    sizes = []
    while gone := await old.forget():
        sizes.append(gone)
        assert await violations(old, forgotten_ms=NOW_MS + 10_000) == []
    assert sum(sizes) == 240
    assert len(sizes) > 1
    assert max(sizes) <= 201


async def everything(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the tables hold."""
    asked = {
        "transitions": "SELECT seq, shard, epoch, intent_id FROM transitions ORDER BY seq",
        "attempts": "SELECT intent_id, n, signature, wire FROM attempts ORDER BY 1, 2",
        "flows": "SELECT * FROM flows ORDER BY id",
        "tier_journal": "SELECT * FROM tier_journal ORDER BY id",
        **{
            name: f"SELECT * FROM {name} ORDER BY 1" for name in ("intents", "positions", "fills", "bots", "strategies")
        },
    }
    assert isinstance(ledger, ProgramLedger)
    return {name: [tuple(r) for r in await ledger.look(lambda q=sql: execute(q))] for name, sql in asked.items()}  # type: ignore[misc]
