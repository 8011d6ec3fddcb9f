"""The bank: one live chain of blocks over the real SVM, with its commitments, forks and expiry."""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable

from solders.account import Account
from solders.hash import Hash
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import ID as SYSTEM
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet.accounts import AccountIndex
from tradingbot_engine.localnet.airdrop import airdrop
from tradingbot_engine.localnet.chain import (
    MAX_AGE,
    STATUS_SLOTS,
    Block,
    Branch,
    Commitment,
    ExecutionResult,
    Record,
)
from tradingbot_engine.localnet.clock import MarketClock
from tradingbot_engine.localnet.finality import Finality, slot_of
from tradingbot_engine.localnet.fork import abandon
from tradingbot_engine.localnet.history import History
from tradingbot_engine.localnet.journal import Journal
from tradingbot_engine.localnet.mempool import Mempool
from tradingbot_engine.localnet.store import Store, StoredChain
from tradingbot_engine.localnet.tokens import NATIVE_MINT, native_mint
from tradingbot_engine.localnet.validator import validator_of, vote
from tradingbot_engine.localnet.vm import Vm, signatures_are_good

HEIGHT_BEHIND_SLOT = 21_700_000
"""Heights count blocks, slots also count the skipped: a client that takes one for the other is found out."""
FAUCET_LAMPORTS = 10**17


class Bank:
    """
    One chain with rollback; processed is its tip, confirmed and finalized are older views of the same journal.

    Args:
        ms_per_slot: Market milliseconds that pass with each slot.
        origin_ms: Market time of the first slot, unix milliseconds; now by default. Ignored when `store` holds a chain.
        confirm_depth: Blocks on top that make a block confirmed.
        finalize_depth: Blocks on top that make it finalized.
        skip_rate: Share of slots without a block, in [0, 1).
        seed: Seed of the skipped slots.
        votes: Whether every block holds a transaction of the validator, as every block of a real chain holds votes: who
            needs a signature of some block (a witness of its chain) finds one.
        store: Where finalized blocks and accounts are kept; without one all history stays in memory.
    """

    def __init__(
        self,
        *,
        ms_per_slot: float = 400.0,
        origin_ms: int | None = None,
        confirm_depth: int = 1,
        finalize_depth: int = 31,
        skip_rate: float = 0.0,
        seed: int = 0,
        votes: bool = False,
        store: Store | None = None,
    ) -> None:
        self.vm = Vm()
        self.journal = Journal()
        self.index = AccountIndex()
        self.confirm_depth = confirm_depth
        self.finalize_depth = finalize_depth
        self.skip_rate = skip_rate
        self.votes = votes
        self.halted = False
        self.forks = 0
        self.written_slot = 0
        """Newest slot into which an account was written without a transaction."""
        self._random = random.Random(seed)
        self._store = store
        self._slot_listeners: list[Callable[[int], None]] = []
        self._pins: dict[object, int] = {}
        self.mempool = Mempool()
        self.hashes: dict[Hash, int] = {}
        self.blocks: list[Block] = []
        self.history = History(store)
        stored = store.load() if store is not None else None
        if stored is None:
            self._found(origin_ms if origin_ms is not None else time.time_ns() // 1_000_000, ms_per_slot)
        else:
            self._resume(stored, ms_per_slot)
        self.let_pass([self.validator.pubkey()])

    # -- birth and return ------------------------------------------------------------------------------------------

    def _found(self, origin_ms: int, ms_per_slot: float) -> None:
        self.genesis_hash = str(Hash(secrets.token_bytes(32)))
        self.faucet = Keypair()
        self.validator = validator_of(self.faucet)
        self.incarnation = 0
        self.number = self.first_slot = self.vm.first_slot
        self.clock = MarketClock(self.number, origin_ms, ms_per_slot)
        self.settled_slot = self.number
        self.transaction_count = 0
        genesis = Hash(hashlib.sha256(self.genesis_hash.encode()).digest())
        height = self.number - HEIGHT_BEHIND_SLOT
        self._append(Block(self.number, height, self.number - 1, genesis, genesis, self.clock.at_ms(self.number)))
        self._move_sysvars()
        self._set(self.faucet.pubkey(), Account(FAUCET_LAMPORTS, b"", SYSTEM, False, 0))
        self._set(self.validator.pubkey(), Account(FAUCET_LAMPORTS, b"", SYSTEM, False, 0))
        self._set(NATIVE_MINT, native_mint(self.rent(82)))
        self._settle(persisted_slot=self.number - 1)
        if self._store is not None:
            self._store.found(self.genesis_hash, bytes(self.faucet), self.clock, self.number)

    def _resume(self, stored: StoredChain, ms_per_slot: float) -> None:
        assert self._store is not None
        self.genesis_hash = stored.genesis_hash
        self.faucet = Keypair.from_bytes(stored.faucet)
        self.validator = validator_of(self.faucet)
        self.incarnation = stored.incarnation + 1
        self.first_slot = stored.first_slot
        for key, elf in stored.programs:
            self.vm.svm.add_program(key, elf)
        for key, account in stored.accounts:
            self.vm.put(key, account)
            self.index.add(key, account)
        for block in stored.blocks:
            self._append(block)
            for record in block.records:
                self.history.add(record)
        self.settled_slot = self.slot
        self._settle(persisted_slot=self.slot)
        self.transaction_count = stored.transaction_count
        # slots after the last finalized one are abandoned; their numbers are never used again
        self.number = stored.number
        self.clock = stored.clock.rebased(self.number, ms_per_slot)
        self.number += 1
        self._store.resumed(self.incarnation, self.clock, self.number)
        self._produce()  # an open block to write into: the newest stored one is final

    def _settle(self, *, persisted_slot: int) -> None:
        self._finality = Finality(
            slot=self.settled_slot,
            persisted_slot=persisted_slot,
            depth=self.finalize_depth,
            journal=self.journal,
            index=self.index,
            history=self.history,
            account=self.account,
            store=self._store,
        )

    # -- what others read -------------------------------------------------------------------------------------------

    @property
    def slot(self) -> int:
        """Slot of the newest block of the live chain."""
        return self.blocks[-1].slot

    @property
    def finalized_slot(self) -> int:
        """Slot of the newest block that is final."""
        return self._finality.slot

    @property
    def height(self) -> int:
        """Block height of the tip."""
        return self.blocks[-1].height

    def view_slot(self, commitment: Commitment) -> int:
        """Slot of the newest block at `commitment`."""
        if commitment == "finalized":
            return self.finalized_slot
        depth = self.confirm_depth if commitment == "confirmed" else 0
        return max(self.finalized_slot, self.blocks[max(0, len(self.blocks) - 1 - depth)].slot)

    def block_at(self, slot: int) -> Block:
        """The newest block at or before `slot` (the oldest in memory if all are newer)."""
        return self.blocks[max(0, bisect_right(self.blocks, slot, key=slot_of) - 1)]

    def account(self, pubkey: Pubkey, slot: int | None = None) -> Account | None:
        """The account as of the end of `slot` (now by default); None if it does not exist."""
        if slot is not None and slot < self.slot:
            version = self.journal.as_of(pubkey, slot)
            if version is not None:
                return version[1]
        return self.vm.account(pubkey)

    def latest_blockhash(self, commitment: Commitment = "confirmed") -> tuple[Hash, int]:
        """The newest blockhash at `commitment`, and the last block height at which its transactions are valid."""
        block = self.block_at(self.view_slot(commitment))
        return block.hash, block.height + MAX_AGE

    def rent(self, space: int) -> int:
        """Lamports that make an account of `space` bytes exempt from rent."""
        return self.vm.svm.minimum_balance_for_rent_exemption(space)

    def is_vote(self, record: Record) -> bool:
        """Whether the transaction is the validator's own."""
        return record.keys[0] == self.validator.pubkey()

    def on_slot(self, callback: Callable[[int], None]) -> None:
        """Have `callback` called with the new slot after every tick."""
        self._slot_listeners.append(callback)

    def pin(self, owner: object, slot: int) -> None:
        """Keep the views of `slot` and later readable until `unpin`."""
        self._pins[owner] = slot

    def unpin(self, owner: object) -> None:
        """Give up a `pin`."""
        self._pins.pop(owner, None)

    # -- changes ----------------------------------------------------------------------------------------------------

    def set_account(self, pubkey: Pubkey, account: Account | None) -> None:
        """Write an account into the current slot without a transaction, as a genesis does."""
        self._set(pubkey, account)
        self.written_slot = self.slot

    def add_program(self, pubkey: Pubkey, elf: bytes) -> None:
        """Deploy a program; it is there at once and survives forks, as a genesis program does."""
        self.vm.svm.add_program(pubkey, elf)
        if self._store is not None:
            self._store.add_program(pubkey, elf)

    def let_pass(self, keys: Iterable[Pubkey]) -> None:
        """Let the store forget old transactions that only such keys signed: what is of interest to nobody but them."""
        if self._store is not None:
            self._store.let_pass(keys)

    def submit(self, transaction: VersionedTransaction, *, delay_slots: int = 0, verified: bool = False) -> None:
        """Queue a transaction for the next slot, or for `delay_slots` slots later; what is queued twice lands once."""
        self.mempool.add(transaction, not_before=self.number + 1 + delay_slots, verified=verified)

    def hash_is_valid(self, blockhash: Hash, parent_height: int) -> bool:
        """Whether a transaction with `blockhash` may land in a block whose parent has `parent_height`."""
        height = self.hashes.get(blockhash)
        return height is not None and parent_height <= height + MAX_AGE

    def execute(self, transaction: VersionedTransaction, *, verified: bool = False) -> ExecutionResult:
        """Run a transaction in the current slot, at once."""
        block = self.blocks[-1]
        signature = transaction.signatures[0]

        def refused(err: str) -> ExecutionResult:
            return ExecutionResult(err=err, record=None, meta=None, signature=signature)

        if not verified and not signatures_are_good(transaction):
            return refused("SignatureFailure")
        nonce = None
        message = transaction.message
        if not self.hash_is_valid(message.recent_blockhash, block.height - 1):
            nonce = self.vm.nonce_account(transaction)
            if nonce is None:
                return refused("BlockhashNotFound")
        if self.history.in_status_cache(signature, block.slot):
            return refused("AlreadyProcessed")
        keys = self.vm.keys_in(message)
        if keys is None:
            return refused("AddressLookupTableNotFound")
        run = self.vm.run(transaction, keys, nonce)
        if not run.charged:
            return ExecutionResult(err=run.err, record=None, meta=run.meta, signature=signature)
        for key, before, after in run.changes:
            self.journal.note(block.slot, key, before)
            self.index.moved(key, before, after)
        record = run.record(transaction, keys, block.slot)
        block.records.append(record)
        self.history.add(record)
        self.transaction_count += 1
        return ExecutionResult(err=run.err, record=record, meta=run.meta, signature=signature)

    def airdrop(self, pubkey: Pubkey, lamports: int) -> Signature:
        """
        Send lamports from the faucet by a real transaction, in the current slot.

        Raises:
            BankError: The faucet cannot pay that much.
        """
        return airdrop(self, pubkey, lamports)

    def tick(self, slots: int = 1) -> None:
        """Produce the next `slots` slots: run what is queued, move the views on, persist what became final."""
        for _ in range(slots):
            self.number += 1
            if not (self.skip_rate and self._random.random() < self.skip_rate):
                self._produce()
                self._finality.advance(self.blocks, number=self.number, pinned=self._pins.values())
            for listener in self._slot_listeners:
                listener(self.slot)

    def rollback(self, slots: int, *, requeue: bool = False) -> Branch:
        """
        Abandon the newest `slots` blocks: their state, statuses and blockhashes vanish from the live chain.

        Slot numbers are not used again, as on a real chain; the next block's parent is the block before the fork.

        Args:
            slots: How many blocks; at most as many as are not finalized.
            requeue: Whether leaders still hold the abandoned transactions and will try them again.

        Raises:
            BankError: That would abandon a finalized block.
        """
        branch = abandon(self, slots)
        self.forks += 1
        if requeue:
            for record in branch.records:
                if not self.is_vote(record):
                    self.submit(record.transaction, verified=True)
        return branch

    # -- inside -----------------------------------------------------------------------------------------------------

    def _set(self, key: Pubkey, account: Account | None) -> None:
        self.journal.note(self.slot, key, self.vm.account(key))
        self.vm.put(key, account)
        self.index.add(key, account)

    def _append(self, block: Block) -> None:
        self.blocks.append(block)
        self.hashes[block.hash] = block.height
        while len(self.hashes) > STATUS_SLOTS + 1:
            del self.hashes[next(iter(self.hashes))]

    def _move_sysvars(self) -> None:
        recent = [(block.slot, block.hash) for block in reversed(self.blocks[-MAX_AGE:])]
        self.vm.advance(self.number, self.clock.at_ms(self.number) // 1000, recent)

    def _produce(self) -> None:
        parent = self.blocks[-1]
        seed = f"{self.genesis_hash}/{self.incarnation}/{self.number}/{parent.slot}"
        blockhash = Hash(hashlib.sha256(seed.encode()).digest())
        self._move_sysvars()
        block = Block(
            self.number, parent.height + 1, parent.slot, parent.hash, blockhash, self.clock.at_ms(self.number)
        )
        self.blocks.append(block)
        if self.votes:
            self.execute(vote(self.validator, parent.hash), verified=True)
        for pending in self.mempool.take(self.number):
            self.execute(pending.transaction, verified=pending.verified)
        self.blocks.pop()
        self._append(block)  # its hash counts from the block's end on: no transaction can name its own block
