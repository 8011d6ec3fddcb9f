"""The bank: commitments, expiry, duplicates, fees, forks, nonces."""

from __future__ import annotations

import pytest
from solders.account import Account
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import (
    ID as SYSTEM,
)
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    create_nonce_account,
    transfer,
)
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.chain import MAX_AGE, BankError

SOL = 10**9


@pytest.fixture
def bank() -> Bank:
    bank = Bank(origin_ms=1_700_000_000_000)
    bank.tick(40)
    return bank


@pytest.fixture
def wallet(bank: Bank) -> Keypair:
    wallet = Keypair()
    bank.airdrop(wallet.pubkey(), 100 * SOL)
    bank.tick()
    return wallet


def pay(payer: Keypair, to: Pubkey, lamports: int, blockhash: Hash, *more: Instruction) -> VersionedTransaction:
    send = transfer(TransferParams(from_pubkey=payer.pubkey(), to_pubkey=to, lamports=lamports))
    return VersionedTransaction(MessageV0.try_compile(payer.pubkey(), [send, *more], [], blockhash), [payer])


def lamports(bank: Bank, key: Pubkey, slot: int | None = None) -> int:
    account = bank.account(key, slot)
    return account.lamports if account is not None else 0


def test_views_of_older_slots_see_older_balances(bank: Bank, wallet: Keypair) -> None:
    """Processed, confirmed and finalized are views of one journal: a payment reaches them one after another."""
    to = Keypair().pubkey()
    bank.submit(pay(wallet, to, SOL, bank.latest_blockhash()[0]))
    assert lamports(bank, to) == 0
    bank.tick()
    seen = {c: lamports(bank, to, bank.view_slot(c)) for c in ("processed", "confirmed", "finalized")}
    assert seen == {"processed": SOL, "confirmed": 0, "finalized": 0}
    bank.tick()
    seen = {c: lamports(bank, to, bank.view_slot(c)) for c in ("processed", "confirmed", "finalized")}
    assert seen == {"processed": SOL, "confirmed": SOL, "finalized": 0}
    bank.tick(bank.finalize_depth - 2)
    assert lamports(bank, to, bank.view_slot("finalized")) == 0
    bank.tick()
    assert lamports(bank, to, bank.view_slot("finalized")) == SOL


def test_a_transaction_lands_while_the_parents_height_is_at_most_its_last_valid_height(
    bank: Bank, wallet: Keypair
) -> None:
    """Validators compare the parent's height, so the block of height L + 1 is the last that may hold it."""
    blockhash, last_valid = bank.latest_blockhash("processed")
    to = Keypair().pubkey()
    bank.tick(last_valid - bank.height)
    assert bank.height == last_valid
    bank.submit(pay(wallet, to, SOL, blockhash))
    bank.tick()
    assert (bank.height, lamports(bank, to)) == (last_valid + 1, SOL)


def test_a_transaction_is_dropped_one_block_after_its_last_chance(bank: Bank, wallet: Keypair) -> None:
    """Parent height L + 1 is too high, for ever."""
    blockhash, last_valid = bank.latest_blockhash("processed")
    bank.tick(last_valid + 1 - bank.height)
    late = pay(wallet, Keypair().pubkey(), SOL, blockhash)
    bank.submit(late)
    bank.tick()
    assert bank.history.find(late.signatures[0]) is None
    bank.submit(late)
    bank.tick(5)
    assert bank.history.find(late.signatures[0]) is None
    assert lamports(bank, wallet.pubkey()) == 100 * SOL


def test_a_blockhash_cannot_be_named_before_its_block_ends() -> None:
    """The hash of a block counts for its descendants only; L is its height + 150."""
    bank = Bank()
    bank.tick(3)
    blockhash, last_valid = bank.latest_blockhash("processed")
    assert last_valid == bank.height + MAX_AGE
    assert bank.hashes[blockhash] == bank.height
    assert bank.slot - bank.height > 1_000_000


def test_the_same_transaction_lands_once(bank: Bank, wallet: Keypair) -> None:
    """A second landing is AlreadyProcessed, whether queued twice, sent later, or executed at once."""
    to = Keypair().pubkey()
    payment = pay(wallet, to, SOL, bank.latest_blockhash()[0])
    bank.submit(payment)
    bank.submit(payment)
    bank.tick()
    bank.submit(payment)
    bank.tick()
    assert bank.execute(payment).err == "AlreadyProcessed"
    assert lamports(bank, to) == SOL


def test_a_failed_transaction_pays_its_fee_and_is_recorded(bank: Bank, wallet: Keypair) -> None:
    """Failure in the program is no free try."""
    result = bank.execute(pay(wallet, Keypair().pubkey(), 1000 * SOL, bank.latest_blockhash()[0]))
    assert result.err == {"InstructionError": [0, {"Custom": 1}]}
    assert result.landed
    assert lamports(bank, wallet.pubkey()) == 100 * SOL - 5000
    assert bank.history.find(result.signature) is result.record


def test_a_payer_without_money_never_enters_a_block(bank: Bank) -> None:
    """Nothing is charged and no status exists, so the signature could still be used."""
    broke = Keypair()
    result = bank.execute(pay(broke, Keypair().pubkey(), 1, bank.latest_blockhash()[0]))
    assert (result.err, result.landed) == ("AccountNotFound", False)
    assert bank.history.find(result.signature) is None


def test_a_forged_signature_never_enters_a_block(bank: Bank, wallet: Keypair) -> None:
    """The SVM's own check is off; the bank's must hold."""
    good = pay(wallet, Keypair().pubkey(), SOL, bank.latest_blockhash()[0])
    forged = VersionedTransaction.populate(good.message, [Signature.new_unique()])
    assert bank.execute(forged).err == "SignatureFailure"
    bank.submit(forged)
    bank.tick()
    assert lamports(bank, wallet.pubkey()) == 100 * SOL


def test_a_fork_takes_back_state_status_and_blockhashes(bank: Bank, wallet: Keypair) -> None:
    """After a rollback the chain is as if the abandoned blocks had never been, and the same bytes may land again."""
    to = Keypair().pubkey()
    payment = pay(wallet, to, SOL, bank.latest_blockhash()[0])
    count = bank.transaction_count
    bank.submit(payment)
    bank.tick(2)
    abandoned_hash, _ = bank.latest_blockhash("processed")
    tip, number = bank.slot, bank.number
    branch = bank.rollback(2)
    assert [r.signature for r in branch.records] == [payment.signatures[0]]
    assert (lamports(bank, to), bank.transaction_count, bank.slot) == (0, count, tip - 2)
    assert bank.history.find(payment.signatures[0]) is None
    assert not bank.hash_is_valid(abandoned_hash, bank.height)
    bank.submit(payment)
    bank.tick()
    assert (lamports(bank, to), bank.slot) == (SOL, number + 1)
    assert bank.blocks[-1].parent_slot == tip - 2


def test_a_requeued_fork_lands_its_transactions_again(bank: Bank, wallet: Keypair) -> None:
    """Leaders that still hold the transactions try them on the new fork."""
    to = Keypair().pubkey()
    bank.submit(pay(wallet, to, SOL, bank.latest_blockhash("finalized")[0]))
    bank.tick(3)
    bank.rollback(3, requeue=True)
    assert lamports(bank, to) == 0
    bank.tick()
    assert lamports(bank, to) == SOL


def test_finalized_blocks_are_never_abandoned(bank: Bank) -> None:
    """A fork reaches back to the newest finalized block, not beyond."""
    deepest = bank.finalize_depth
    with pytest.raises(BankError, match="finalized"):
        bank.rollback(deepest + 1)
    bank.rollback(deepest)
    assert bank.slot == bank.finalized_slot


def test_random_forks_leave_the_accounts_that_a_straight_chain_would_have() -> None:
    """Property: payments, forks and requeues in any order end in the state of the surviving records alone."""
    import random

    for seed in range(5):
        rng = random.Random(seed)
        bank = Bank(seed=seed)
        wallets = [Keypair() for _ in range(4)]
        for wallet in wallets:
            bank.set_account(wallet.pubkey(), Account(100 * SOL, b"", SYSTEM, False, 0))
        bank.tick(40)
        for step in range(150):
            payer, to = rng.sample(wallets, 2)
            bank.submit(pay(payer, to.pubkey(), 1000 + step, bank.latest_blockhash("finalized")[0]))
            bank.tick()
            if rng.random() < 0.15:
                open_blocks = sum(block.slot > bank.finalized_slot for block in bank.blocks)
                if open_blocks:
                    bank.rollback(rng.randint(1, min(12, open_blocks)), requeue=rng.random() < 0.5)
        bank.tick(3)
        expected = {w.pubkey(): 100 * SOL for w in wallets}
        for block in bank.blocks:
            for record in block.records:
                for key, before, after in zip(record.keys, record.pre_lamports, record.post_lamports, strict=True):
                    if key in expected:
                        assert before == expected[key]
                        expected[key] = after
        assert {w.pubkey(): lamports(bank, w.pubkey()) for w in wallets} == expected


def test_a_nonce_transaction_outlives_blockhashes_and_cannot_be_replayed(bank: Bank, wallet: Keypair) -> None:
    """The nonce stands in for the blockhash; it advances with the transaction, even a failing one."""
    nonce = Keypair()
    create = create_nonce_account(wallet.pubkey(), nonce.pubkey(), wallet.pubkey(), 2_000_000)
    message = MessageV0.try_compile(wallet.pubkey(), list(create), [], bank.latest_blockhash()[0])
    assert bank.execute(VersionedTransaction(message, [wallet, nonce])).err is None

    def stored() -> Hash:
        account = bank.account(nonce.pubkey())
        assert account is not None
        return Hash(bytes(account.data)[40:72])

    def with_nonce(to: Pubkey, amount: int, value: Hash) -> VersionedTransaction:
        advance = advance_nonce_account(
            AdvanceNonceAccountParams(nonce_pubkey=nonce.pubkey(), authorized_pubkey=wallet.pubkey())
        )
        send = transfer(TransferParams(from_pubkey=wallet.pubkey(), to_pubkey=to, lamports=amount))
        return VersionedTransaction(MessageV0.try_compile(wallet.pubkey(), [advance, send], [], value), [wallet])

    to = Keypair().pubkey()
    bank.tick()
    good = with_nonce(to, SOL, stored())
    bank.tick(400)
    assert bank.execute(good).err is None
    assert bank.execute(good).err in ("BlockhashNotFound", "AlreadyProcessed")
    bank.tick()
    before = stored()
    assert bank.execute(with_nonce(to, 10_000 * SOL, before)).err == {"InstructionError": [1, {"Custom": 1}]}
    assert stored() != before
    assert lamports(bank, to) == SOL


def test_the_memo_programs_execute(bank: Bank, wallet: Keypair) -> None:
    """The intent's mark on chain needs the Memo program, in both its addresses."""
    for program in ("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr", "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"):
        memo = Instruction(Pubkey.from_string(program), b"tb1:0123456789abcdef0123456789abcdef", [])
        result = bank.execute(pay(wallet, Keypair().pubkey(), SOL, bank.latest_blockhash()[0], memo))
        assert result.err is None
        assert result.meta is not None
        assert f"Program {program} success" in result.meta.logs()


def test_a_closed_account_is_gone_and_a_fork_brings_it_back(bank: Bank, wallet: Keypair) -> None:
    """Removal is journalled like any change."""
    left = Keypair()
    bank.set_account(left.pubkey(), Account(SOL, b"", SYSTEM, False, 0))
    bank.tick()
    blockhash = bank.latest_blockhash()[0]
    send = transfer(TransferParams(from_pubkey=left.pubkey(), to_pubkey=wallet.pubkey(), lamports=SOL))
    message = MessageV0.try_compile(wallet.pubkey(), [send], [], blockhash)
    assert bank.execute(VersionedTransaction(message, [wallet, left])).err is None
    assert bank.account(left.pubkey()) is None
    bank.rollback(1)
    assert lamports(bank, left.pubkey()) == SOL


def test_a_closed_account_leaves_the_index_once_no_view_can_see_it(bank: Bank) -> None:
    """The index is bounded by the accounts that exist in some view."""
    key, owner = Keypair().pubkey(), Keypair().pubkey()
    bank.set_account(key, Account(SOL, b"data", owner, False, 0))
    bank.tick(2)
    bank.set_account(key, None)
    bank.tick(2)
    assert bank.index.of_program(owner) == [key]
    bank.tick(700)
    assert bank.index.of_program(owner) == []


def test_market_time_follows_the_slot() -> None:
    """Event time = origin + slots × milliseconds, and the SVM's clock says the same."""
    bank = Bank(origin_ms=1_700_000_000_000, ms_per_slot=4000)
    bank.tick(25)
    assert bank.clock.at_ms(bank.slot) == 1_700_000_000_000 + 25 * 4000
    assert bank.blocks[-1].time_ms == 1_700_000_100_000
    assert bank.vm.svm.get_clock().unix_timestamp == 1_700_000_100


def test_skipped_slots_have_no_block_and_heights_count_blocks() -> None:
    """Slot numbers run on where no block is made; heights do not."""
    bank = Bank(skip_rate=0.5, seed=1)
    slot, height = bank.slot, bank.height
    bank.tick(100)
    blocks = len([b for b in bank.blocks if b.slot > slot])
    assert 20 < blocks < 80
    assert bank.height == height + blocks
    assert all(
        b.height == a.height + 1 and b.parent_slot == a.slot for a, b in zip(bank.blocks, bank.blocks[1:], strict=False)
    )


def test_a_lookup_table_made_by_transactions_serves_later_ones(bank: Bank, wallet: Keypair) -> None:
    """v0 messages load keys from a table that was created and extended on this chain."""
    from solders.address_lookup_table_account import AddressLookupTableAccount

    program = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
    recent = bank.blocks[-2].slot
    table, bump = Pubkey.find_program_address([bytes(wallet.pubkey()), recent.to_bytes(8, "little")], program)
    signer = AccountMeta(wallet.pubkey(), True, True)
    system = AccountMeta(SYSTEM, False, False)
    create = Instruction(
        program,
        (0).to_bytes(4, "little") + recent.to_bytes(8, "little") + bytes([bump]),
        [AccountMeta(table, False, True), AccountMeta(wallet.pubkey(), True, False), signer, system],
    )
    to = [Keypair().pubkey() for _ in range(3)]
    extend = Instruction(
        program,
        (2).to_bytes(4, "little") + len(to).to_bytes(8, "little") + b"".join(bytes(k) for k in to),
        [AccountMeta(table, False, True), AccountMeta(wallet.pubkey(), True, False), signer, system],
    )
    message = MessageV0.try_compile(wallet.pubkey(), [create, extend], [], bank.latest_blockhash()[0])
    assert bank.execute(VersionedTransaction(message, [wallet])).err is None
    bank.tick()
    sends = [transfer(TransferParams(from_pubkey=wallet.pubkey(), to_pubkey=k, lamports=SOL)) for k in to]
    lookup = AddressLookupTableAccount(table, to)
    message = MessageV0.try_compile(wallet.pubkey(), sends, [lookup], bank.latest_blockhash()[0])
    result = bank.execute(VersionedTransaction(message, [wallet]))
    assert result.err is None
    assert result.record is not None
    assert (result.record.loaded, set(to) <= set(result.record.keys)) == ((3, 0), True)
    assert [lamports(bank, k) for k in to] == [SOL] * 3
