"""The unmodified `solana` client against localnet: every method, every encoding, the errors that validators give."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import based58
import pytest
import zstandard
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed, Finalized, Processed
from solana.rpc.core import RPCException
from solana.rpc.models import DataSliceOpts, MemcmpOpts, TokenAccountOpts, TxOpts
from solana.rpc.websocket_api import SolanaWsClient
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.rpc.config import RpcTransactionLogsFilterMentions
from solders.signature import Signature
from solders.system_program import CreateAccountParams, TransferParams, create_account, transfer
from solders.transaction import Transaction, VersionedTransaction
from spl.token import instructions as token
from spl.token import models
from spl.token.constants import TOKEN_PROGRAM_ID, WRAPPED_SOL_MINT

from tradingbot_engine.localnet.cluster import Cluster

SOL = 10**9
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")


class World:
    """A cluster in fast slots, a client, a funded wallet, a mint with two holders."""

    def __init__(self, cluster: Cluster, client: AsyncClient) -> None:
        self.cluster = cluster
        self.client = client
        self.wallet = Keypair()
        self.other = Keypair()
        self.mint = Keypair()
        self.ata = token.get_associated_token_address(self.wallet.pubkey(), self.mint.pubkey())
        self.other_ata = token.get_associated_token_address(self.other.pubkey(), self.mint.pubkey())

    async def signed(self, instructions: list[Instruction], *signers: Keypair) -> VersionedTransaction:
        latest = (await self.client.get_latest_blockhash(Confirmed)).value
        message = MessageV0.try_compile(self.wallet.pubkey(), instructions, [], latest.blockhash)
        return VersionedTransaction(message, [self.wallet, *signers])

    async def send(self, instructions: list[Instruction], *signers: Keypair, skip_preflight: bool = False) -> Signature:
        transaction = await self.signed(instructions, *signers)
        options = TxOpts(preflight_commitment=Confirmed, skip_preflight=skip_preflight)
        signature = (await self.client.send_transaction(transaction, options)).value
        await self.client.confirm_transaction(signature, Confirmed, sleep_seconds=0.02)
        return signature

    def pay(self, to: Pubkey, lamports: int) -> Instruction:
        return transfer(TransferParams(from_pubkey=self.wallet.pubkey(), to_pubkey=to, lamports=lamports))

    async def open(self) -> None:
        signature = (await self.client.request_airdrop(self.wallet.pubkey(), 50 * SOL)).value
        await self.client.confirm_transaction(signature, Confirmed, sleep_seconds=0.02)
        rent = (await self.client.get_minimum_balance_for_rent_exemption(82)).value
        me, mint = self.wallet.pubkey(), self.mint.pubkey()
        await self.send(
            [
                create_account(
                    CreateAccountParams(from_pubkey=me, to_pubkey=mint, lamports=rent, space=82, owner=TOKEN_PROGRAM_ID)
                ),
                token.initialize_mint2(
                    models.InitializeMint2Params(
                        decimals=6, mint=mint, mint_authority=me, program_id=TOKEN_PROGRAM_ID, freeze_authority=None
                    )
                ),
                token.create_associated_token_account(me, me, mint),
                token.create_idempotent_associated_token_account(me, self.other.pubkey(), mint),
                token.mint_to(
                    models.MintToParams(
                        amount=1_000_000_000,
                        dest=self.ata,
                        mint=mint,
                        mint_authority=me,
                        program_id=TOKEN_PROGRAM_ID,
                        signers=[],
                    )
                ),
            ],
            self.mint,
        )

    def token_transfer(self, amount: int) -> Instruction:
        return token.transfer_checked(
            models.TransferCheckedParams(
                amount=amount,
                decimals=6,
                dest=self.other_ata,
                mint=self.mint.pubkey(),
                owner=self.wallet.pubkey(),
                program_id=TOKEN_PROGRAM_ID,
                source=self.ata,
                signers=[],
            )
        )


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Cluster(nodes=1, slot_ms=20) as cluster:
        client = AsyncClient(cluster.nodes[0].http_url, Confirmed)
        world = World(cluster, client)
        await world.open()
        yield world
        await client.close()


async def test_node_and_chain_methods_answer(world: World) -> None:
    """getVersion, getHealth, getGenesisHash, getIdentity, slots, heights, epochs, supply of blocks."""
    client, bank = world.client, world.cluster.bank
    bank.halted = True  # the answers of several calls are compared
    assert await client.is_connected()
    assert (await client.get_version()).value.solana_core.count(".") == 2
    assert str((await client.get_genesis_hash()).value) == bank.genesis_hash
    assert (await client.get_identity()).value.identity is not None
    slot, height = (await client.get_slot(Finalized)).value, (await client.get_block_height(Finalized)).value
    assert slot - height == bank.slot - bank.height
    epoch = (await client.get_epoch_info(Finalized)).value
    assert epoch.absolute_slot >= slot
    assert epoch.absolute_slot - epoch.block_height == slot - height
    assert (await client.get_first_available_block()).value == bank.first_slot
    assert (await client.get_minimum_ledger_slot()).value == bank.first_slot
    assert (await call(world, "getMaxShredInsertSlot"))["result"] >= slot
    assert (await client.get_transaction_count()).value >= 2
    assert (await client.get_epoch_schedule()).value.slots_per_epoch == 432_000


async def test_commitments_order_and_default_is_finalized(world: World) -> None:
    """finalized ≤ confirmed ≤ processed, about 31 blocks apart; without a commitment it is finalized."""
    client = world.client
    world.cluster.bank.halted = True
    finalized = (await client.get_slot(Finalized)).value
    confirmed = (await client.get_slot(Confirmed)).value
    processed = (await client.get_slot(Processed)).value
    assert finalized + 25 <= confirmed <= processed
    raw = await call(world, "getSlot")
    assert raw["result"] < processed - 20


async def test_blockhashes_carry_the_last_valid_height_of_their_commitment(world: World) -> None:
    """L = height of the hash's block + 150."""
    client = world.client
    world.cluster.bank.halted = True
    finalized = (await client.get_latest_blockhash(Finalized)).value
    height = (await client.get_block_height(Finalized)).value
    assert finalized.last_valid_block_height == height + 150
    assert await is_valid(world, finalized.blockhash, "processed") is True
    processed = (await client.get_latest_blockhash(Processed)).value
    assert processed.last_valid_block_height > finalized.last_valid_block_height + 20
    assert await is_valid(world, processed.blockhash, "finalized") is False


async def test_fees_are_those_charged(world: World) -> None:
    """getFeeForMessage counts signatures and priority; getRecentPrioritizationFees shows what was bid."""
    from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price

    client = world.client
    to = Keypair().pubkey()
    instructions = [set_compute_unit_limit(200_000), set_compute_unit_price(50_000), world.pay(to, SOL)]
    transaction = await world.signed(instructions)
    assert isinstance(transaction.message, MessageV0)
    quoted = (await client.get_fee_for_message(transaction.message, Confirmed)).value
    before = (await client.get_balance(world.wallet.pubkey())).value
    await world.send(instructions)
    paid = before - (await client.get_balance(world.wallet.pubkey())).value - SOL
    assert (quoted, paid) == (15_000, 15_000)
    fees = (await client.get_recent_prioritization_fees([world.wallet.pubkey()])).value
    assert max(f.prioritization_fee for f in fees) == 50_000


@pytest.mark.parametrize("encoding", ["base58", "base64", "base64+zstd"])
async def test_account_data_is_served_in_every_binary_encoding(world: World, encoding: str) -> None:
    """The same bytes, however written; a slice of them where asked."""
    client, mint = world.client, world.mint.pubkey()
    expected = world.cluster.bank.account(mint)
    assert expected is not None
    answer = (await client.get_account_info(mint, Confirmed, encoding)).value
    assert answer is not None
    assert (bytes(answer.data), answer.owner, answer.lamports) == (
        bytes(expected.data),
        TOKEN_PROGRAM_ID,
        expected.lamports,
    )
    sliced = (await client.get_account_info(mint, Confirmed, encoding, DataSliceOpts(offset=36, length=9))).value
    assert sliced is not None
    assert bytes(sliced.data) == bytes(expected.data)[36:45]
    raw = (await call(world, "getAccountInfo", [str(mint), {"encoding": encoding, "commitment": "confirmed"}]))[
        "result"
    ]
    text, label = raw["value"]["data"]
    decode: dict[str, Any] = {
        "base58": lambda t: based58.b58decode(t.encode()),
        "base64": base64.b64decode,
        "base64+zstd": lambda t: zstandard.ZstdDecompressor().decompressobj().decompress(base64.b64decode(t)),
    }
    assert (label, decode[encoding](text)) == (encoding, bytes(expected.data))


async def test_base58_of_large_accounts_is_refused(world: World) -> None:
    """Validators write at most 128 bytes in base58."""
    answer = await call(world, "getAccountInfo", [str(world.ata), {"encoding": "base58", "commitment": "confirmed"}])
    assert answer["error"]["code"] == -32600
    assert "128 bytes" in answer["error"]["message"]


async def test_parsed_accounts_show_mints_and_balances(world: World) -> None:
    """jsonParsed of a mint, a token account, and of data that no parser knows (base64 then)."""
    client = world.client
    mint = (await client.get_account_info_json_parsed(world.mint.pubkey(), Confirmed)).value
    assert mint is not None
    assert mint.data.parsed["info"]["supply"] == "1000000000"
    assert mint.data.parsed["info"]["decimals"] == 6
    held = (await client.get_account_info_json_parsed(world.ata, Confirmed)).value
    assert held is not None
    assert held.data.parsed["info"]["tokenAmount"]["uiAmountString"] == "1000"
    plain = (await client.get_account_info_json_parsed(world.wallet.pubkey(), Confirmed)).value
    assert plain is not None
    assert bytes(plain.data) == b""
    many = (
        await client.get_multiple_accounts_json_parsed([world.ata, Keypair().pubkey(), world.mint.pubkey()], Confirmed)
    ).value
    assert [m is not None for m in many] == [True, False, True]


async def test_token_methods_answer(world: World) -> None:
    """Balances, supply, largest holders, accounts by owner and delegate, by mint and by program."""
    client, me, mint = world.client, world.wallet.pubkey(), world.mint.pubkey()
    await world.send([world.token_transfer(250_000_000)])
    await world.send(
        [
            token.approve(
                models.ApproveParams(
                    program_id=TOKEN_PROGRAM_ID,
                    source=world.ata,
                    delegate=world.other.pubkey(),
                    owner=me,
                    amount=5_000_000,
                    signers=[],
                )
            )
        ]
    )
    assert (await client.get_token_account_balance(world.ata)).value.amount == "750000000"
    assert (await client.get_token_supply(mint)).value.ui_amount_string == "1000"
    largest = (await client.get_token_largest_accounts(mint)).value
    assert [(h.address, h.amount.amount) for h in largest] == [
        (world.ata, "750000000"),
        (world.other_ata, "250000000"),
    ]
    for options in (TokenAccountOpts(mint=mint), TokenAccountOpts(program_id=TOKEN_PROGRAM_ID)):
        parsed = (await client.get_token_accounts_by_owner_json_parsed(me, options)).value
        assert [p.pubkey for p in parsed] == [world.ata]
        assert parsed[0].account.data.parsed["info"]["tokenAmount"]["amount"] == "750000000"
        raw = (await client.get_token_accounts_by_owner(me, options)).value
        assert [len(bytes(r.account.data)) for r in raw] == [165]
    delegated = (await client.get_token_accounts_by_delegate(world.other.pubkey(), TokenAccountOpts(mint=mint))).value
    assert [d.pubkey for d in delegated] == [world.ata]
    answer = await call(world, "getTokenAccountBalance", [str(Keypair().pubkey())])
    assert answer["error"] == {"code": -32602, "message": "Invalid param: could not find account"}


async def test_program_accounts_are_filtered(world: World) -> None:
    """dataSize and memcmp filters, in both shapes of the answer."""
    client = world.client
    filters = [165, MemcmpOpts(offset=32, bytes=str(world.wallet.pubkey()))]
    found = (await client.get_program_accounts(TOKEN_PROGRAM_ID, Confirmed, "base64", None, filters)).value
    assert [f.pubkey for f in found] == [world.ata]
    parsed = (await client.get_program_accounts_json_parsed(TOKEN_PROGRAM_ID, Confirmed, filters)).value
    assert [p.pubkey for p in parsed] == [world.ata]


async def test_a_duplicate_is_told_and_never_lands_twice(world: World) -> None:
    """With preflight AlreadyProcessed; without, the same signature again."""
    client, to = world.client, Keypair().pubkey()
    transaction = await world.signed([world.pay(to, SOL)])
    first = await client.send_raw_transaction(bytes(transaction), TxOpts(preflight_commitment=Confirmed))
    await client.confirm_transaction(first.value, Confirmed, sleep_seconds=0.02)
    with pytest.raises(RPCException, match="already been processed"):
        await client.send_raw_transaction(bytes(transaction), TxOpts(preflight_commitment=Processed))
    again = await client.send_raw_transaction(bytes(transaction), TxOpts(skip_preflight=True))
    assert again.value == first.value
    await asyncio.sleep(0.1)
    assert (await client.get_balance(to)).value == SOL


async def test_an_expired_blockhash_is_told(world: World) -> None:
    """BlockhashNotFound, as -32002 with the simulation's data."""
    transaction = await world.signed([world.pay(Keypair().pubkey(), SOL)])
    world.cluster.bank.tick(155)
    wire = base64.b64encode(bytes(transaction)).decode()
    answer = await call(world, "sendTransaction", [wire, {"encoding": "base64", "preflightCommitment": "confirmed"}])
    assert answer["error"]["code"] == -32002
    assert answer["error"]["message"] == "Transaction simulation failed: Blockhash not found"
    assert answer["error"]["data"]["err"] == "BlockhashNotFound"


async def test_a_failing_program_is_told_before_sending_and_recorded_after(world: World) -> None:
    """Preflight gives the logs and the words of validators; without it the failure lands and pays."""
    client = world.client
    transaction = await world.signed([world.token_transfer(10**15)])
    wire = base64.b64encode(bytes(transaction)).decode()
    answer = await call(world, "sendTransaction", [wire, {"encoding": "base64", "preflightCommitment": "confirmed"}])
    words = "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1"
    assert (answer["error"]["code"], answer["error"]["message"]) == (-32002, words)
    assert any("insufficient funds" in line for line in answer["error"]["data"]["logs"])
    signature = await world.send([world.token_transfer(10**15)], skip_preflight=True)
    status = (await client.get_signature_statuses([signature])).value[0]
    assert status is not None
    assert status.err is not None
    landed = (await client.get_transaction(signature, "json", Confirmed, 0)).value
    assert landed is not None
    assert landed.transaction.meta is not None
    assert landed.transaction.meta.fee == 5000


async def test_simulation_shows_what_would_happen_and_changes_nothing(world: World) -> None:
    """Units, logs and accounts after; sigVerify and replaceRecentBlockhash as validators have them."""
    client, to = world.client, Keypair().pubkey()
    transaction = await world.signed([world.pay(to, SOL)])
    value = (await client.simulate_transaction(transaction, sig_verify=True, commitment=Confirmed)).value
    assert (value.err, value.units_consumed) == (None, 150)
    assert (await client.get_balance(to)).value == 0
    stale = MessageV0.try_compile(world.wallet.pubkey(), [world.pay(to, SOL)], [], transaction.message.recent_blockhash)
    unsigned = VersionedTransaction.populate(stale, [Signature.default()])
    wire = base64.b64encode(bytes(unsigned)).decode()
    options = {
        "encoding": "base64",
        "replaceRecentBlockhash": True,
        "commitment": "processed",
        "innerInstructions": True,
        "accounts": {"encoding": "base64", "addresses": [str(to)]},
    }
    result = (await call(world, "simulateTransaction", [wire, options]))["result"]["value"]
    assert result["err"] is None
    assert result["accounts"][0]["lamports"] == SOL
    assert result["replacementBlockhash"]["lastValidBlockHeight"] > 0
    refused = await call(world, "simulateTransaction", [wire, {**options, "sigVerify": True}])
    assert refused["error"]["code"] == -32602
    unverified = await call(world, "simulateTransaction", [wire, {"encoding": "base64", "sigVerify": True}])
    assert unverified["error"] == {"code": -32003, "message": "Transaction signature verification failure"}


@pytest.mark.parametrize("encoding", ["json", "jsonParsed", "base64", "base58"])
async def test_transactions_and_blocks_are_served_in_every_encoding(world: World, encoding: str) -> None:
    """getTransaction and getBlock read by the client's own strict types, with balances and inner instructions."""
    client = world.client
    memo = Instruction(MEMO, b"tb1:00112233445566778899aabbccddeeff", [])
    create = token.create_associated_token_account(world.wallet.pubkey(), Keypair().pubkey(), world.mint.pubkey())
    signature = await world.send([memo, create, world.token_transfer(1_000_000)])
    answer = (await client.get_transaction(signature, encoding, Confirmed, 0)).value
    assert answer is not None
    meta = answer.transaction.meta
    assert meta is not None
    assert meta.err is None
    assert meta.inner_instructions is not None
    assert [len(i.instructions) for i in meta.inner_instructions] == [4]
    before = {b.account_index: b.ui_token_amount.amount for b in meta.pre_token_balances or []}
    after = {b.account_index: b.ui_token_amount.amount for b in meta.post_token_balances or []}
    moved = [int(after[i]) - int(before[i]) for i in before]
    assert sorted(moved) == [-1_000_000, 1_000_000]
    block = (await client.get_block(answer.slot, encoding, 0)).value
    assert block is not None
    assert len(block.transactions or []) == 2  # the validator's own, and ours
    assert block.block_height is not None
    assert answer.block_time == block.block_time


async def test_parsed_transactions_name_programs_and_instructions(world: World) -> None:
    """system, spl-token, the associated token program and memo are parsed, inner instructions too."""
    memo = Instruction(MEMO, "märke".encode(), [])
    holder = Keypair().pubkey()
    create = token.create_associated_token_account(world.wallet.pubkey(), holder, world.mint.pubkey())
    signature = await world.send([memo, create, world.token_transfer(7), world.pay(holder, SOL)])
    options = {"encoding": "jsonParsed", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    result = (await call(world, "getTransaction", [str(signature), options]))["result"]
    instructions = result["transaction"]["message"]["instructions"]
    assert [i["program"] for i in instructions] == ["spl-memo", "spl-associated-token-account", "spl-token", "system"]
    assert instructions[0]["parsed"] == "märke"
    assert instructions[1]["parsed"]["info"]["wallet"] == str(holder)
    assert instructions[2]["parsed"]["info"]["tokenAmount"]["amount"] == "7"
    assert instructions[3]["parsed"] == {
        "type": "transfer",
        "info": {"source": str(world.wallet.pubkey()), "destination": str(holder), "lamports": SOL},
    }
    inner = result["meta"]["innerInstructions"][0]["instructions"]
    kinds = [i["parsed"]["type"] for i in inner]
    assert kinds == ["getAccountDataSize", "createAccount", "initializeImmutableOwner", "initializeAccount3"]
    assert {i["stackHeight"] for i in inner} == {2}
    keys = {k["pubkey"]: k for k in result["transaction"]["message"]["accountKeys"]}
    assert keys[str(world.wallet.pubkey())] == {
        "pubkey": str(world.wallet.pubkey()),
        "signer": True,
        "writable": True,
        "source": "transaction",
    }
    assert keys[str(TOKEN_PROGRAM_ID)]["writable"] is False


async def test_wrapped_sol_is_native(world: World) -> None:
    """A wSOL account shows its reserve and balance; closing gives the lamports back."""
    me = world.wallet.pubkey()
    account = token.get_associated_token_address(me, WRAPPED_SOL_MINT)
    sync = token.sync_native(models.SyncNativeParams(program_id=TOKEN_PROGRAM_ID, account=account))
    await world.send(
        [token.create_associated_token_account(me, me, WRAPPED_SOL_MINT), world.pay(account, 2 * SOL), sync]
    )
    parsed = (await world.client.get_account_info_json_parsed(account, Confirmed)).value
    assert parsed is not None
    info = parsed.data.parsed["info"]
    assert (info["isNative"], info["tokenAmount"]["amount"]) == (True, str(2 * SOL))
    assert info["rentExemptReserve"]["amount"] == "2039280"
    before = (await world.client.get_balance(me)).value
    await world.send(
        [
            token.close_account(
                models.CloseAccountParams(program_id=TOKEN_PROGRAM_ID, account=account, dest=me, owner=me, signers=[])
            )
        ]
    )
    assert (await world.client.get_balance(me)).value == before + 2 * SOL + 2039280 - 5000


async def test_legacy_transactions_are_told_from_v0(world: World) -> None:
    """A legacy transaction needs no maxSupportedTransactionVersion; a v0 one gets -32015 without."""
    client = world.client
    latest = (await client.get_latest_blockhash(Confirmed)).value
    message = Message.new_with_blockhash([world.pay(Keypair().pubkey(), SOL)], world.wallet.pubkey(), latest.blockhash)
    legacy = Transaction([world.wallet], message, latest.blockhash)
    signature = (await client.send_transaction(legacy, TxOpts(preflight_commitment=Confirmed))).value
    await client.confirm_transaction(signature, Confirmed, sleep_seconds=0.02)
    assert (await client.get_transaction(signature, "json", Confirmed)).value is not None
    with_version = await call(
        world, "getTransaction", [str(signature), {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}]
    )
    assert with_version["result"]["version"] == "legacy"
    v0 = await world.send([world.pay(Keypair().pubkey(), SOL)])
    answer = await call(world, "getTransaction", [str(v0), {"commitment": "confirmed"}])
    assert answer["error"]["code"] == -32015


async def test_signatures_are_paged_newest_first(world: World) -> None:
    """before, until and limit; the memo in brackets with its length; every mentioned key is indexed."""
    client, to = world.client, Keypair().pubkey()
    sent = []
    for number in range(5):
        memo = Instruction(MEMO, f"note {number}".encode(), [])
        sent.append(await world.send([world.pay(to, SOL + number), memo]))
    newest_first = sent[::-1]
    pages: list[Signature] = []
    before: Signature | None = None
    while True:
        page = (await client.get_signatures_for_address(to, before=before, limit=2, commitment=Confirmed)).value
        if not page:
            break
        pages += [entry.signature for entry in page]
        before = page[-1].signature
    assert pages == newest_first
    until = (await client.get_signatures_for_address(to, until=sent[1], commitment=Confirmed)).value
    assert [e.signature for e in until] == newest_first[:3]
    assert [e.memo for e in until] == ["[6] note 4", "[6] note 3", "[6] note 2"]
    assert all(e.block_time is not None and e.err is None for e in until)
    by_program = (await client.get_signatures_for_address(MEMO, limit=3, commitment=Confirmed)).value
    assert [e.signature for e in by_program] == newest_first[:3]
    answer = await call(world, "getSignaturesForAddress", [str(to), {"limit": 1001}])
    assert answer["error"] == {"code": -32602, "message": "Invalid limit; max 1000"}


async def test_statuses_rise_to_finalized_and_leave_the_cache(world: World) -> None:
    """processed → confirmed → finalized; after 300 slots only searchTransactionHistory finds it."""
    client = world.client
    signature = await world.send([world.pay(Keypair().pubkey(), SOL)])
    world.cluster.bank.tick(40)
    status = (await client.get_signature_statuses([signature, Signature.new_unique()])).value
    assert status[0] is not None
    assert (str(status[0].confirmation_status), status[0].confirmations) == (
        "TransactionConfirmationStatus.Finalized",
        None,
    )
    assert status[1] is None
    world.cluster.bank.tick(300)
    assert (await client.get_signature_statuses([signature])).value == [None]
    assert (await client.get_signature_statuses([signature], True)).value[0] is not None
    assert (await client.get_transaction(signature, "json", Finalized, 0)).value is not None


async def test_blocks_are_listed_and_missing_ones_told(world: World) -> None:
    """getBlocks, getBlocksWithLimit, getBlockTime; the future is -32004, the time before the chain -32001."""
    client, bank = world.client, world.cluster.bank
    bank.tick(20)
    newest = (await client.get_slot(Finalized)).value
    assert (await client.get_blocks(newest - 4, newest)).value == list(range(newest - 4, newest + 1))
    assert (await call(world, "getBlocksWithLimit", [newest - 9, 3]))["result"] == [newest - 9, newest - 8, newest - 7]
    assert (await client.get_block_time(newest - 5)).value == bank.clock.at_ms(newest - 5) // 1000
    assert (await call(world, "getBlock", [newest + 10_000]))["error"]["code"] == -32004
    assert (await call(world, "getBlock", [5]))["error"]["code"] == -32001
    only = (await call(world, "getBlock", [newest - 1, {"transactionDetails": "none", "rewards": False}]))["result"]
    assert set(only) == {"previousBlockhash", "blockhash", "parentSlot", "blockTime", "blockHeight"}
    processed = await call(world, "getBlock", [newest, {"commitment": "processed"}])
    assert processed["error"] == {"code": -32602, "message": "Method does not support commitment below `confirmed`"}


@pytest.mark.parametrize(
    ("method", "params", "code", "message"),
    [
        ("getUnicorn", [], -32601, "Method not found"),
        ("getBalance", [], -32602, "`params` should have at least 1 argument"),
        ("getBalance", ["xyz"], -32602, "Invalid param: WrongSize"),
        ("getBalance", ["0OIl" * 8], -32602, "Invalid param: Invalid"),
        ("getBalance", [17], -32602, "Invalid params: invalid type: integer `17`, expected a string."),
        ("getSignatureStatuses", [["abc"]], -32602, "Invalid param: WrongSize"),
        ("getSignatureStatuses", [[str(Signature.default())] * 257], -32602, "Too many inputs provided; max 256"),
        ("getMultipleAccounts", [[str(Pubkey.default())] * 101], -32602, "Too many inputs provided; max 100"),
        ("sendTransaction", ["AAAA", {"encoding": "base64"}], -32602, "failed to deserialize"),
        (
            "sendTransaction",
            ["A" * 1700, {"encoding": "base64"}],
            -32602,
            "too large: 1700 bytes (max: encoded/raw 1644/1232)",
        ),
        ("getSlot", [{"commitment": "someday"}], -32602, "unknown variant `someday`"),
        ("getSlot", [{"minContextSlot": 10**12}], -32016, "Minimum context slot has not been reached"),
        ("getTokenSupply", [str(Pubkey.default())], -32602, "Invalid param: not a Token mint"),
    ],
)
async def test_mistakes_get_the_error_of_a_validator(
    world: World, method: str, params: list[Any], code: int, message: str
) -> None:
    """Codes and words as clients know them."""
    error = (await call(world, method, params))["error"]
    assert error["code"] == code
    assert message in error["message"]
    if code == -32016:
        assert error["data"]["contextSlot"] > 0


async def test_forged_signatures_are_refused(world: World) -> None:
    """-32003 at the door; nothing lands."""
    good = await world.signed([world.pay(Keypair().pubkey(), SOL)])
    forged = VersionedTransaction.populate(good.message, [Signature.new_unique()])
    answer = await call(world, "sendTransaction", [base64.b64encode(bytes(forged)).decode(), {"encoding": "base64"}])
    assert answer["error"] == {"code": -32003, "message": "Transaction signature verification failure"}


async def test_batches_and_malformed_bodies(world: World) -> None:
    """A batch answers each call in order; what is no request gets -32700 or -32600."""
    batch = [{"jsonrpc": "2.0", "id": i, "method": m} for i, m in enumerate(["getHealth", "getUnicorn", "getVersion"])]
    answers = await post(world, batch)
    assert [a["id"] for a in answers] == [0, 1, 2]
    assert answers[0]["result"] == "ok"
    assert answers[1]["error"]["code"] == -32601
    assert (await post(world, b"{not json"))["error"] == {"code": -32700, "message": "Parse error"}
    assert (await post(world, [])).get("error") == {"code": -32600, "message": "Invalid request"}
    assert (await post(world, {"id": 1}))["error"]["code"] == -32600


async def test_subscriptions_notify(world: World) -> None:
    """slot, root, account, program, signature and logs notifications, then unsubscription."""
    client, to = world.client, Keypair().pubkey()
    async with SolanaWsClient(world.cluster.nodes[0].websocket_url) as socket:
        await socket.slot_subscribe()
        await socket.root_subscribe()
        await socket.account_subscribe(pubkey=to, commitment=Confirmed, encoding="base64")
        await socket.program_subscribe(program_id=TOKEN_PROGRAM_ID, commitment=Confirmed, encoding="base64")
        await socket.logs_subscribe(filter_=RpcTransactionLogsFilterMentions(to), commitment=Confirmed)
        transaction = await world.signed([world.pay(to, SOL), world.token_transfer(5)])
        await socket.signature_subscribe(signature=transaction.signatures[0], commitment=Confirmed)
        await client.send_raw_transaction(bytes(transaction), TxOpts(preflight_commitment=Confirmed))
        wanted = {f"{k}Notification" for k in ("Slot", "Root", "Account", "Program", "Logs", "Signature")}
        seen: dict[str, Any] = {}
        async with asyncio.timeout(60):
            while wanted - set(seen):
                for message in [await socket.recv()]:
                    seen.setdefault(type(message).__name__, message)
        assert seen["AccountNotification"].result.value.lamports == SOL
        assert seen["LogsNotification"].result.value.signature == transaction.signatures[0]
        assert seen["SignatureNotification"].result.value.err is None
        slots = seen["SlotNotification"].result
        assert slots.root < slots.parent < slots.slot


async def is_valid(world: World, blockhash: Hash, commitment: str) -> Any:
    answer = await call(world, "isBlockhashValid", [str(blockhash), {"commitment": commitment}])
    return answer["result"]["value"]


async def call(world: World, method: str, params: list[Any] | None = None) -> Any:
    """One raw JSON-RPC call."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method}
    if params is not None:
        body["params"] = params
    return await post(world, body)


async def post(world: World, body: Any) -> Any:
    import aiohttp
    import orjson

    data = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {"Content-Type": "application/json"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(world.cluster.nodes[0].http_url, data=data, headers=headers) as response,
    ):
        return orjson.loads(await response.read())
