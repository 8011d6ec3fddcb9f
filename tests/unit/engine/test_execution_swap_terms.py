"""What a swap instruction would do is read from its bytes, and nothing else than what was agreed to is signed."""

import hashlib
import struct
from typing import Any

import pytest
from execution_cases import BONK, OWNER, own_account, swap_instruction
from hypothesis import given
from hypothesis import strategies as st
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import SOL_MINT
from tradingbot_engine.execution.plan import SwapPlan, check_plan
from tradingbot_engine.execution.port import QuoteRefused
from tradingbot_engine.execution.programs import (
    JUPITER,
    TOKEN,
    TOKEN_2022,
    associated_token_account,
    swap_programs,
)
from tradingbot_engine.execution.swap_terms import read_terms

AMOUNT, QUOTED, SLIPPAGE, LEAST = 1_000_000_000, 5_000_000, 100, 4_950_000
SOURCE, DESTINATION = own_account(SOL_MINT), own_account(BONK)
SOL, TOKEN_MINT = Pubkey.from_string(SOL_MINT), Pubkey.from_string(BONK)
STRANGER = Pubkey.new_unique()
THEIRS = own_account(BONK, STRANGER)
EVENTS = Pubkey.from_string("D8cy77BBepLMngZx6ZukaTff5hCt1HrWyKk3Hnd9oitf")
RAYDIUM, SOLFI, WHIRLPOOL_V2, DLMM_V2 = b"\x07", b"\x3d\x01", b"\x2f\x01\x01\x01\0\0\0\x06\x02", b"\x4b\0\0\0\0"

LAYOUTS: dict[str, list[Pubkey]] = {
    "route": [TOKEN, OWNER, SOURCE, DESTINATION, JUPITER, TOKEN_MINT, JUPITER, EVENTS, JUPITER],
    "shared_accounts_route": [
        *(TOKEN, STRANGER, OWNER, SOURCE, STRANGER, STRANGER, DESTINATION, SOL, TOKEN_MINT),
        *(JUPITER, TOKEN_2022, EVENTS, JUPITER),
    ],
    "route_v2": [OWNER, SOURCE, DESTINATION, SOL, TOKEN_MINT, TOKEN, TOKEN, JUPITER, EVENTS, JUPITER],
    "shared_accounts_route_v2": [
        *(STRANGER, OWNER, SOURCE, STRANGER, STRANGER, DESTINATION, SOL, TOKEN_MINT, TOKEN, TOKEN, EVENTS, JUPITER),
    ],
}
PLACES = {  # signer, source, destination
    "route": (1, 2, 3),
    "shared_accounts_route": (2, 3, 6),
    "route_v2": (0, 1, 2),
    "shared_accounts_route_v2": (1, 2, 5),
}
KINDS = pytest.mark.parametrize("kind", sorted(LAYOUTS))


def jupiter(
    kind: str,
    *,
    amount: int = AMOUNT,
    quoted: int = QUOTED,
    slippage: int = SLIPPAGE,
    fee: int = 0,
    positive: int = 0,
    markets: tuple[bytes, ...] = (RAYDIUM,),
    behind: bytes = b"",
    keys: dict[int, Pubkey] | None = None,
) -> Instruction:
    """One of Jupiter's swaps, byte for byte as its interface says."""
    v2 = kind.endswith("_v2")
    steps = b"".join(m + (struct.pack("<H", 10_000) if v2 else b"\x64") + b"\0\1" for m in markets)
    plan = struct.pack("<I", len(markets)) + steps
    terms = struct.pack("<QQH", amount, quoted, slippage)
    arguments = terms + struct.pack("<HH", fee, positive) + plan if v2 else plan + terms + bytes([fee])
    data = hashlib.sha256(f"global:{kind}".encode()).digest()[:8] + (b"\7" if "shared" in kind else b"")
    accounts = [(keys or {}).get(i, key) for i, key in enumerate(LAYOUTS[kind])]
    return Instruction(JUPITER, data + arguments + behind, [AccountMeta(key, key == OWNER, True) for key in accounts])


def check(swap: Instruction, **changes: Any) -> None:
    plan = SwapPlan(
        setup=(),
        swap=swap,
        cleanup=(),
        compute_unit_limit=None,
        compute_unit_price_micro_lamports=0,
        lookup_table_addresses=(),
    )
    agreed: dict[str, Any] = {
        "wallet": OWNER,
        "input_mint": SOL,
        "output_mint": TOKEN_MINT,
        "amount_in": AMOUNT,
        "min_amount_out": LEAST,
        "swap_programs": swap_programs("localnet"),
    }
    check_plan(plan, **{**agreed, **changes})


def refusal(swap: Instruction) -> str:
    """Return why a swap is refused; empty if it is not."""
    try:
        check(swap)
    except QuoteRefused as error:
        return str(error)
    return ""


@KINDS
def test_a_swap_of_jupiters_as_it_was_agreed_to_is_allowed(kind: str) -> None:
    """All four ways in which it swaps an exact amount in."""
    agreed = [jupiter(kind), jupiter(kind, quoted=QUOTED + 1000)]
    if kind.startswith("route"):
        agreed.append(jupiter(kind, keys={4 if kind == "route" else 7: DESTINATION}))
    assert not any(refusal(swap) for swap in agreed)


@KINDS
@pytest.mark.parametrize(
    ("offence", "changes"),
    [
        ("WrongAmount", {"amount": 2**64 - 1}),
        ("WrongAmount", {"amount": AMOUNT - 1}),
        ("WrongMinimum", {"quoted": 0}),
        ("WrongMinimum", {"quoted": QUOTED - 2}),
        ("WrongMinimum", {"slippage": 10_000}),
        ("WrongMinimum", {"slippage": 65_535}),
        ("PlatformFee", {"fee": 1}),
    ],
)
def test_other_figures_than_agreed_are_refused(kind: str, offence: str, changes: dict[str, int]) -> None:
    """The quote is words; these are the figures that the program will execute."""
    with pytest.raises(QuoteRefused, match=offence):
        check(jupiter(kind, **changes))


@KINDS
@pytest.mark.parametrize(("place", "offence"), [(0, "ForeignSigner"), (1, "ForeignSource"), (2, "ForeignDestination")])
def test_strangers_in_the_places_that_count_are_refused_even_if_we_are_named_elsewhere(
    kind: str, place: int, offence: str
) -> None:
    """Our own account somewhere among the rest says nothing about where the money goes."""
    swap = jupiter(kind, keys={PLACES[kind][place]: THEIRS})
    swap = Instruction(JUPITER, bytes(swap.data), [*swap.accounts, AccountMeta(DESTINATION, False, True)])
    with pytest.raises(QuoteRefused, match=offence):
        check(swap)


@pytest.mark.parametrize(("kind", "place"), [("route", 4), ("route_v2", 7)])
def test_a_swap_that_pays_on_to_somebody_is_refused(kind: str, place: int) -> None:
    """The optional last stop comes after ours."""
    with pytest.raises(QuoteRefused, match="ForeignDestination"):
        check(jupiter(kind, keys={place: THEIRS}))


@KINDS
def test_the_account_of_another_token_of_ours_is_not_what_we_sell(kind: str) -> None:
    """All positions are ours; only one of them is for sale."""
    other = associated_token_account(OWNER, Pubkey.new_unique())
    with pytest.raises(QuoteRefused, match="ForeignSource"):
        check(jupiter(kind, keys={PLACES[kind][1]: other}))


@KINDS
def test_no_route_leads_over_the_account_of_another_position(kind: str) -> None:
    """A market along the route gets the wallet's signature, and could spend what it is shown."""
    other = Pubkey.new_unique()
    for program in (TOKEN, TOKEN_2022):
        kept = AccountMeta(associated_token_account(OWNER, other, program), False, True)
        swap = Instruction(JUPITER, bytes(jupiter(kind).data), [*jupiter(kind).accounts, kept])
        check(swap)
        with pytest.raises(QuoteRefused, match="ForeignAccount"):
            check(swap, other_mints=[TOKEN_MINT, SOL, other])
    check(jupiter(kind), other_mints=[TOKEN_MINT, SOL, other])


@pytest.mark.parametrize(("kind", "place"), [("route", 6), ("shared_accounts_route", 9)])
def test_an_account_for_fees_is_refused(kind: str, place: int) -> None:
    """No fee was agreed to, so none needs an account."""
    with pytest.raises(QuoteRefused, match="PlatformFee"):
        check(jupiter(kind, keys={place: STRANGER}))


@pytest.mark.parametrize("kind", ["route_v2", "shared_accounts_route_v2"])
def test_a_share_of_our_gain_is_a_fee(kind: str) -> None:
    """What is better than quoted is ours too."""
    with pytest.raises(QuoteRefused, match="PlatformFee"):
        check(jupiter(kind, positive=50))


@pytest.mark.parametrize("kind", ["route", "shared_accounts_route"])
def test_figures_behind_the_ones_that_the_program_reads_prove_nothing(kind: str) -> None:
    """The program reads to the end of its arguments and ignores the rest: honest figures at the end would be a disguise."""
    honest = struct.pack("<QQHB", AMOUNT, QUOTED, SLIPPAGE, 0)
    with pytest.raises(QuoteRefused, match="UnreadableSwap"):
        check(jupiter(kind, amount=2**64 - 1, quoted=0, behind=honest))


@pytest.mark.parametrize("kind", ["route", "shared_accounts_route"])
def test_plans_over_several_markets_are_read_to_their_end(kind: str) -> None:
    """Markets differ in how many bytes they take; one that is not known cannot be skipped."""
    check(jupiter(kind, markets=(SOLFI, WHIRLPOOL_V2, DLMM_V2, RAYDIUM)))
    with pytest.raises(QuoteRefused, match="market 120"):
        check(jupiter(kind, markets=(b"\x78",)))
    with pytest.raises(QuoteRefused, match="plan of 0 steps"):
        check(jupiter(kind, markets=()))


@pytest.mark.parametrize("name", ["exact_out_route", "exact_out_route_v2", "route_with_token_ledger", "claim"])
def test_instructions_that_do_something_else_are_refused(name: str) -> None:
    """An exact-out route spends what the chain decides."""
    data = hashlib.sha256(f"global:{name}".encode()).digest()[:8] + bytes(jupiter("route_v2").data)[8:]
    with pytest.raises(QuoteRefused, match="UnreadableSwap"):
        check(Instruction(JUPITER, data, jupiter("route_v2").accounts))


def test_the_pool_programs_figures_and_accounts_are_bound_too() -> None:
    """What localnet executes is checked like what mainnet executes."""
    check(swap_instruction())
    check(swap_instruction(accounts=10))
    for offence, changes in (
        ("WrongAmount", {"amount": 2**64 - 1}),
        ("WrongMinimum", {"min_out": 0}),
        ("WrongMinimum", {"min_out": LEAST - 1}),
        ("ForeignSource", {"source": own_account(BONK)}),
        ("UnreadableSwap", {"accounts": 1}),
        ("UnreadableSwap", {"accounts": 15}),
    ):
        with pytest.raises(QuoteRefused, match=offence):
            check(swap_instruction(**changes))
    with pytest.raises(QuoteRefused, match="ForeignDestination"):
        check(swap_instruction(THEIRS))
    with pytest.raises(QuoteRefused, match="UnreadableSwap"):
        check(Instruction(swap_instruction().program_id, b"\2" + bytes(16), swap_instruction().accounts))


def test_figures_of_real_swaps_are_read_as_the_chain_executed_them() -> None:
    """A route over four markets with a fee, and one over one: amounts as their wallets' balances changed on mainnet."""
    four = "bb64facc31c4af1480841e00000000006e2b159d0f00000064000a00000004000000574b4f5d83e1caa400009821000326780500021100102702036310270304"
    one = "e517cb977ae3ad2a010000003d016400010065cd1d000000006049763000000000330000"
    terms = read_terms(Instruction(JUPITER, bytes.fromhex(four), jupiter("route_v2").accounts))
    assert (terms.amount_in, terms.fees_bps) == (173_989_761 - 171_989_761, 10)
    assert terms.min_out <= 66_980_582_126
    terms = read_terms(Instruction(JUPITER, bytes.fromhex(one), jupiter("route").accounts))
    assert (terms.amount_in, terms.fees_bps) == (500_000_000 - 0, 0)
    assert terms.min_out <= 812_420_478


@given(st.binary(max_size=80), st.integers(0, 14), st.sampled_from(sorted(LAYOUTS)), st.booleans())
def test_no_bytes_crash_the_reader(junk: bytes, accounts: int, kind: str, ours: bool) -> None:
    """Whatever the API sends is either terms or a refusal."""
    head = hashlib.sha256(f"global:{kind}".encode()).digest()[:8]
    program = JUPITER if ours else swap_instruction().program_id
    metas = jupiter("route").accounts[:accounts]
    try:
        terms = read_terms(Instruction(program, head + junk if ours else junk, metas))
    except QuoteRefused:
        return
    assert {terms.signer, terms.source, terms.destination} <= {meta.pubkey for meta in metas}
