"""Fills come from the chain, exact to the lamport."""

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import based58
import pytest
from execution_cases import BONK, INTENT_ID, OWNER, attempt, intent, record
from execution_cases import WALLET as OWNER_KEY
from pydantic import SecretStr
from scripted_rpc import RECORDED, ScriptedNode, serving

from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.intents import IntentState
from tradingbot_engine.domain.signals import Purpose, Side
from tradingbot_engine.domain.units import SOL_MINT, USDC_MINT
from tradingbot_engine.execution.fills import fill_of
from tradingbot_engine.execution.live import LiveExecutor
from tradingbot_engine.execution.programs import (
    JITO_TIP_ACCOUNTS,
    SYSTEM,
    WRAPPED_SOL,
    associated_token_account,
    guard_account,
)
from tradingbot_engine.execution.signer import KeyFileSigner
from tradingbot_engine.execution.swap import SwapApi
from tradingbot_engine.execution.wallet_change import FillUnbalanced, read_change
from tradingbot_engine.rpc.pool import RpcPool
from tradingbot_engine.settings import (
    BotSettings,
    EndpointSettings,
    EngineSettings,
    ExecutionSettings,
    LedgerSettings,
    MarketSettings,
    RpcSettings,
    StrategySettings,
    SwapSettings,
    TokenSettings,
    WalletSettings,
)

TRANSCRIPTS = RECORDED / "fixtures" / "solana_http_transcripts.jsonl.gz"
BODIES = RECORDED / "fixtures" / "solana_rpc_bodies.jsonl.gz"
BLOCK = RECORDED / "onchain" / "block_285000037.json.gz"
needs = lambda path: pytest.mark.skipif(not path.exists(), reason="recorded data is not beside the repository")  # noqa: E731

WALLET = str(OWNER)
RENT = 2_039_280


class Tx:
    """A transaction by its balances: account → lamports before and after, token amounts before and after."""

    def __init__(self, fee: int = 15_000, err: Any = None) -> None:
        self.keys, self.pre, self.post = [WALLET], [10_000_000_000], [10_000_000_000 - fee]
        self.tokens: dict[str, list[dict[str, Any]]] = {"pre": [], "post": []}
        self.fee, self.err, self.instructions = fee, err, []

    def account(self, key: str, pre: int, post: int) -> int:
        self.keys.append(key)
        self.pre.append(pre)
        self.post.append(post)
        return len(self.keys) - 1

    def wallet(self, change: int) -> "Tx":
        self.post[0] += change
        return self

    def token(self, index: int, mint: str, pre: int | None, post: int | None, owner: str = WALLET) -> "Tx":
        for when, amount in (("pre", pre), ("post", post)):
            if amount is not None:
                self.tokens[when].append(
                    {
                        "accountIndex": index,
                        "mint": mint,
                        "owner": owner,
                        "uiTokenAmount": {"amount": str(amount), "decimals": 5},
                    }
                )
        return self

    def json(self) -> dict[str, Any]:
        return {
            "slot": 500,
            "blockTime": 1_700_000_000,
            "transaction": {
                "signatures": ["sig1"],
                "message": {"accountKeys": self.keys, "instructions": self.instructions},
            },
            "meta": {
                "err": self.err,
                "fee": self.fee,
                "preBalances": self.pre,
                "postBalances": self.post,
                "preTokenBalances": self.tokens["pre"],
                "postTokenBalances": self.tokens["post"],
                "loadedAddresses": {"writable": [], "readonly": []},
            },
        }


def bought(spent: int = 1_000_000_000, got: int = 5_000_000) -> Tx:
    """A first buy with SOL: the pool's wrapped SOL grows, the wallet's token account is made."""
    tx = Tx().wallet(-spent - RENT)
    vault = tx.account("Vault11111111111111111111111111111111111111", 50 * 10**9, 50 * 10**9 + spent)
    tx.token(vault, SOL_MINT, 50 * 10**9, 50 * 10**9 + spent, owner="pool")
    account = tx.account(str(associated_token_account(OWNER, WRAPPED_SOL)), 0, RENT)
    return tx.token(account, BONK, None, got)


def fill(tx: Tx | dict[str, Any], *, quote_mint: str = SOL_MINT, **changes: Any) -> Any:
    body = tx.json() if isinstance(tx, Tx) else tx
    return fill_of(
        body, intent=intent(**changes), attempt=attempt(), wallet=WALLET, quote_mint=quote_mint, finalized=True
    )


def balanced(f: Any, quote_lamports: int) -> bool:
    return bool(
        f.lamport_delta
        == quote_lamports - f.base_fee_lamports - f.priority_fee_lamports - f.tip_lamports - f.rent_lamports
    )


def test_a_buy_with_sol_splits_into_swap_fees_and_rent() -> None:
    """delta = swap - base fee - priority fee - tip - rent, each by itself."""
    f = fill(bought())
    assert (f.base_delta, f.quote_delta) == (5_000_000, -1_000_000_000)
    assert (f.base_fee_lamports, f.priority_fee_lamports, f.tip_lamports, f.rent_lamports) == (5000, 10_000, 0, RENT)
    assert f.lamport_delta == -1_000_000_000 - RENT - 15_000
    assert balanced(f, f.quote_delta)
    assert (f.slot, f.block_time_ms, f.finalized, f.paper) == (500, 1_700_000_000_000, True, False)


def test_a_sale_for_sol_that_closes_a_wrapped_account_counts_what_was_wrapped_before_as_no_gain() -> None:
    """Unwrapping moves the wallet's own money: it is rent that came back, not proceeds of the swap."""
    old_wrapped = 7_000_000
    tx = Tx().wallet(900_000_000 + RENT + old_wrapped)
    vault = tx.account("Vault11111111111111111111111111111111111111", 50 * 10**9, 50 * 10**9 - 900_000_000)
    tx.token(vault, SOL_MINT, 50 * 10**9, 50 * 10**9 - 900_000_000, owner="pool")
    wrapped = tx.account(str(associated_token_account(OWNER, WRAPPED_SOL)), RENT + old_wrapped, 0)
    tx.token(wrapped, SOL_MINT, old_wrapped, None)
    tokens = tx.account("Tokens1111111111111111111111111111111111111", RENT, RENT)
    tx.token(tokens, BONK, 5_000_000, 0)
    f = fill(tx, side=Side.SELL, purpose=Purpose.EXIT, amount_in=5_000_000)
    assert (-5_000_000, 900_000_000, -RENT - old_wrapped) == (f.base_delta, f.quote_delta, f.rent_lamports)
    assert balanced(f, f.quote_delta)


def test_a_buy_with_usdc_moves_lamports_only_for_fees_and_rent() -> None:
    """The quote currency is a token then."""
    tx = Tx().wallet(-RENT)
    tx.token(tx.account("Usdc111111111111111111111111111111111111111", RENT, RENT), USDC_MINT, 200_000_000, 100_000_000)
    tx.token(tx.account("Bonk111111111111111111111111111111111111111", 0, RENT), BONK, None, 5_000_000)
    f = fill(tx, quote_mint=USDC_MINT, amount_in=100_000_000)
    assert (f.base_delta, f.quote_delta, f.lamport_delta) == (5_000_000, -100_000_000, -15_000 - RENT)
    assert balanced(f, 0)


def test_tips_and_the_guards_rent_are_told_apart_from_the_swap() -> None:
    """A tip is a cost; the guard's rent comes back."""
    tip_account = sorted(JITO_TIP_ACCOUNTS)[0]
    tx = bought().wallet(-40_000 - 890_880)
    tip = tx.account(tip_account, 10**9, 10**9 + 40_000)
    tx.account(str(guard_account(OWNER, INTENT_ID)), 0, 890_880)
    system = tx.account(str(SYSTEM), 1, 1)
    data = based58.b58encode(b"\2\0\0\0" + (40_000).to_bytes(8, "little")).decode()
    tx.instructions.append({"programIdIndex": system, "accounts": [0, tip], "data": data})
    f = fill(tx)
    assert (f.quote_delta, f.tip_lamports, f.rent_lamports) == (-1_000_000_000, 40_000, RENT + 890_880)
    assert balanced(f, f.quote_delta)


def test_of_a_failed_transaction_only_the_fee_moved() -> None:
    """Error 6001: nothing was swapped, the fee is gone."""
    f = fill(Tx(err={"InstructionError": [3, {"Custom": 6001}]}))
    assert (f.base_delta, f.quote_delta, f.lamport_delta) == (0, 0, -15_000)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t["meta"]["postBalances"].__setitem__(0, t["meta"]["postBalances"][0] + 1),
        lambda t: t["meta"]["postBalances"].pop(),
        lambda t: t["meta"].__setitem__("fee", 4_000),
        lambda t: t["meta"].pop("preBalances"),
        lambda t: t["transaction"]["signatures"].__setitem__(0, "another"),
        lambda t: t["transaction"]["message"]["accountKeys"].__setitem__(0, "somebody"),
        lambda t: t["meta"].__setitem__("err", {"InstructionError": [0, {"Custom": 1}]}),
        lambda t: t["meta"].__setitem__("postTokenBalances", []),
    ],
)
def test_numbers_that_do_not_add_up_are_no_fill(spoil: Any) -> None:
    """One lamport too many is enough: better to stop than to book a wrong fill."""
    body = copy.deepcopy(bought().json())
    fill(body)
    spoil(body)
    with pytest.raises(FillUnbalanced):
        fill(body)


def test_a_swap_that_is_not_the_intents_is_no_fill() -> None:
    """More spent than allowed, or the other direction, means that we misunderstand the transaction."""
    with pytest.raises(FillUnbalanced):
        fill(bought(spent=1_000_000_001))
    with pytest.raises(FillUnbalanced):
        fill(bought(), side=Side.SELL, amount_in=5_000_000)


def spoiled(**meta: Any) -> dict[str, Any]:
    body = bought().json()
    body["meta"].update(meta)
    return body


@pytest.mark.parametrize(
    "body",
    [
        {},
        {**bought().json(), "meta": None},
        {**bought().json(), "transaction": None},
        {**bought().json(), "transaction": {"signatures": [], "message": None}},
        {**bought().json(), "slot": 2**63},
        {**bought().json(), "slot": None},
        spoiled(preBalances=None),
        spoiled(preTokenBalances=[None]),
        spoiled(postTokenBalances=[{"accountIndex": 2, "mint": BONK, "owner": WALLET, "uiTokenAmount": None}]),
    ],
)
def test_what_cannot_be_read_is_no_fill_and_no_crash(body: dict[str, Any]) -> None:
    """An answer of another shape is named as such, so that another node can be asked; nor may it overflow the ledger."""
    with pytest.raises(FillUnbalanced):
        fill(body)


def test_an_amount_that_no_ledger_can_hold_is_no_fill() -> None:
    """2^63 base units of a token would overflow where they are stored."""
    with pytest.raises(FillUnbalanced, match="beyond"):
        fill(bought(got=2**63))


class Impatient(ManualClock):
    """Time passes at once."""

    async def sleep(self, seconds: float) -> None:
        await self.advance(seconds)


class Witnesses(list[Any]):
    """What each node shows of the one transaction, call by call; the last answer repeats."""

    def nodes(self) -> list[ScriptedNode]:
        def node(answers: list[Any]) -> ScriptedNode:
            left = list(answers)
            return ScriptedNode(lambda method, params: left.pop(0) if len(left) > 1 else left[0])

        return [node(answers) for answers in self]


async def fill_from(*shown: list[Any], same_address: bool = False) -> Any:
    """Return what the live executor makes of nodes that show these transactions."""
    signed = record(IntentState.SUBMITTED, 1)
    clock = Impatient()
    async with serving(*Witnesses(shown).nodes()) as endpoints:
        if same_address:
            (only,) = endpoints
            again = SecretStr(only.url.get_secret_value() + "/?api-key=another")
            endpoints = (only, EndpointSettings(name="alias", url=again, priority=1))
        settings = EngineSettings(
            bot=BotSettings(name="rig", mode="Live", cluster="localnet"),
            wallet=WalletSettings(address=WALLET, key_file=Path("unused")),
            rpc=RpcSettings(endpoints=endpoints, request_timeout_s=1.0),
            market=MarketSettings(tokens=(TokenSettings(mint=BONK),)),
            strategies=(StrategySettings(name="m", type="momentum_5m"),),
            execution=ExecutionSettings(swap=SwapSettings(base_url="http://127.0.0.1:9")),
            ledger=LedgerSettings(sqlite_path=Path("unused.sqlite")),
        )
        async with RpcPool(endpoints, request_timeout_s=1.0, max_in_flight=10, clock=clock) as pool:
            executor = LiveExecutor(
                swap=SwapApi(settings.execution.swap, clock=clock),
                rpc=pool,
                signer=KeyFileSigner(OWNER_KEY),
                settings=settings,
                clock=clock,
            )
            return await executor.fill(signed, finalized=True)


GOOD = bought().json()
NO_META = {**GOOD, "meta": None}
LIES = spoiled(fee=15_001)
OTHER_LIES = spoiled(fee=15_002)


@pytest.mark.parametrize("bad", [NO_META, LIES, {**GOOD, "transaction": {"signatures": ["another"]}}, {"slot": 1}])
@pytest.mark.parametrize("first", [True, False])
async def test_one_node_that_shows_a_trade_wrongly_is_passed_over(bad: Any, first: bool) -> None:
    """The next provider is asked; a single node's nonsense must not end trading."""
    got = await fill_from(*([[bad], [GOOD]] if first else [[GOOD], [bad]]))
    assert (got.base_delta, got.quote_delta) == (5_000_000, -1_000_000_000)


async def test_nodes_that_disagree_about_what_is_wrong_leave_the_fill_unknown() -> None:
    """Unknown means: look again later."""
    assert await fill_from([LIES], [OTHER_LIES]) is None
    assert await fill_from([LIES], [None]) is None
    assert await fill_from([NO_META], [NO_META]) is None


async def test_two_providers_that_agree_on_an_unbalanced_trade_end_trading() -> None:
    """Then it is the chain that we do not understand."""
    with pytest.raises(FillUnbalanced, match="vanished"):
        await fill_from([LIES], [OTHER_LIES], [LIES])


async def test_one_provider_under_two_names_does_not_agree_with_itself() -> None:
    """Its second word is a repetition; it takes the only provider three to be believed."""
    got = await fill_from([LIES, LIES, GOOD], same_address=True)
    assert got.base_delta == 5_000_000


async def test_the_only_provider_is_believed_once_it_repeats_itself() -> None:
    """Nobody else can be asked: it may correct itself twice."""
    assert (await fill_from([LIES, LIES, GOOD])).base_delta == 5_000_000
    with pytest.raises(FillUnbalanced, match="vanished"):
        await fill_from([LIES])


def transcript(index: int) -> dict[str, Any]:
    with gzip.open(TRANSCRIPTS) as file:
        row = json.loads(file.readlines()[index])
    result: dict[str, Any] = json.loads(row["response"]["body"])["result"]
    return result


@pytest.mark.recorded
@needs(TRANSCRIPTS)
def test_a_recorded_sale_through_a_temporary_wrapped_account_is_read_to_the_lamport() -> None:
    """The pool's own inner transfers say 106,347,883 tokens in and 29,137,025 lamports out."""
    change = read_change(transcript(78), wallet="DYH6x4JoTXUUc4GJUcBYv4gPRApbfTsoZEeD318ernQY")
    assert (
        change.swap_lamports,
        change.base_fee,
        change.priority_fee,
        change.tip,
        change.rent,
    ) == (29_137_025, 5000, 1000, 0, 0)
    assert change.tokens == {"EqtNWgVzp77fNMQTNbDwzELmfcKuaiurYhbzLJfqjS72": -106_347_883}


@pytest.mark.recorded
@needs(BODIES)
def test_a_recorded_sale_in_jsonparsed_is_read_to_the_lamport() -> None:
    """Inner transfers: 7,287,032,271,779 tokens in, 45,130,273 lamports out."""
    with gzip.open(BODIES) as file:
        body = json.loads(json.loads(file.readlines()[21])["body"])["result"]
    change = read_change(body, wallet=body["transaction"]["message"]["accountKeys"][0]["pubkey"])
    assert change.swap_lamports == 45_130_273
    assert list(change.tokens.values()) == [-7_287_032_271_779]


@pytest.mark.recorded
@needs(TRANSCRIPTS)
def test_a_recorded_purchase_with_usdc_that_opens_an_account_moves_no_sol_by_the_swap() -> None:
    """Fee 776,831 and the rent of one token account are all the lamports that left."""
    change = read_change(transcript(50), wallet="AS25zph72ZmhtLAz2LjEF9qT8vv5x29GJsXVj1DBNKrw")
    assert (change.swap_lamports, change.priority_fee, change.rent) == (0, 771_831, RENT)
    assert change.of(USDC_MINT) == -27_853_252


@pytest.mark.recorded
@needs(BLOCK)
def test_lamports_balance_in_every_transaction_of_a_recorded_block() -> None:
    """557 transactions of mainnet, 99 of them failed: none contradicts the equations."""
    with gzip.open(BLOCK) as file:
        block = json.JSONDecoder().raw_decode(file.read().decode())[0]
    failed = 0
    for row in block["transactions"]:
        keys = row["transaction"]["message"]["accountKeys"]
        wallet = keys[0] if isinstance(keys[0], str) else keys[0]["pubkey"]
        change = read_change({**row, "slot": 285_000_037, "blockTime": block["blockTime"]}, wallet=wallet)
        assert (
            change.lamports == change.swap_lamports - change.base_fee - change.priority_fee - change.tip - change.rent
        )
        assert change.swap_lamports == 0 or not change.failed
        failed += change.failed
    assert (len(block["transactions"]), failed) == (557, 99)
