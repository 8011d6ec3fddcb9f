"""The pool program in the real SVM: amounts, refusals, and thieves."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from tradingbot_engine.localnet import program
from tradingbot_engine.localnet.market import accounts, amm, instructions
from tradingbot_engine.localnet.market.instructions import HopAccounts
from tradingbot_engine.market.layouts import (
    POOL_MAGIC,
    POOL_PROGRAM_ID,
    POOL_SIZE,
    TOKEN_PROGRAM_ID,
    decode_pool,
    pool_authority,
    token_amount,
)

FEE_BPS = 25


class Pool:
    """One pool with its vaults, and a user with accounts of both mints, in a VM of their own."""

    def __init__(self, vm: LiteSVM, mint_a: Pubkey, mint_b: Pubkey, *, fee_bps: int = FEE_BPS) -> None:
        self.vm, self.mints = vm, (mint_a, mint_b)
        self.creator, self.address = Keypair(), Keypair().pubkey()
        self.authority, self.bump = pool_authority(self.address)
        self.vaults = tuple(accounts.associated(self.authority, mint) for mint in self.mints)
        vm.airdrop(self.creator.pubkey(), 10**9)
        vm.set_account(self.address, Account(10**9, bytes(POOL_SIZE), POOL_PROGRAM_ID, False, 0))
        self.fund((10**9, 10**9))
        failure = send(vm, [self.opening(fee_bps=fee_bps)], self.creator)
        assert failure is None

    def opening(self, **changes: object) -> Instruction:
        parts: dict[str, object] = {
            "pool": self.address,
            "authority": self.authority,
            "bump": self.bump,
            "vault_a": self.vaults[0],
            "vault_b": self.vaults[1],
            "creator": self.creator.pubkey(),
            "fee_bps": FEE_BPS,
        }
        return instructions.open_pool(**{**parts, **changes})  # type: ignore[arg-type]

    def fund(self, reserves: tuple[int, int]) -> None:
        for mint, vault, amount in zip(self.mints, self.vaults, reserves, strict=True):
            self.vm.set_account(
                vault, accounts.token_account(rent=10**9, mint=mint, owner=self.authority, amount=amount)
            )

    def hop(self, destination: Pubkey, *, a_to_b: bool = True) -> HopAccounts:
        vault_in, vault_out = self.vaults if a_to_b else self.vaults[::-1]
        return HopAccounts(self.address, self.authority, vault_in, vault_out, destination)

    def reserves(self) -> tuple[int, int]:
        return held(self.vm, self.vaults[0]), held(self.vm, self.vaults[1])


def held(vm: LiteSVM, account: Pubkey) -> int:
    found = vm.get_account(account)
    assert found is not None
    return token_amount(bytes(found.data))


def send(vm: LiteSVM, ixs: list[Instruction], *signers: Keypair) -> str | None:
    """Return None, or the program's custom error as a number in text, else the error's name."""
    vm.expire_blockhash()
    message = MessageV0.try_compile(signers[0].pubkey(), ixs, [], vm.latest_blockhash())
    result = vm.send_transaction(VersionedTransaction(message, list(signers)))
    if not hasattr(result, "err"):
        return None
    inner = getattr(result.err(), "err", result.err())
    return str(getattr(inner, "code", inner))


def give(vm: LiteSVM, owner: Keypair, mint: Pubkey, amount: int) -> Pubkey:
    address = accounts.associated(owner.pubkey(), mint)
    vm.set_account(address, accounts.token_account(rent=10**9, mint=mint, owner=owner.pubkey(), amount=amount))
    return address


@pytest.fixture(scope="module")
def vm() -> LiteSVM:
    vm = LiteSVM().with_transaction_history(0)
    vm.add_program(POOL_PROGRAM_ID, program.pool_elf())
    return vm


@pytest.fixture(scope="module")
def mints(vm: LiteSVM) -> list[Pubkey]:
    found = [Keypair().pubkey() for _ in range(3)]
    for mint in found:
        vm.set_account(mint, accounts.mint(rent=10**9, decimals=6, supply=10**15, authority=None))
    return found


@pytest.fixture(scope="module")
def user(vm: LiteSVM) -> Keypair:
    user = Keypair()
    vm.airdrop(user.pubkey(), 10**10)
    return user


@pytest.fixture
def pool(vm: LiteSVM, mints: list[Pubkey]) -> Pool:
    return Pool(vm, mints[0], mints[1])


def test_open_pool_is_decoded_as_it_was_opened(vm: LiteSVM, pool: Pool) -> None:
    """The layout in market/layouts.py is what the program writes."""
    state = decode_pool(bytes(vm.get_account(pool.address).data))
    assert (state.mint_a, state.mint_b) == pool.mints
    assert (state.vault_a, state.vault_b) == pool.vaults
    assert (state.fee_bps, state.creator, state.bump) == (FEE_BPS, pool.creator.pubkey(), pool.bump)


AMOUNT = st.one_of(st.integers(1, 10**4), st.integers(1, 2**63), st.sampled_from([0, 1, 2**64 - 1, 10**12]))
RESERVE = st.one_of(st.integers(1, 10**4), st.integers(1, 2**62), st.sampled_from([0, 2**64 - 2**63]))


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    amount=AMOUNT,
    reserve_a=RESERVE,
    reserve_b=RESERVE,
    fee_bps=st.sampled_from([0, 1, 25, 9_999]),
    a_to_b=st.booleans(),
)
def test_every_swap_gives_what_the_integer_model_says_and_never_lowers_k(
    vm: LiteSVM,
    mints: list[Pubkey],
    user: Keypair,
    amount: int,
    reserve_a: int,
    reserve_b: int,
    fee_bps: int,
    a_to_b: bool,
) -> None:
    """Quotes are computed by amm.amount_out: it must be the program's arithmetic to the last unit, refusals included."""
    pool = Pool(vm, mints[0], mints[1], fee_bps=fee_bps)
    pool.fund((reserve_a, reserve_b))
    spend, receive = (mints[0], mints[1]) if a_to_b else (mints[1], mints[0])
    source, destination = give(vm, user, spend, amount), give(vm, user, receive, 0)
    reserves = (reserve_a, reserve_b) if a_to_b else (reserve_b, reserve_a)
    expected = amm.amount_out(amount, *reserves, fee_bps)
    failure = send(
        vm, [instructions.swap(user.pubkey(), source, [pool.hop(destination, a_to_b=a_to_b)], amount, 0)], user
    )
    if expected is None:
        assert failure == "6008"
        assert pool.reserves() == (reserve_a, reserve_b)
    else:
        assert failure is None
        assert (held(vm, destination), held(vm, source)) == (expected, 0)
        assert pool.reserves()[0] * pool.reserves()[1] >= reserve_a * reserve_b


@given(
    out=st.integers(1, 10**12),
    reserve_in=st.integers(1, 2**60),
    reserve_out=st.integers(2, 2**60),
    fee_bps=st.integers(0, 9_999),
)
def test_amount_in_is_the_least_that_buys_the_amount(out: int, reserve_in: int, reserve_out: int, fee_bps: int) -> None:
    """The inverse of amount_out: never too little; one unit less is not enough, but for steps of the fee's rounding."""
    needed = amm.amount_in(out, reserve_in, reserve_out, fee_bps)
    if needed is None:
        largest = amm.U64_MAX - reserve_in
        assert out >= reserve_out or (amm.amount_out(largest, reserve_in, reserve_out, fee_bps) or 0) < out
        return
    assert (amm.amount_out(needed, reserve_in, reserve_out, fee_bps) or 0) >= out
    assert (amm.amount_out(needed - 1, reserve_in, reserve_out, fee_bps) or 0) < out


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    out=st.integers(0, 2**62),
    share=st.floats(0, 1.1),
    reserve_a=RESERVE,
    reserve_b=RESERVE,
    fee_bps=st.sampled_from([0, 1, 25, 9_999]),
)
def test_every_swap_out_spends_the_least_that_buys_the_amount(
    vm: LiteSVM,
    mints: list[Pubkey],
    user: Keypair,
    out: int,
    share: float,
    reserve_a: int,
    reserve_b: int,
    fee_bps: int,
) -> None:
    """As amm.amount_in to the last unit, refusals included; one unit less at most is 6001, and moves nothing."""
    out = min(out, int(reserve_b * share))  # else nearly all would ask for more than there is
    pool = Pool(vm, mints[0], mints[1], fee_bps=fee_bps)
    pool.fund((reserve_a, reserve_b))
    expected = amm.amount_in(out, reserve_a, reserve_b, fee_bps)
    held_before = expected if expected is not None else amm.U64_MAX - reserve_a
    source, destination = give(vm, user, mints[0], held_before), give(vm, user, mints[1], 0)

    def swap(max_in: int) -> str | None:
        return send(vm, [instructions.swap_out(user.pubkey(), source, [pool.hop(destination)], out, max_in)], user)

    if expected is None or amm.amount_out(expected, reserve_a, reserve_b, fee_bps) is None:
        assert swap(amm.U64_MAX) == "6008"
    else:
        assert swap(expected - 1) == str(instructions.SLIPPAGE_EXCEEDED)
        assert pool.reserves() == (reserve_a, reserve_b)
        assert swap(expected) is None
        assert held(vm, source) == 0
        assert held(vm, destination) == amm.amount_out(expected, reserve_a, reserve_b, fee_bps) >= out
        assert pool.reserves()[0] * pool.reserves()[1] >= reserve_a * reserve_b
        return
    assert pool.reserves() == (reserve_a, reserve_b)


def test_an_amount_out_over_two_hops_is_bought_by_the_least(vm: LiteSVM, mints: list[Pubkey], user: Keypair) -> None:
    """The way back is computed hop by hop; a wrong vault on the way is refused before anything moves."""
    first, second = Pool(vm, mints[0], mints[1]), Pool(vm, mints[1], mints[2])
    middle = amm.amount_in(10**6, 10**9, 10**9, FEE_BPS) or 0
    needed = amm.amount_in(middle, 10**9, 10**9, FEE_BPS) or 0
    source, between, end = give(vm, user, mints[0], 10**7), give(vm, user, mints[1], 77), give(vm, user, mints[2], 0)
    route = [first.hop(between), second.hop(end)]
    assert send(vm, [instructions.swap_out(user.pubkey(), source, route, 10**6, needed - 1)], user) == "6001"
    assert send(vm, [instructions.swap_out(user.pubkey(), source, route, 10**6, needed)], user) is None
    assert (held(vm, source), held(vm, between)) == (10**7 - needed, 77)
    assert 10**6 <= held(vm, end) <= 10**6 + 2
    crossed = [first.hop(between), first.hop(end)]
    refused = instructions.swap_out(user.pubkey(), source, [crossed[0], second.hop(end, a_to_b=False)], 10**6, 10**7)
    assert send(vm, [refused], user) is not None
    assert held(vm, source) == 10**7 - needed


def test_two_hops_spend_exactly_what_the_first_gave(vm: LiteSVM, mints: list[Pubkey], user: Keypair) -> None:
    """A route token → SOL → USDC leaves nothing behind in the account between."""
    first, second = Pool(vm, mints[0], mints[1]), Pool(vm, mints[1], mints[2])
    source, between, end = give(vm, user, mints[0], 10**6), give(vm, user, mints[1], 77), give(vm, user, mints[2], 0)
    middle = amm.amount_out(10**6, 10**9, 10**9, FEE_BPS)
    assert middle is not None
    expected = amm.amount_out(middle, 10**9, 10**9, FEE_BPS)
    route = instructions.swap(user.pubkey(), source, [first.hop(between), second.hop(end)], 10**6, expected or 0)
    assert send(vm, [route], user) is None
    assert (held(vm, source), held(vm, between), held(vm, end)) == (0, 77, expected)
    give(vm, user, mints[0], 10**6)
    assert (
        send(vm, [instructions.swap(user.pubkey(), source, [first.hop(between), second.hop(end)], 10**6, 10**6)], user)
        == "6001"
    )
    assert (held(vm, source), held(vm, between)) == (10**6, 77)


def test_result_below_the_minimum_fails_with_6001_and_moves_nothing(vm: LiteSVM, pool: Pool, user: Keypair) -> None:
    """Slippage is the client's limit: one unit more than the pool gives is refused with Jupiter's number."""
    source, destination = give(vm, user, pool.mints[0], 10**6), give(vm, user, pool.mints[1], 0)
    expected = amm.amount_out(10**6, 10**9, 10**9, FEE_BPS) or 0
    refused = instructions.swap(user.pubkey(), source, [pool.hop(destination)], 10**6, expected + 1)
    assert send(vm, [refused], user) == str(instructions.SLIPPAGE_EXCEEDED)
    assert pool.reserves() == (10**9, 10**9)
    assert send(vm, [instructions.swap(user.pubkey(), source, [pool.hop(destination)], 10**6, expected)], user) is None


def test_more_than_the_user_holds_is_refused_by_the_token_program(vm: LiteSVM, pool: Pool, user: Keypair) -> None:
    """SPL Token's InsufficientFunds is custom error 1."""
    source, destination = give(vm, user, pool.mints[0], 5), give(vm, user, pool.mints[1], 0)
    assert send(vm, [instructions.swap(user.pubkey(), source, [pool.hop(destination)], 10**6, 0)], user) == "1"


def changed(swap: Instruction, index: int, meta: AccountMeta) -> Instruction:
    metas = list(swap.accounts)
    metas[index] = meta
    return Instruction(swap.program_id, bytes(swap.data), metas)


def test_thief_cannot_spend_from_an_account_of_another(vm: LiteSVM, pool: Pool, user: Keypair) -> None:
    """The source's owner must sign: neither the thief's signature nor the owner's missing one will do."""
    thief = Keypair()
    vm.airdrop(thief.pubkey(), 10**9)
    source, loot = give(vm, user, pool.mints[0], 10**6), give(vm, thief, pool.mints[1], 0)
    by_thief = instructions.swap(thief.pubkey(), source, [pool.hop(loot)], 10**6, 0)
    assert send(vm, [by_thief], thief) == "4"  # SPL Token's OwnerMismatch
    unsigned = changed(by_thief, 0, AccountMeta(user.pubkey(), False, False))
    assert send(vm, [unsigned], thief) == "6007"
    assert held(vm, source) == 10**6


def test_fake_token_program_gets_no_signature_of_the_pool(vm: LiteSVM, pool: Pool, user: Keypair) -> None:
    """Only SPL Token is ever called with the vaults' authority."""
    source, destination = give(vm, user, pool.mints[0], 10**6), give(vm, user, pool.mints[1], 0)
    real = instructions.swap(user.pubkey(), source, [pool.hop(destination)], 10**6, 0)
    assert send(vm, [changed(real, 1, AccountMeta(POOL_PROGRAM_ID, False, False))], user) == "6006"


def test_vaults_of_another_pool_or_of_nobody_are_refused(vm: LiteSVM, mints: list[Pubkey], user: Keypair) -> None:
    """A swap touches the two vaults of its pool, each once."""
    pool, other = Pool(vm, mints[0], mints[1]), Pool(vm, mints[0], mints[1])
    source, destination = give(vm, user, mints[0], 10**6), give(vm, user, mints[1], 0)
    real = instructions.swap(user.pubkey(), source, [pool.hop(destination)], 10**6, 0)
    for index, stranger in ((5, other.vaults[0]), (6, other.vaults[1]), (6, pool.vaults[0]), (5, source)):
        assert send(vm, [changed(real, index, AccountMeta(stranger, False, True))], user) == "6005"
    assert (
        send(vm, [changed(real, 4, AccountMeta(other.authority, False, False))], user) is not None
    )  # not its signature
    assert pool.reserves() == other.reserves() == (10**9, 10**9)


def test_account_of_another_program_is_no_pool(vm: LiteSVM, pool: Pool, user: Keypair) -> None:
    """A forged pool with our magic, but another owner, would name any vaults."""
    forged = Keypair().pubkey()
    vm.set_account(forged, Account(10**9, bytes(vm.get_account(pool.address).data), TOKEN_PROGRAM_ID, False, 0))
    source, destination = give(vm, user, pool.mints[0], 10**6), give(vm, user, pool.mints[1], 0)
    real = instructions.swap(user.pubkey(), source, [pool.hop(destination)], 10**6, 0)
    assert send(vm, [changed(real, 3, AccountMeta(forged, False, False))], user) == "6002"


def test_pool_is_opened_once(vm: LiteSVM, pool: Pool) -> None:
    """A second opening could replace the vaults."""
    assert send(vm, [pool.opening()], pool.creator) == "6003"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"fee_bps": 10_000}, "6009"),
        ({"bump": 1}, "6004"),
        ({"authority": POOL_PROGRAM_ID}, "6004"),
    ],
)
def test_opening_with_wrong_parts_is_refused(vm: LiteSVM, pool: Pool, change: dict[str, object], error: str) -> None:
    """Fee below 100 %, and the authority is the pool's own derived address."""
    vm.set_account(pool.address, Account(10**9, bytes(POOL_SIZE), POOL_PROGRAM_ID, False, 0))
    assert send(vm, [pool.opening(**change)], pool.creator) == error


def test_vaults_that_somebody_else_could_empty_are_refused(vm: LiteSVM, pool: Pool) -> None:
    """Delegates, closers, frozen accounts, foreign owners and imitations of a token account make a vault unsafe."""
    good = bytes(vm.get_account(pool.vaults[0]).data)
    vm.set_account(pool.address, Account(10**9, bytes(POOL_SIZE), POOL_PROGRAM_ID, False, 0))
    unsafe = {
        "delegate": (72, b"\1", TOKEN_PROGRAM_ID),
        "closer": (129, b"\1", TOKEN_PROGRAM_ID),
        "frozen": (108, b"\2", TOKEN_PROGRAM_ID),
        "owner": (32, bytes(pool.creator.pubkey()), TOKEN_PROGRAM_ID),
        "imitation": (0, b"", POOL_PROGRAM_ID),
    }
    for at, replacement, owner in unsafe.values():
        data = good[:at] + replacement + good[at + len(replacement) :]
        vm.set_account(pool.vaults[0], Account(10**9, data, owner, False, 0))
        assert send(vm, [pool.opening()], pool.creator) == "6005"
    vm.set_account(pool.vaults[0], Account(10**9, good, TOKEN_PROGRAM_ID, False, 0))
    assert send(vm, [pool.opening(vault_b=pool.vaults[0])], pool.creator) == "6005"
    assert send(vm, [pool.opening()], pool.creator) is None


def test_only_the_creator_withdraws(vm: LiteSVM, pool: Pool, user: Keypair) -> None:
    """Liquidity leaves by the creator's signature alone; that is also how a rug is pulled."""
    to_a, to_b = give(vm, pool.creator, pool.mints[0], 0), give(vm, pool.creator, pool.mints[1], 0)
    parts = {"pool": pool.address, "authority": pool.authority, "vault_a": pool.vaults[0], "vault_b": pool.vaults[1]}
    amounts = {"to_a": to_a, "to_b": to_b, "amount_a": 10**8, "amount_b": 9 * 10**8}
    assert send(vm, [instructions.withdraw(creator=user.pubkey(), **parts, **amounts)], user) == "6010"
    theirs = instructions.withdraw(creator=pool.creator.pubkey(), **parts, **amounts)
    assert send(vm, [changed(theirs, 0, AccountMeta(pool.creator.pubkey(), False, False))], user) == "6007"
    assert send(vm, [theirs], pool.creator) is None
    assert pool.reserves() == (9 * 10**8, 10**8)
    assert (held(vm, to_a), held(vm, to_b)) == (10**8, 9 * 10**8)


@pytest.mark.parametrize("data", [b"", b"\3", b"\1", b"\1" + bytes(15), b"\0\1", bytes(40), b"\2" + bytes(17)])
def test_malformed_instructions_are_refused(vm: LiteSVM, pool: Pool, user: Keypair, data: bytes) -> None:
    """No instruction reads behind its data or its accounts."""
    metas = list(instructions.swap(user.pubkey(), user.pubkey(), [pool.hop(user.pubkey())], 1, 0).accounts)
    assert send(vm, [Instruction(POOL_PROGRAM_ID, data, metas)], user) == "6000"
    assert send(vm, [Instruction(POOL_PROGRAM_ID, b"\1" + bytes(16), metas[:3])], user) == "6000"


def test_binary_matches_its_hash_and_a_damaged_one_is_refused(tmp_path, monkeypatch) -> None:
    """The committed program file is the reviewed one."""
    for name in ("pool.so", "pool.so.sha256"):
        shutil.copy(program.FOLDER / name, tmp_path / name)
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    assert program.pool_elf()[:4] == b"\x7fELF"
    (tmp_path / "pool.so").write_bytes(program.pool_elf().replace(POOL_MAGIC[:4], b"XXXX") + b"\0")
    with pytest.raises(program.ProgramDamaged):
        program.pool_elf()


def test_source_builds_to_the_committed_binary_byte_for_byte(tmp_path) -> None:
    """Nobody has to trust the binary: clang-14 and link.py make the same bytes from the source."""
    if shutil.which("clang-14") is None:
        pytest.skip("clang-14 is not installed")
    subprocess.run([program.FOLDER / "build.sh", tmp_path], check=True)
    assert (tmp_path / "pool.so").read_bytes() == (program.FOLDER / "pool.so").read_bytes()
    assert (tmp_path / "pool.so.sha256").read_text() == (program.FOLDER / "pool.so.sha256").read_text()
