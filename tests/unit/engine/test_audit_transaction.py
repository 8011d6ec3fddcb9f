"""What one transaction says about the wallet, from hand-made answers of a node."""

import base64
import struct

import based58
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountWithSeedParams, create_account_with_seed
from solders.transaction import Transaction

from tradingbot_engine.audit.transaction import (
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
    Unreadable,
    associated,
    read_transaction,
)
from tradingbot_engine.domain.units import SOL_MINT

WALLET, STRANGER = Keypair.from_seed(bytes([1] * 32)), Keypair.from_seed(bytes([2] * 32))
ME = str(WALLET.pubkey())
ID, OTHER_ID = "0123456789abcdef" * 2, "f" * 32
MEMOS = ("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwjDxFMNo", "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
VAULT, OTHER_VAULT, TEMPORARY = (str(Pubkey([n] * 32)) for n in (11, 12, 13))
POOL_PROGRAM = str(Pubkey([14] * 32))
MY_TOKENS = associated(ME, MINT, TOKEN_PROGRAM)
MY_WSOL = associated(ME, SOL_MINT, TOKEN_PROGRAM)


def memo(text: str, program: str = MEMOS[1]) -> Instruction:
    return Instruction(Pubkey.from_string(program), text.encode(), [])


def touch(*accounts: str) -> Instruction:
    return Instruction(
        Pubkey.from_string(POOL_PROGRAM), b"", [AccountMeta(Pubkey.from_string(a), False, True) for a in accounts]
    )


def answer(
    instructions, *, payer=WALLET, inner=(), pre=(), post=(), err=None, fee=5000, others=(), **changes
) -> tuple[dict, str]:
    """Return what getTransaction would say, and the signature; `inner` holds (program, accounts, data)."""
    message = Message.new_with_blockhash(list(instructions), payer.pubkey(), Hash.default())
    transaction = Transaction([payer, *others], message, Hash.default())
    keys = [str(k) for k in message.account_keys]
    loaded = {"writable": [], "readonly": []}
    for program, accounts, _ in inner:
        for key in (program, *accounts):
            if key not in keys + loaded["writable"]:
                loaded["writable"].append(key)
    keys += loaded["writable"]

    def balances(entries):
        return [
            {
                "accountIndex": keys.index(account),
                "mint": mint,
                "owner": owner,
                "programId": program,
                "uiTokenAmount": {"amount": str(amount)},
            }
            for account, mint, owner, amount, program in entries
        ]

    meta = {
        "err": err,
        "fee": fee,
        "preBalances": [10**9] * len(keys),
        "postBalances": [10**9 - fee, *[10**9] * (len(keys) - 1)],
        "preTokenBalances": balances(pre),
        "postTokenBalances": balances(post),
        "loadedAddresses": loaded,
        "innerInstructions": [
            {
                "index": 0,
                "instructions": [
                    {
                        "programIdIndex": keys.index(program),
                        "accounts": [keys.index(a) for a in accounts],
                        "data": based58.b58encode(data).decode(),
                    }
                    for program, accounts, data in inner
                ],
            }
        ],
        **changes,
    }
    body = {"slot": 7, "transaction": [base64.b64encode(bytes(transaction)).decode(), "base64"], "meta": meta}
    return body, str(transaction.signatures[0])


def read(*args, **kwargs):
    body, signature = answer(*args, **kwargs)
    return read_transaction(body, signature=signature, wallet=ME)


@pytest.mark.parametrize("program", MEMOS)
def test_a_memo_of_either_program_is_a_mark(program):
    """Wallets of some age know only the first memo program."""
    assert read([memo(f"tb1:{ID}", program)]).marks == (ID,)


@pytest.mark.parametrize(
    "text", [f"tb1:{ID}0", f"tb1:{ID[:31]}", f"tb1:{ID.upper()}", f"xtb1:{ID}", f"tb2:{ID}", "tb1:", ID, f"tb1: {ID}"]
)
def test_what_only_looks_like_a_mark_is_none(text):
    """A mark is exactly 32 lower-case hexadecimal characters after its prefix."""
    assert read([memo(text)]).marks == ()


def test_each_mark_counts_once_and_several_marks_all_count():
    """Saying it twice in one transaction is no second landing; naming two intents lands both."""
    assert read([memo(f"tb1:{ID}"), memo(f"tb1:{ID} tb1:{OTHER_ID}")]).marks == (ID, OTHER_ID)


def test_a_mark_in_an_inner_instruction_is_not_ours():
    """Any program could write one into its own call."""
    landed = read([touch(VAULT)], inner=[(MEMOS[1], (), f"tb1:{ID}".encode())])
    assert landed.marks == ()


def guard(base: Keypair, seed: str) -> Instruction:
    return create_account_with_seed(
        CreateAccountWithSeedParams(
            from_pubkey=WALLET.pubkey(),
            to_pubkey=Pubkey.create_with_seed(base.pubkey(), seed, Pubkey.default()),
            base=base.pubkey(),
            seed=seed,
            lamports=890_880,
            space=0,
            owner=Pubkey.default(),
        )
    )


def test_a_guard_account_made_from_the_wallet_is_a_mark():
    """The seed is the intent's id, the base is the wallet."""
    assert read([guard(WALLET, ID)]).marks == (ID,)
    assert read([guard(WALLET, "savings")]).marks == ()


def test_a_guard_account_of_another_base_is_not():
    """Somebody else's account with our seed is somebody else's."""
    assert read([guard(STRANGER, ID)], others=[STRANGER]).marks == ()


def test_signed_means_among_the_signers():
    """Mentioned by a stranger: not ours. Co-signed: ours, whoever pays."""
    mention = Instruction(Pubkey.from_string(POOL_PROGRAM), b"", [AccountMeta(WALLET.pubkey(), False, True)])
    assert not read([mention, memo(f"tb1:{ID}")], payer=STRANGER).signed
    co_signed = Instruction(Pubkey.from_string(POOL_PROGRAM), b"", [AccountMeta(WALLET.pubkey(), True, True)])
    assert read([co_signed], payer=STRANGER, others=[WALLET]).signed


def transfer(amount: int) -> bytes:
    return struct.pack("<BQ", 3, amount)


def checked(amount: int) -> bytes:
    return struct.pack("<BQB", 12, amount, 9)


BALANCES = {
    "pre": [(MY_TOKENS, MINT, ME, 100, TOKEN_PROGRAM), (VAULT, MINT, "pool", 900, TOKEN_PROGRAM)],
    "post": [(MY_TOKENS, MINT, ME, 160, TOKEN_PROGRAM), (VAULT, MINT, "pool", 840, TOKEN_PROGRAM)],
}


def test_a_swap_is_what_inner_transfers_moved_between_the_wallet_and_others():
    """Wrapped SOL in an account that lives only within the transaction is in no balance list and counts all the same."""
    landed = read(
        [touch(MY_TOKENS, MY_WSOL, VAULT, OTHER_VAULT)],
        inner=[
            (TOKEN_PROGRAM, (MY_WSOL, OTHER_VAULT, ME), transfer(5_000)),
            (TOKEN_PROGRAM, (VAULT, MINT, MY_TOKENS, POOL_PROGRAM), checked(60)),
        ],
        **BALANCES,
    )
    assert (landed.swapped, landed.balances) == ({MINT: 60, SOL_MINT: -5_000}, {MINT: 60})


def test_transfers_between_strangers_and_within_the_wallet_cancel_out():
    """A route through three pools moves much that is not ours."""
    landed = read(
        [touch(MY_TOKENS, VAULT, OTHER_VAULT, TEMPORARY)],
        inner=[
            (TOKEN_PROGRAM, (VAULT, OTHER_VAULT, POOL_PROGRAM), transfer(777)),
            (TOKEN_PROGRAM, (TEMPORARY, MINT), struct.pack("<B", 18) + bytes(WALLET.pubkey())),
            (TOKEN_PROGRAM, (MY_TOKENS, TEMPORARY, ME), transfer(40)),
        ],
        **BALANCES,
    )
    assert landed.swapped == {}


def test_an_account_that_the_wallet_initializes_on_the_way_is_the_wallets():
    """Temporary accounts of routers: made, filled and closed within one transaction."""
    landed = read(
        [touch(TEMPORARY, VAULT)],
        inner=[
            (TOKEN_PROGRAM, (TEMPORARY, MINT), struct.pack("<B", 18) + bytes(WALLET.pubkey())),
            (TOKEN_PROGRAM, (VAULT, TEMPORARY, POOL_PROGRAM), transfer(40)),
        ],
        pre=[(VAULT, MINT, "pool", 900, TOKEN_PROGRAM)],
    )
    assert landed.swapped == {MINT: 40}


def test_a_transfer_fee_that_the_instruction_tells_is_taken_off_what_arrives():
    """Token-2022: sent 60, fee 2, received 58."""
    mine = associated(ME, MINT, TOKEN_2022_PROGRAM)
    landed = read(
        [touch(mine, VAULT)],
        inner=[(TOKEN_2022_PROGRAM, (VAULT, MINT, mine, POOL_PROGRAM), struct.pack("<BBQBQ", 26, 1, 60, 5, 2))],
        pre=[(VAULT, MINT, "pool", 900, TOKEN_2022_PROGRAM)],
        post=[(mine, MINT, ME, 58, TOKEN_2022_PROGRAM), (VAULT, MINT, "pool", 840, TOKEN_2022_PROGRAM)],
    )
    assert (landed.swapped, landed.balances, landed.fee_mints) == ({MINT: 58}, {MINT: 58}, frozenset({MINT}))


def test_a_failed_transaction_moved_nothing_but_its_fee():
    """Its inner instructions were undone."""
    landed = read(
        [touch(MY_TOKENS, VAULT)],
        inner=[(TOKEN_PROGRAM, (VAULT, MY_TOKENS, POOL_PROGRAM), transfer(60))],
        err={"InstructionError": [0, {"Custom": 6001}]},
        fee=7000,
        **BALANCES,
    )
    assert (landed.failed, landed.swapped, landed.balances, landed.lamports) == (True, {}, {}, -7000)


def test_an_answer_about_another_transaction_is_unreadable():
    """A node that mixes up its answers proves nothing."""
    body, _ = answer([memo("x")])
    _, other = answer([memo("y")])
    with pytest.raises(Unreadable):
        read_transaction(body, signature=other, wallet=ME)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["accountIndex", "mint", "index"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(st.sampled_from(["slot", "transaction", "meta"]), JSON), st.data())
def test_a_damaged_answer_is_unreadable_or_read_never_a_crash(damage, data):
    """Wrong types, missing parts and absurd numbers end in one error."""
    body, signature = answer(
        [touch(MY_TOKENS, VAULT)], inner=[(TOKEN_PROGRAM, (VAULT, MY_TOKENS, POOL_PROGRAM), transfer(60))], **BALANCES
    )
    for key, value in damage.items():
        if key == "meta":
            name = data.draw(st.sampled_from(sorted(body["meta"])))
            body["meta"][name] = value
        else:
            body[key] = value
    try:
        read_transaction(body, signature=signature, wallet=ME)
    except Unreadable:
        assert damage
