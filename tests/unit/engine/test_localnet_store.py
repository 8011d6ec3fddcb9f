"""A bank that returns from its state directory: at its last finalized slot, with nothing forgotten that was final."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.store import Store, StoreError
from tradingbot_engine.localnet.view import LiveView

SOL = 10**9


def pay(bank: Bank, payer: Keypair, to: Pubkey, lamports: int) -> VersionedTransaction:
    send = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports))
    blockhash = bank.latest_blockhash("finalized")[0]
    return VersionedTransaction(MessageV0.try_compile(payer.pubkey(), [send], [], blockhash), [payer])


def balance(bank: Bank, key: Pubkey, slot: int | None = None) -> int:
    account = bank.account(key, slot)
    return account.lamports if account is not None else 0


def open_bank(path: Path, **options: float) -> tuple[Bank, Store]:
    store = Store(path / "localnet.sqlite")
    return Bank(store=store, **options), store  # type: ignore[arg-type]


def test_a_returned_bank_has_exactly_what_was_final(tmp_path: Path) -> None:
    """Confirmed but not final is gone, as after a fork; final is all there: state, status, history, blockhashes."""
    bank, store = open_bank(tmp_path)
    early, late = Keypair().pubkey(), Keypair().pubkey()
    bank.airdrop(early, SOL)
    bank.tick(40)
    landed = bank.airdrop(late, SOL)
    bank.tick(5)
    final, number, genesis = bank.finalized_slot, bank.number, bank.genesis_hash
    count = bank.transaction_count
    hashes = {h for h, height in bank.hashes.items() if height <= bank.block_at(final).height}
    unfinal_hash = bank.latest_blockhash("processed")[0]
    store.close()

    bank, store = open_bank(tmp_path)
    assert (bank.genesis_hash, bank.finalized_slot) == (genesis, final)
    assert bank.slot > number
    assert (balance(bank, early), balance(bank, late)) == (SOL, 0)
    assert bank.history.find(landed) is None
    assert bank.transaction_count == count - 1
    assert hashes <= set(bank.hashes)
    assert unfinal_hash not in bank.hashes
    assert [r.slot for r in bank.history.of_address(early)] == [bank.first_slot]
    store.close()


def test_finality_never_goes_back_over_a_restart(tmp_path: Path) -> None:
    """What a client was told is final stays final, in every view, while the chain grows on."""
    bank, store = open_bank(tmp_path)
    bank.tick(100)
    told = bank.view_slot("finalized")
    store.close()
    bank, store = open_bank(tmp_path)
    last = told
    for _ in range(80):
        bank.tick()
        view = LiveView(bank, store)
        assert last <= view.slot("finalized") <= view.slot("confirmed") <= view.slot("processed")
        lagging = LiveView(bank, store, lag=10)
        assert lagging.slot("finalized") <= lagging.slot("confirmed") <= lagging.slot("processed")
        last = view.slot("finalized")
    assert last > told + 40
    store.close()


def test_market_time_is_monotonic_over_restarts_and_changes_of_speed(tmp_path: Path) -> None:
    """Time stands still while localnet is down and goes on from there, at whatever speed is asked for next."""
    bank, store = open_bank(tmp_path, ms_per_slot=400)
    bank.tick(50)
    before = bank.clock.at_ms(bank.slot)
    store.close()
    bank, store = open_bank(tmp_path, ms_per_slot=4000)
    assert bank.clock.at_ms(bank.slot) == before + 4000
    bank.tick(10)
    assert bank.clock.at_ms(bank.slot) == before + 44_000
    store.close()


def test_older_history_is_read_from_disk(tmp_path: Path) -> None:
    """Memory holds the recent blocks only; signatures, blocks and addresses reach back to the beginning."""
    bank, store = open_bank(tmp_path)
    to = Keypair().pubkey()
    signatures = []
    for _ in range(5):
        signatures.append(bank.airdrop(to, SOL))
        bank.tick(300)
    assert bank.history.recent(signatures[0]) is None
    assert len(bank.blocks) < 800
    view = LiveView(bank, store)
    record = view.find(signatures[0])
    assert record is not None
    assert (record.slot, record.error, record.post_lamports[1]) == (bank.first_slot, None, SOL)
    assert record.meta.fee() == 5000
    assert [r.signature for r in view.of_address(to)] == signatures[::-1]
    block = view.block(bank.first_slot)
    assert block is not None
    assert [r.signature for r in block.records] == [signatures[0]]
    slots = view.block_slots(bank.first_slot, bank.slot, 10_000)
    assert slots == list(range(bank.first_slot, bank.slot + 1))
    store.close()


def test_crashes_and_forks_at_random_keep_what_was_final() -> None:
    """Property: over payments, forks and crashes, each finalized balance is what the finalized records add up to."""
    import tempfile

    for seed in range(4):
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory)
            bank, store = open_bank(path)
            wallets = [Keypair() for _ in range(3)]
            for wallet in wallets:
                bank.airdrop(wallet.pubkey(), 100 * SOL)
            bank.tick(40)
            final: dict[str, int] = {}
            for step in range(200):
                payer, to = rng.sample(wallets, 2)
                bank.submit(pay(bank, payer, to.pubkey(), 1000 + step))
                bank.tick()
                for record in bank.block_at(bank.finalized_slot).records:
                    final[str(record.signature)] = record.slot
                chance = rng.random()
                open_blocks = sum(block.slot > bank.finalized_slot for block in bank.blocks)
                if chance < 0.08 and open_blocks:
                    bank.rollback(rng.randint(1, min(10, open_blocks)), requeue=rng.random() < 0.5)
                elif chance > 0.97:
                    store.close()  # as kill -9 does: nothing is flushed on the way out
                    bank, store = open_bank(path)
            slot = bank.finalized_slot
            expected = {w.pubkey(): 0 for w in wallets}
            seen = set()
            for wallet in wallets:
                for record in bank.history.of_address(wallet.pubkey()):
                    if record.slot > slot or record.signature in seen:
                        continue
                    seen.add(record.signature)
                    moves = zip(record.keys, record.pre_lamports, record.post_lamports, strict=True)
                    for key, before, after in moves:
                        if key in expected:
                            expected[key] += after - before
            assert {w.pubkey(): balance(bank, w.pubkey(), slot) for w in wallets} == expected
            assert set(final) <= {str(s) for s in seen}
            store.close()


def test_one_state_directory_serves_one_localnet(tmp_path: Path) -> None:
    """A second one is refused while the first lives."""
    _, store = open_bank(tmp_path)
    with pytest.raises(StoreError, match="locked"):
        Store(tmp_path / "localnet.sqlite")
    store.close()
    Store(tmp_path / "localnet.sqlite").close()


def test_a_file_that_is_no_chain_is_refused(tmp_path: Path) -> None:
    """Damage is named; nothing is overwritten."""
    path = tmp_path / "localnet.sqlite"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        Store(path)
    assert path.read_bytes().startswith(b"not a database")


def test_a_disk_that_is_full_stops_finality_not_truth(tmp_path: Path) -> None:
    """What cannot be written is not reported as finalized; the error names the reason."""
    bank, store = open_bank(tmp_path)
    bank.tick(40)
    told = bank.finalized_slot
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreError, match="full"):  # noqa: PT012 - which slot fills the disk is not known
        for _ in range(200):
            bank.airdrop(Keypair().pubkey(), SOL)
            bank.tick()
    last = bank.finalized_slot
    assert told <= last < bank.slot - bank.finalize_depth
    store.close()
    bank, store = open_bank(tmp_path)
    assert bank.finalized_slot == last
    store.close()


def test_programs_come_back(tmp_path: Path) -> None:
    """A deployed program runs again after a restart."""
    from tradingbot_engine.localnet.program import pool_elf

    program = Keypair().pubkey()
    bank, store = open_bank(tmp_path)
    bank.add_program(program, pool_elf())
    bank.tick(40)
    store.close()
    bank, store = open_bank(tmp_path)
    account = bank.account(program)
    assert account is not None
    assert account.executable
    store.close()


def _sends(bank: Bank, payer: Keypair, count: int) -> None:
    blockhash = bank.latest_blockhash("confirmed")[0]
    for lamports in range(1, count + 1):
        send = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payer.pubkey(), lamports=lamports))
        message = MessageV0.try_compile(payer.pubkey(), [send], [], blockhash)
        assert bank.execute(VersionedTransaction(message, [payer]), verified=True).err is None


def test_what_concerns_the_market_alone_passes_and_what_a_wallet_did_stays(tmp_path: Path) -> None:
    """File and memory hardly grow while traders trade; a wallet's history, and the list of blocks, are whole from the first slot on."""
    keep, turns, votes = 300, 15, 100
    trader, wallet, shop = Keypair(), Keypair(), Keypair().pubkey()

    def opened() -> tuple[Bank, Store]:
        store = Store(tmp_path / "localnet.sqlite", keep_slots=keep)
        bank = Bank(store=store, votes=True)
        bank.let_pass([trader.pubkey()])
        return bank, store

    bank, store = opened()
    done = [bank.airdrop(wallet.pubkey(), 1000 * SOL)]
    paid_by_trader = [bank.airdrop(trader.pubkey(), 1000 * SOL)]
    both = bank.slot
    sizes: list[tuple[int, int, int]] = []
    for turn in range(turns):
        payment = pay(bank, wallet, shop, SOL + turn)
        bank.submit(payment)
        done.append(payment.signatures[0])
        for _ in range(votes):
            bank.tick()
            _sends(bank, trader, 2)
        pages = store._db.execute("PRAGMA page_count").fetchone()[0]
        sizes.append((pages, len(bank.history._by_signature), len(bank.journal._changed)))
        if turn == 5:
            store.close()
            bank, store = opened()  # forgetting goes on where it was
    assert bank.slot - bank.first_slot >= turns * votes > 4 * keep
    full, last = sizes[-4], sizes[-1]
    assert last[0] <= full[0] * 1.05
    assert last[1] <= full[1] + 70 * 3  # memory is cleared in steps of 64 slots
    assert last[2] <= full[2] + 64

    view = LiveView(bank, store)
    assert [r.signature for r in view.of_address(wallet.pubkey())] == done[::-1]
    assert [r.signature for r in view.of_address(shop)] == done[:0:-1]
    for signature in done:
        record = view.find(signature)
        assert record is not None
        block = view.block(record.slot)
        assert block is not None
        assert signature in [r.signature for r in block.records]
        assert view.time_ms(record.slot) == block.time_ms
    assert view.first_block() == both
    first = view.block(both)
    assert first is not None
    assert [r.signature for r in first.records] == [done[0], paid_by_trader[0]]

    horizon = bank.finalized_slot - keep
    count = "SELECT count(*) FROM transactions WHERE slot <= ?"
    assert (
        store._db.execute(count, (horizon,)).fetchone()[0] == sum(r.slot <= horizon for r in view.of_address(shop)) + 2
    )
    recent = {r.slot for r in store.of_address(trader.pubkey())}
    assert recent >= set(range(horizon + 1, bank.finalized_slot - votes))  # what is not old is all there
    empty = next(slot for slot in range(both + 1, bank.slot) if slot not in {r.slot for r in map(view.find, done) if r})
    emptied = view.block(empty)
    assert emptied is not None
    assert emptied.records == []
    assert empty in view.block_slots(both, bank.slot, 100_000)
    assert len(view.block_slots(both, bank.slot, 100_000)) == bank.blocks[-1].height - first.height + 1
    store.close()


def test_without_a_limit_everything_stays(tmp_path: Path) -> None:
    """The store forgets only when it was told for how long to keep."""
    store = Store(tmp_path / "localnet.sqlite")
    bank = Bank(store=store, votes=True)
    bank.tick(900)
    view = LiveView(bank, store)
    assert view.block_slots(bank.first_slot, bank.slot, 10_000) == list(range(bank.first_slot, bank.slot + 1))
    early = view.block(bank.first_slot + 1)
    assert early is not None
    assert [bank.is_vote(record) for record in early.records] == [True]
    store.close()
