"""From the swap API's instructions to the message that is signed."""

from typing import Any

import pytest
from execution_cases import (
    BONK,
    INTENT_ID,
    OWNER,
    WALLET,
    as_json,
    close_wrapped,
    create_token_account,
    own_account,
    swap_instruction,
    wrap,
)
from hypothesis import given
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.system_program import decode_create_account_with_seed
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.execution.build import (
    MAX_TRANSACTION_BYTES,
    assemble,
    build_message,
    priority_fee_lamports,
    unit_price,
)
from tradingbot_engine.execution.plan import SwapPlan, check_plan, read_plan
from tradingbot_engine.execution.port import QuoteRefused, QuoteUnavailable, TransactionTooLarge
from tradingbot_engine.execution.programs import (
    COMPUTE_BUDGET,
    MEMO,
    TOKEN,
    associated_token_account,
    guard_account,
    swap_programs,
)
from tradingbot_engine.market.layouts import POOL_PROGRAM_ID

BLOCKHASH = str(Hash.new_unique())
STRANGER = Pubkey.new_unique()


def plan(**changes: Any) -> SwapPlan:
    values: dict[str, Any] = {
        "setup": (create_token_account(OWNER, Pubkey.from_string(BONK)), wrap(1_000_000_000)),
        "swap": swap_instruction(),
        "cleanup": (close_wrapped(),),
        "compute_unit_limit": 120_000,
        "compute_unit_price_micro_lamports": 50_000,
        "lookup_table_addresses": (),
    }
    return SwapPlan(**{**values, **changes})


def check(p: SwapPlan, *, sold: str = SOL_MINT, bought: str = BONK, cluster: str = "localnet") -> None:
    check_plan(
        p,
        wallet=OWNER,
        input_mint=Pubkey.from_string(sold),
        output_mint=Pubkey.from_string(bought),
        amount_in=1_000_000_000,
        min_amount_out=4_950_000,
        swap_programs=swap_programs(cluster),
    )


def build(p: SwapPlan, **changes: Any) -> VersionedTransaction:
    options: dict[str, Any] = {
        "wallet": OWNER,
        "intent_id": INTENT_ID,
        "mark": "Memo",
        "max_priority_fee_lamports": 100_000,
        "lookup_tables": (),
        "blockhash": BLOCKHASH,
    }
    message = build_message(p, **{**options, **changes})
    return VersionedTransaction.from_bytes(assemble(message, WALLET.sign_message(message)))


def programs_of(transaction: VersionedTransaction) -> list[Pubkey]:
    keys = transaction.message.account_keys
    return [keys[i.program_id_index] for i in transaction.message.instructions]


def body(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "computeBudgetInstructions": [as_json(set_compute_unit_limit(99_000)), as_json(set_compute_unit_price(7))],
        "setupInstructions": [as_json(wrap(5))],
        "swapInstruction": as_json(swap_instruction()),
        "cleanupInstruction": as_json(close_wrapped()),
        "otherInstructions": [],
        "addressLookupTableAddresses": [str(STRANGER)],
    }
    return {**values, **changes}


def test_a_marked_transaction_is_whole_signed_by_the_wallet_alone_and_fits_a_packet() -> None:
    """The memo carries the intent's id, and the signature is that of the journalled bytes."""
    transaction = build(plan())
    memo = next(
        i
        for i in transaction.message.instructions
        if programs_of(transaction)[0] == COMPUTE_BUDGET
        and transaction.message.account_keys[i.program_id_index] == MEMO
    )
    assert f"tb1:{INTENT_ID}".encode() == bytes(memo.data)
    assert transaction.verify_with_results() == [True]
    assert transaction.message.header.num_required_signatures == 1
    assert Hash.from_string(BLOCKHASH) == transaction.message.recent_blockhash
    assert len(bytes(transaction)) <= MAX_TRANSACTION_BYTES


def test_the_guard_makes_the_account_that_a_second_landing_would_trip_over() -> None:
    """It stands before the swap, so that nothing of a second landing takes effect."""
    transaction = build(plan(), mark="Guard", guard_rent_lamports=890_880)
    instruction = transaction.message.instructions[0]
    keys = transaction.message.account_keys
    metas = [AccountMeta(keys[i], False, False) for i in instruction.accounts]
    params = decode_create_account_with_seed(
        Instruction(keys[instruction.program_id_index], bytes(instruction.data), metas)
    )
    assert (INTENT_ID, guard_account(OWNER, INTENT_ID), OWNER) == (params["seed"], params["to_pubkey"], params["base"])
    assert programs_of(transaction).index(POOL_PROGRAM_ID) > 2


def test_without_a_mark_nothing_is_added() -> None:
    """`execution.mark: None` is the operator's choice; the audit then answers `unprovable`."""
    assert MEMO not in programs_of(build(plan(), mark="None"))


@given(st.integers(1, 1_400_000), st.integers(0, 10**12), st.integers(0, 10**9))
def test_the_priority_fee_never_exceeds_its_limit(units: int, advised: int, limit: int) -> None:
    """What the API advises is clamped before signing; validators round the fee up."""
    price = unit_price(units=units, advised_micro_lamports=advised, max_lamports=limit)
    assert price <= advised
    assert priority_fee_lamports(units=units, price_micro_lamports=price) <= limit


def test_an_absurd_price_from_the_api_is_clamped_in_the_message() -> None:
    """v2 pins compute units at 1.4 M: the whole fee is what counts."""
    transaction = build(plan(compute_unit_limit=1_400_000, compute_unit_price_micro_lamports=10**9))
    limit, price = (int.from_bytes(bytes(i.data)[1:], "little") for i in transaction.message.instructions[:2])
    assert priority_fee_lamports(units=limit, price_micro_lamports=price) <= 100_000


def test_too_many_accounts_do_not_fit_and_lookup_tables_make_room() -> None:
    """Over 1,232 bytes the caller asks for a route with fewer accounts."""
    crowded = plan(swap=swap_instruction(accounts=35))
    with pytest.raises(TransactionTooLarge, match="1232 is the limit"):
        build(crowded)
    looked_up = [a.pubkey for a in crowded.swap.accounts if not a.is_signer]
    table = AddressLookupTableAccount(STRANGER, looked_up)
    assert len(bytes(build(crowded, lookup_tables=(table,)))) <= MAX_TRANSACTION_BYTES


def test_the_apis_instructions_are_read_whole() -> None:
    """Every group is taken over in order; compute budget instructions become numbers."""
    got = read_plan(body())
    assert (99_000, 7, (str(STRANGER),)) == (
        got.compute_unit_limit,
        got.compute_unit_price_micro_lamports,
        got.lookup_table_addresses,
    )
    assert ([wrap(5)], [close_wrapped()]) == (list(got.setup), list(got.cleanup))


def test_of_lookup_tables_only_the_address_is_taken_from_the_api() -> None:
    """Told contents could name our accounts where the chain names a stranger's: only a node says what a table holds."""
    told = body(addressLookupTableAddresses=None, addressesByLookupTableAddress={str(STRANGER): [str(OWNER)]})
    got = read_plan(told)
    assert got.lookup_table_addresses == (str(STRANGER),)
    assert not hasattr(got, "lookup_tables")


@pytest.mark.parametrize(
    "changes",
    [
        {"swapInstruction": None},
        {"swapInstruction": {"programId": "nonsense", "accounts": [], "data": ""}},
        {"swapInstruction": {**as_json(swap_instruction()), "data": "%%%"}},
        {
            "swapInstruction": {
                **as_json(swap_instruction()),
                "accounts": [{"pubkey": str(OWNER), "isSigner": "yes", "isWritable": 1}],
            }
        },
        {"computeBudgetInstructions": [as_json(wrap(1))]},
        {"setupInstructions": "none"},
        {"addressLookupTableAddresses": ["x"]},
        {"addressLookupTableAddresses": [], "addressesByLookupTableAddress": {"x": []}},
        {"simulationError": {"errorCode": "TRANSACTION_ERROR", "error": "custom program error: 0x1789"}},
    ],
)
def test_malformed_instructions_are_refused_before_anything_is_signed(changes: dict[str, Any]) -> None:
    """Also a transaction that the API itself saw fail (HTTP 200 with a doomed transaction)."""
    with pytest.raises(QuoteUnavailable):
        read_plan(body(**changes))


def test_an_ordinary_plan_is_allowed_in_both_directions() -> None:
    """The policy must not refuse what a swap needs."""
    sale = swap_instruction(own_account(SOL_MINT), source=own_account(BONK))
    refused = ""
    try:
        check(plan())
        check(plan(setup=(), swap=sale), sold=BONK, bought=SOL_MINT)
    except QuoteRefused as error:
        refused = str(error)
    assert not refused


@pytest.mark.parametrize(
    ("offence", "changes"),
    [
        ("ForeignSigner", {"swap": swap_instruction(signer=STRANGER)}),
        ("ForeignProgram", {"swap": swap_instruction(program=STRANGER)}),
        ("ForeignDestination", {"swap": swap_instruction(STRANGER)}),
        ("ForeignProgram", {"setup": (swap_instruction(),)}),
        ("ForeignAccount", {"setup": (create_token_account(STRANGER, Pubkey.from_string(BONK)),)}),
        ("ForeignTransfer", {"setup": (wrap(1, to=STRANGER),)}),
        ("TooMuchWrapped", {"setup": (wrap(600_000_000), wrap(600_000_000))}),
        ("ForeignInstruction", {"cleanup": (close_wrapped(to=STRANGER),)}),
        (
            "ForeignInstruction",  # approve: a delegate could empty the account later
            {
                "setup": (
                    Instruction(
                        TOKEN,
                        b"\x04" + bytes(8),
                        [
                            AccountMeta(associated_token_account(OWNER, Pubkey.from_string(BONK)), False, True),
                            AccountMeta(STRANGER, False, False),
                            AccountMeta(OWNER, True, False),
                        ],
                    ),
                )
            },
        ),
    ],
)
def test_what_could_move_anything_to_anybody_else_is_refused(offence: str, changes: dict[str, Any]) -> None:
    """The API is trusted with the route, never with the wallet."""
    with pytest.raises(QuoteRefused, match=offence):
        check(plan(**changes))


def test_on_a_public_cluster_only_jupiter_is_called() -> None:
    """Localnet's pool program is nobody's elsewhere."""
    with pytest.raises(QuoteRefused, match="ForeignProgram"):
        check(plan(), cluster="mainnet-beta")


def test_a_plan_that_sells_wraps_nothing() -> None:
    """A sale of tokens has no reason to move SOL."""
    with pytest.raises(QuoteRefused, match="TooMuchWrapped"):
        check(
            plan(setup=(wrap(1),), swap=swap_instruction(own_account(SOL_MINT), source=own_account(BONK))),
            sold=BONK,
            bought=SOL_MINT,
        )
