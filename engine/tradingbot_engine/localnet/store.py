"""The state directory: finalized blocks, transactions and accounts in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from tradingbot_engine.localnet.chain import STATUS_SLOTS, Block, Record, TokenBalance
from tradingbot_engine.localnet.clock import MarketClock
from tradingbot_engine.localnet.retention import Retention

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS programs (pubkey BLOB PRIMARY KEY, elf BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS accounts (pubkey BLOB PRIMARY KEY, account BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
  slot INTEGER PRIMARY KEY, height INTEGER NOT NULL, parent_slot INTEGER NOT NULL, parent_hash BLOB NOT NULL,
  hash BLOB NOT NULL, time_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS transactions (
  slot INTEGER NOT NULL, place INTEGER NOT NULL, signature BLOB NOT NULL, wire BLOB NOT NULL, meta BLOB NOT NULL,
  detail BLOB NOT NULL, PRIMARY KEY (slot, place)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS transactions_signature ON transactions (signature);
CREATE TABLE IF NOT EXISTS mentions (
  pubkey BLOB NOT NULL, slot INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (pubkey, slot, place)) WITHOUT ROWID;
"""
_SCHEMA_VERSION = 1


class StoreError(Exception):
    """The state directory cannot be used: held by another localnet, of another version, damaged, or the disk is full."""


@dataclass(frozen=True, slots=True)
class StoredChain:
    """What a bank needs to go on after its last finalized block."""

    genesis_hash: str
    faucet: bytes
    incarnation: int
    first_slot: int
    number: int
    """Highest slot number that was ever used."""
    clock: MarketClock
    transaction_count: int
    programs: Sequence[tuple[Pubkey, bytes]]
    accounts: Sequence[tuple[Pubkey, Account]]
    blocks: Sequence[Block]
    """The newest finalized blocks, oldest first, as many as the status cache spans."""


class Store:
    """
    One SQLite file, written once per slot in one transaction.

    `synchronous=NORMAL` on a write-ahead log survives `kill -9` of localnet (the system holds the pages); a power cut
    may lose the newest slots, never the file.

    Args:
        path: The file; made if it is not there.
        keep_slots: Age in slots at which transactions that only the keys given to `let_pass` signed are dropped; at
            least as many as a bank keeps in memory. None keeps all.
    """

    def __init__(self, path: Path, *, keep_slots: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _SCHEMA_VERSION):
                raise StoreError(f"{path} was written by another version of localnet (schema {version})")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise StoreError(f"{path} cannot be opened: {error}") from error
        self._retention = Retention(self._db, keep_slots)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    # -- the bank's life ----------------------------------------------------------------------------------------------

    def found(self, genesis_hash: str, faucet: bytes, clock: MarketClock, first_slot: int) -> None:
        """Begin a new chain; whatever never became final before is discarded."""
        self._db.execute("BEGIN IMMEDIATE")
        for table in ("meta", "programs", "accounts", "blocks", "transactions", "mentions"):
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - fixed names
        self._put("genesis_hash", genesis_hash)
        self._put("faucet", faucet.hex())
        self._put("incarnation", 0)
        self._put("first_slot", first_slot)
        self._put("number", first_slot)
        self._put("transaction_count", 0)
        self._put("clock", asdict(clock))
        self._db.execute("COMMIT")

    def resumed(self, incarnation: int, clock: MarketClock, number: int) -> None:
        """Note that the bank went on under a new incarnation, before it produces a block."""
        self._db.execute("BEGIN IMMEDIATE")
        self._put("incarnation", incarnation)
        self._put("number", number)
        self._put("clock", asdict(clock))
        self._db.execute("COMMIT")

    def add_program(self, pubkey: Pubkey, elf: bytes) -> None:
        """Keep a program that was deployed without a transaction."""
        self._db.execute("INSERT OR REPLACE INTO programs VALUES (?, ?)", (bytes(pubkey), elf))

    def let_pass(self, keys: Iterable[Pubkey]) -> None:
        """Drop transactions that only such keys signed, once they are old."""
        self._retention.add(keys)

    def commit(self, blocks: Sequence[Block], accounts: Mapping[Pubkey, Account | None], *, number: int) -> None:
        """Write newly finalized blocks and the accounts that they changed, and the tip's slot number."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._put("number", number)
            if blocks:
                self._write_blocks(blocks)
                self._write_accounts(accounts)
                cleared = self._get(
                    "cleared_slot", self._get("first_slot")
                )  # the first block stays: it is named as such
                self._put("cleared_slot", self._retention.step(cleared_slot=cleared, newest_slot=blocks[-1].slot))
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # a full disk has already rolled back
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError):
                raise StoreError(f"the chain cannot be kept: {error}") from error
            raise

    def load(self) -> StoredChain | None:
        """The stored chain; None if no block ever became final."""
        newest = self._db.execute("SELECT max(slot) FROM blocks").fetchone()[0]
        if newest is None:
            return None
        query = "SELECT slot, height, parent_slot, parent_hash, hash, time_ms FROM blocks ORDER BY slot DESC LIMIT ?"
        rows = self._db.execute(query, (STATUS_SLOTS + 1,)).fetchall()
        return StoredChain(
            genesis_hash=self._get("genesis_hash"),
            faucet=bytes.fromhex(self._get("faucet")),
            incarnation=self._get("incarnation"),
            first_slot=self._get("first_slot"),
            number=self._get("number"),
            clock=MarketClock(**self._get("clock")),
            transaction_count=self._get("transaction_count"),
            programs=[(Pubkey(k), e) for k, e in self._db.execute("SELECT pubkey, elf FROM programs")],
            accounts=[
                (Pubkey(k), Account.from_bytes(a)) for k, a in self._db.execute("SELECT pubkey, account FROM accounts")
            ],
            blocks=[self._block(row) for row in reversed(rows)],
        )

    # -- history ------------------------------------------------------------------------------------------------------

    def block(self, slot: int) -> Block | None:
        """The finalized block of `slot`; None if it was skipped or is not stored."""
        query = "SELECT slot, height, parent_slot, parent_hash, hash, time_ms FROM blocks WHERE slot = ?"
        row = self._db.execute(query, (slot,)).fetchone()
        return self._block(row) if row is not None else None

    def time_ms(self, slot: int) -> int | None:
        """Market time of the finalized block of `slot`."""
        row = self._db.execute("SELECT time_ms FROM blocks WHERE slot = ?", (slot,)).fetchone()
        return row[0] if row is not None else None

    def block_slots(self, start: int, end: int, limit: int) -> list[int]:
        """Slots of finalized blocks in [start, end], ascending."""
        query = "SELECT slot FROM blocks WHERE slot BETWEEN ? AND ? ORDER BY slot LIMIT ?"
        return [slot for (slot,) in self._db.execute(query, (start, end, limit))]

    def record(self, signature: Signature) -> Record | None:
        """The finalized transaction of that signature."""
        query = "SELECT slot, signature, wire, meta, detail FROM transactions WHERE signature = ?"
        row = self._db.execute(query, (bytes(signature),)).fetchone()
        return _record(row) if row is not None else None

    def of_address(self, address: Pubkey, *, at_most: int | None = None) -> Iterator[Record]:
        """Finalized transactions that mention `address`, newest first, from slot `at_most` down."""
        query = (
            "SELECT t.slot, t.signature, t.wire, t.meta, t.detail FROM mentions m"
            " JOIN transactions t ON t.slot = m.slot AND t.place = m.place"
            " WHERE m.pubkey = ? AND m.slot <= ? ORDER BY m.slot DESC, m.place DESC"
        )
        rows = self._db.execute(query, (bytes(address), at_most if at_most is not None else 2**62))
        for row in rows:
            yield _record(row)

    # -- settings of the cluster --------------------------------------------------------------------------------------

    def remember(self, name: str, value: object) -> None:
        """Keep a small value beside the chain (ports, seeds)."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"note:{name}", orjson.dumps(value)))

    def recall(self, name: str) -> object:
        """A value given to `remember`; None if there is none."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (f"note:{name}",)).fetchone()
        return orjson.loads(row[0]) if row is not None else None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _put(self, name: str, value: object) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, orjson.dumps(value)))

    def _get(self, name: str, default: Any = None) -> Any:  # JSON written by this class
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return orjson.loads(row[0]) if row is not None else default

    def _write_blocks(self, blocks: Sequence[Block]) -> None:
        self._db.executemany(
            "INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)",
            [(b.slot, b.height, b.parent_slot, bytes(b.parent_hash), bytes(b.hash), b.time_ms) for b in blocks],
        )
        records = [(place, record) for block in blocks for place, record in enumerate(block.records)]
        if not records:
            return
        self._db.executemany(
            "INSERT INTO transactions VALUES (?, ?, ?, ?, ?, ?)",
            [(r.slot, place, bytes(r.signature), r.wire, bytes(r.meta), _detail(r)) for place, r in records],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO mentions VALUES (?, ?, ?)",
            [(bytes(key), r.slot, place) for place, r in records for key in r.keys],
        )
        self._put("transaction_count", self._get("transaction_count") + len(records))

    def _write_accounts(self, accounts: Mapping[Pubkey, Account | None]) -> None:
        gone = [(bytes(key),) for key, account in accounts.items() if account is None]
        kept = [(bytes(key), bytes(account)) for key, account in accounts.items() if account is not None]
        self._db.executemany("DELETE FROM accounts WHERE pubkey = ?", gone)
        self._db.executemany("INSERT OR REPLACE INTO accounts VALUES (?, ?)", kept)

    def _block(self, row: tuple[int, int, int, bytes, bytes, int]) -> Block:
        slot, height, parent_slot, parent_hash, blockhash, time_ms = row
        query = "SELECT slot, signature, wire, meta, detail FROM transactions WHERE slot = ? ORDER BY place"
        records = [_record(r) for r in self._db.execute(query, (slot,))]
        return Block(slot, height, parent_slot, Hash(parent_hash), Hash(blockhash), time_ms, records)


def _detail(record: Record) -> bytes:
    static = len(record.keys) - sum(record.loaded)
    return orjson.dumps(
        {
            "error": record.error,
            "loaded": record.loaded,
            "loaded_keys": [str(key) for key in record.keys[static:]],
            "lamports": (record.pre_lamports, record.post_lamports),
            "tokens": ([_token_json(t) for t in record.pre_tokens], [_token_json(t) for t in record.post_tokens]),
        }
    )


def _token_json(balance: TokenBalance) -> dict[str, object]:
    index, mint, owner, program, amount, decimals = balance
    return {
        "account_index": index,
        "mint": str(mint),
        "owner": str(owner),
        "program": str(program),
        "amount": amount,
        "decimals": decimals,
    }


def _token(json: dict[str, Any]) -> TokenBalance:
    keys = {name: Pubkey.from_string(json[name]) for name in ("mint", "owner", "program")}
    return TokenBalance(account_index=json["account_index"], amount=json["amount"], decimals=json["decimals"], **keys)


def _record(row: tuple[int, bytes, bytes, bytes, bytes]) -> Record:
    slot, signature, wire, meta, detail_json = row
    detail = orjson.loads(detail_json)
    transaction = VersionedTransaction.from_bytes(wire)
    return Record(
        signature=Signature(signature),
        wire=wire,
        slot=slot,
        error=detail["error"],
        meta=TransactionMetadata.from_bytes(meta),
        keys=(*transaction.message.account_keys, *(Pubkey.from_string(key) for key in detail["loaded_keys"])),
        loaded=(detail["loaded"][0], detail["loaded"][1]),
        pre_lamports=tuple(detail["lamports"][0]),
        post_lamports=tuple(detail["lamports"][1]),
        pre_tokens=tuple(map(_token, detail["tokens"][0])),
        post_tokens=tuple(map(_token, detail["tokens"][1])),
        _transaction=transaction,
    )
