"""The view shows what the engine tells, says why a bot does not trade, and survives whatever is missing."""

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tradingbot_operator.local.board import Board
from tradingbot_operator.local.summary import proven_wrong, summary
from tradingbot_operator.local.text import token_amount
from tradingbot_operator.local.view import LinesView, NoView, TerminalView, one_line, picture, why_not

MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
STATUS: dict[str, Any] = {
    "botId": "ab" * 16,
    "phase": "READY",
    "trading": True,
    "generation": 1,
    "openIntents": 1,
    "inFlight": 1,
    "tier": "WARNING",
    "reasons": [{"type": "StaleMarketData", "since": 1, "message": "no sign of life for 900 ms"}],
    "wallet": {"address": MINT, "lamports": 99_500_000_000},
    "equity": {"start": 100_000_000_000, "now": 99_000_000_000, "peak": 101_000_000_000, "drawdownBps": 198},
    "market": {"timeMs": 1_700_000_000_000},
    "tokens": [
        {"mint": MINT, "symbol": "BONK", "decimals": 5, "price": 0.000000123456789, "staleMs": 5,
         "position": {"baseUnits": 123_456_700_000, "costLamports": 2_000_000_000, "unrealizedLamports": -50_000_000}},
        {"mint": MINT, "symbol": "WIF", "price": 0.0123, "position": None,
         "lastRefusal": {"reason": "NotionalTooLarge", "message": "12 SOL > limit 10 SOL"}},
    ],
    "signals": {"total": 9, "refused": {"NotionalTooLarge": 3, "StaleMarketData": 1}},
    "intents": {"DONE": 4, "SUBMITTED": 1, "FAILED": 2, "EXPIRED": 1, "ABANDONED": 1},
    "attemptsExpired": 3,
    "fills": [{"atMs": 1_700_000_000_000, "symbol": "BONK", "side": "BUY", "baseUnits": 31_416, "decimals": 5, "quoteLamports": 2_000_000_000,
               "slippageBps": 12, "latencyMs": 345, "signature": "5sig" * 20}],
    "rpc": [{"name": "node-1", "healthy": True, "slot": 123456, "latencyMs": 4, "error": None},
            {"name": "node-2", "healthy": False, "slot": None, "latencyMs": None, "error": "HTTP 503"}],
    "latency": {"p50SignalToSendMs": 11.4, "p99SignalToSendMs": 18.9},
}  # fmt: skip


def board(status: dict[str, Any] | None = None) -> Board:
    found = Board(
        bot="default/first-bot",
        mode="Live",
        cluster="localnet",
        quote="SOL",
        speed=60.0,
        scenario="Viral",
        state_dir="/state",
    )
    if status is not None:
        found.take(status)
    return found


def drawn(found: Board, width: int = 160) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(picture(found))
    return stream.getvalue()


def test_the_picture_shows_everything_an_operator_wants_to_see():
    """Phase, wallet, tokens with price and position, signals, intents by state, fills, tier, nodes, the reason, the clock."""
    text = drawn(board(STATUS))
    for word in (
        "READY", MINT, "99.5000 SOL", "BONK", "1.23457e-07", "1,234,567 ", "0.31416", "2.0000 SOL", "-0.0500", "NotionalTooLarge: 12 SOL",
        "9, refused 4 (NotionalTooLarge 3, StaleMarketData 1)", "DONE 4, SUBMITTED 1, FAILED 2", "12 bps", "345 ms",
        "5sig5sig5sig5sig…", "WARNING", "1.98 % below its peak", "node-2", "HTTP 503", "StaleMarketData: no sign of life",
        "60 × wall time, Viral", "2023-11-14 22:13:20", "p50 11 ms, p99 19 ms", "-1.0000 SOL",
    ):  # fmt: skip
        assert word in text, word


def test_paper_fills_are_marked_as_paper():
    """Nobody may take them for money."""
    assert "PAPER" in drawn(board({**STATUS, "fills": [{**STATUS["fills"][0], "paper": True}]}))


def test_the_reason_for_not_trading_is_one_sentence():
    """What the runner knows comes first, then what the engine says."""
    found = board()
    assert why_not(found) == "Starting"
    found.take(STATUS)
    assert why_not(found) == "StaleMarketData: no sign of life for 900 ms"
    found.answers = False
    assert why_not(found).startswith("Unreachable: ")
    found.stopping = "Ctrl-C"
    assert why_not(found).startswith("Draining: Ctrl-C")
    assert " DRAINING " in one_line(found), "what a silent engine said before it was told to drain is old"
    found.take({**STATUS, "phase": "STOPPED"})
    assert why_not(found).startswith("Stopped: Ctrl-C")
    assert " STOPPED " in one_line(found)


def test_lines_tell_each_new_fill_once_and_old_ones_not_at_all():
    """A resumed bot's earlier fills are no news."""
    stream = io.StringIO()
    view = LinesView(stream)
    found = board(STATUS)
    found.say("something happened")
    view.show(found)
    assert "something happened\n" in stream.getvalue()
    assert "fill:" not in stream.getvalue()
    fresh = {**STATUS["fills"][0], "signature": "new", "side": "SELL"}
    found.take({**STATUS, "fills": [fresh, *STATUS["fills"]]})
    view.show(found)
    view.show(found)
    fills = [line for line in stream.getvalue().splitlines() if line.startswith("fill:")]
    assert len(fills) == 1
    assert "SELL" in fills[0]


def test_no_view_writes_news_elsewhere_and_nothing_to_standard_output(capsys: pytest.CaptureFixture[str]):
    """With --output json standard output is the summary's alone."""
    stream = io.StringIO()
    view = NoView(stream)
    found = board({**STATUS, "reasons": [], "tier": "NORMAL"})
    found.say("news")
    view.show(found)
    view.show(found)
    assert stream.getvalue() == "news\n"
    found.take({**STATUS, "tier": "NORMAL"})
    view.show(found)
    view.show(found)
    assert stream.getvalue() == "news\nREADY: StaleMarketData: no sign of life for 900 ms\n"
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_the_terminal_view_draws_and_gives_the_screen_back():
    """On a screen of its own, so that nothing of a picture taller than the terminal is left; the news stay to be read."""
    stream = Terminal()
    view = TerminalView(stream)
    found = board(STATUS)
    found.say("the audit proved nothing")
    view.show(found)
    assert "BONK" in stream.getvalue()
    assert "\x1b[?1049h" in stream.getvalue()
    assert "\x1b[?25l" in stream.getvalue()
    view.close()
    after = stream.getvalue().rpartition("\x1b[?1049l")[2]
    assert "\x1b[?25h" in stream.getvalue().rpartition("\x1b[?25l")[2]
    assert after.endswith("the audit proved nothing\n")
    assert "BONK" not in after


def test_a_small_terminal_shows_what_matters_first():
    """80 by 24: phase, equity, the reason, how to leave, the news, and every token's name."""
    found = board(STATUS)
    found.say("the engine ended (signal SIGKILL), starting it again")
    seen = "\n".join(drawn(found, width=80).splitlines()[:24])
    for word in ("READY", "99.0000 SOL", "StaleMarketData", "Ctrl-C drains", "the engine ended", "BONK", "WIF"):
        assert word in seen, word
    found.stopping = "Ctrl-C"
    assert "Ctrl-\\ leaves at once" in drawn(found)


def test_a_tier_comes_with_its_reason():
    """What happened, in the engine's words; a cleared tier holds nothing back."""
    assert "tier WARNING: execution quality: p99" in one_line(board({**STATUS, "tierReason": "execution quality: p99"}))
    assert "reset" not in one_line(board({**STATUS, "tier": "NORMAL", "tierReason": "reset by hand"}))


def test_fills_of_earlier_runs_are_no_news():
    """An engine that starts tells its phase before it knows its fills: what it knew before then is old."""
    stream = io.StringIO()
    view, found = LinesView(stream), board({"phase": "STARTING"})
    view.show(found)
    found.take(STATUS)
    view.show(found)
    assert "fill:" not in stream.getvalue()
    found.take({**STATUS, "fills": [{**STATUS["fills"][0], "signature": "new"}, *STATUS["fills"]]})
    view.show(found)
    assert stream.getvalue().count("fill:") == 1


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional={key: odd | st.just(value) for key, value in STATUS.items()}))
def test_whatever_the_engine_answers_the_view_stands(status: dict[str, Any]):
    """Engines of other versions tell more, less, or otherwise: a dash, never a traceback."""
    found = board(status)
    assert drawn(found)
    assert one_line(found)
    assert summary(found, None)["bot"] == "default/first-bot"


def test_a_closing_ledger_takes_no_number_out_of_the_summary():
    """The last answer of an engine may come when its ledger is closed already: phase and reasons count, nothing else."""
    found = board(STATUS)
    reason = {"type": "LedgerUnavailable", "since": 1, "message": "not open"}
    found.take({"phase": "STOPPED", "trading": False, "inFlight": 0, "reasons": [reason]})
    line = summary(found, None)
    told = (line["filled"], line["signals"], line["equity_end_lamports"], line["open"])
    assert told == (4, 9, 99_000_000_000, 1)
    assert "LedgerUnavailable" in why_not(found)
    assert "99.0000 SOL" in drawn(found)


def test_the_summary_takes_the_chains_numbers_from_the_audit_alone():
    """The engine's word does not count there; signals of ended engines do."""
    found = board(STATUS)
    found.engine_ended()
    found.take({**STATUS, "signals": {"total": 2, "refused": {}}, "latency": {}})
    found.restarts = 1
    line = summary(found, {"open": 1, "doubled": 0, "lost": 0, "phantom": 0, "foreign": 3, "else": 1})
    assert {k: v for k, v in line.items() if k != "seconds"} == {
        "bot": "default/first-bot",
        "signals": 11,
        "intents": 9,
        "filled": 4,
        "failed": 2,
        "expired": 6,
        "abandoned": 1,
        "open": 1,
        "doubled": 0,
        "lost": 0,
        "phantom": 0,
        "foreign": 3,
        "equity_start_lamports": 100_000_000_000,
        "equity_end_lamports": 99_000_000_000,
        "restarts": 1,
        "p50_signal_to_send_ms": 11.4,
        "p99_signal_to_send_ms": 18.9,
    }


def test_the_summary_and_the_screen_tell_of_this_run_not_of_the_bots_life():
    """
    What an earlier run did is in the ledger, not in this run's counts; a trade that it left open counts where it ended.

    A crashed engine's successor has this run's own trades behind it already: the first engine's word stands.
    """
    found = board()
    at_start = {"intents": {"DONE": 3, "FAILED": 2, "SUBMITTED": 1}, "equity": 99_500_000_000}
    found.take({**STATUS, "atStart": at_start})
    found.engine_ended()
    found.take({**STATUS, "atStart": {"intents": {"DONE": 4}, "equity": 1}})
    line = summary(found, None)
    told = [line[k] for k in ("intents", "filled", "failed", "abandoned", "equity_start_lamports")]
    assert told == [3, 1, 0, 1, 99_500_000_000]
    text = drawn(found)
    assert "DONE 1, SUBMITTED 1, EXPIRED 1, ABANDONED 1" in text
    assert "-0.5000 SOL" in text


def test_equity_in_usdc_is_never_called_lamports():
    """The keys of SOL bots stay, empty; the numbers stand in millionths of USDC."""
    found = board(STATUS)
    found.quote = "USDC"
    line = summary(found, None)
    assert [line["equity_start_lamports"], line["equity_end_lamports"]] == [None, None]
    told = [line[k] for k in ("quote", "equity_start_quote_units", "equity_end_quote_units")]
    assert told == ["USDC", 100_000_000_000, 99_000_000_000]


@pytest.mark.parametrize(
    ("base_units", "decimals", "says"),
    [
        (123_456_700_000, 5, "1,234,567"),
        (150_000, 6, "0.15"),
        (1, 9, "0.000000001"),
        (0, 6, "0"),
        (1_234_567_891, 9, "1.2346"),
        (1_234, None, "1,234 base units"),
        (7, 0, "7"),
        (None, 6, "–"),
    ],
)
def test_amounts_of_tokens_are_written_as_people_do(base_units: Any, decimals: Any, says: str):
    """Whole tokens with their fraction; base units only where nobody knows the decimals, and then said so."""
    assert token_amount(base_units, decimals) == says


@pytest.mark.parametrize("verdict", ["unprovable", "incomplete"])
def test_zeros_that_prove_nothing_are_null_in_the_summary(verdict: str):
    """Unmarked trades, or a history with holes: what was found counts, what was not found proves nothing."""
    line = summary(board(STATUS), {"doubled": 1, "lost": 0, "phantom": 0, "open": 0, "foreign": 2, "verdict": verdict})
    assert (line["doubled"], line["lost"], line["phantom"], line["open"], line["foreign"]) == (1, None, None, 0, 2)


@pytest.mark.parametrize(
    ("audit", "wrong"),
    [
        (None, False),
        ({"doubled": 0, "lost": 0, "phantom": 0, "foreign": 5}, False),
        ({"doubled": 1}, True),
        ({"lost": 1}, True),
        ({"phantom": 2}, True),
        ({"doubled": "unprovable", "lost": None}, False),
    ],
)
def test_only_doubled_lost_and_phantom_fail_a_run(audit: dict[str, Any] | None, wrong: bool):
    """A person's own trades with the wallet are told, no failure."""
    assert proven_wrong(audit) is wrong
