"""No secret leaves the process, whichever way it prints: every path that prints is fed secrets, and read."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.keypair import Keypair

from tradingbot_engine import __main__ as engine_main
from tradingbot_engine.api.server import AdminServer
from tradingbot_engine.clock import SystemClock
from tradingbot_engine.commands.config import config
from tradingbot_engine.errors import EngineError, PermanentError
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.metrics import Metrics
from tradingbot_engine.redact import forget_all, remember, remember_wallet, scrub, scrub_data
from tradingbot_engine.settings import AdminSettings, load_settings

LEAKY = Path(__file__).parents[2] / "support" / "leaky.py"
KEYPAIR = Keypair.from_seed(bytes(range(32)))
SIGNATURE = "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW"
MINT = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"

CONFIGURED = {
    "query_key": "9d8f7a6b-1234-4321-9999-abcdefabcdef",
    "path_key": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "user_password": "n0de-pass/word",
    "swap_key": "jup-live-51HqLxyz",
    "pg_password": "pg-S3cr3t-pw",
}
"""Stand in the settings: found by value, wherever they turn up."""
BY_SHAPE = {
    "bearer": "mF_9.B5f-4.1JqM4uwX2",
    "key_base58": str(KEYPAIR),
    "key_json": json.dumps(list(bytes(KEYPAIR))),
    "key_tuple": str(tuple(bytes(KEYPAIR))),
    "key_hex": bytes(KEYPAIR).hex(),
    "key_base64": base64.b64encode(bytes(KEYPAIR)).decode(),
    "seed_json": json.dumps(list(KEYPAIR.secret())),
    "bot_token": "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "pem": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAABAgMEBQYH\n-----END PRIVATE KEY-----",
    "foreign_url": "https://other.example/v1/q1w2e3r4t5y6u7i8?api-key=zzzz9999yyyy8888",
    "foreign_dsn": "postgresql://alice:correct-horse@db.example/x",
}
"""Known to nobody: found by their shape."""
NEEDLES = [
    *CONFIGURED.values(),
    "n0de-pass%2Fword",
    *BY_SHAPE.values(),
    "q1w2e3r4t5y6u7i8",
    "zzzz9999yyyy8888",
    "correct-horse",
    "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYH",
    "0, 1, 2, 3, 4, 5, 6, 7",
    "\\x00\\x01\\x02\\x03",
]
SHOWN = {name: f"Bearer {value}" if name == "bearer" else value for name, value in {**CONFIGURED, **BY_SHAPE}.items()}


def settings_data(**logging: Any) -> dict[str, Any]:
    return {
        "bot": {"name": "first"},
        "wallet": {"address": str(KEYPAIR.pubkey())},
        "rpc": {
            "endpoints": [
                {"name": "helius", "url": f"https://mainnet.helius-rpc.com/?api-key={CONFIGURED['query_key']}"},
                {"name": "chainstack", "url": f"https://sol.core.chainstack.com/{CONFIGURED['path_key']}"},
                {"name": "own", "url": "https://user:n0de-pass%2Fword@rpc.example/"},
            ]
        },
        "market": {"tokens": [{"mint": MINT, "symbol": "BONK"}]},
        "strategies": [{"name": "m", "type": "momentum_5m"}],
        "execution": {"swap": {"api_key": CONFIGURED["swap_key"]}},
        "ledger": {"url": f"postgresql://bot:{CONFIGURED['pg_password']}@127.0.0.1:1/db"},
        "logging": logging,
    }


@pytest.fixture
def file(tmp_path: Path):
    """The settings as a file; what they taught the process is forgotten afterwards."""
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(settings_data()))
    yield path
    forget_all()


def assert_clean(text: str) -> None:
    found = [needle for needle in NEEDLES if needle in text]
    lines = [line[:300] for line in text.splitlines() if any(needle in line for needle in found)]
    assert not found, (found, lines[:5])


@pytest.mark.parametrize("json_lines", [True, False])
@pytest.mark.parametrize("error_stacks", [True, False])
def test_a_process_that_prints_secrets_in_every_way_shows_none(tmp_path, json_lines, error_stacks):
    """Own lines, foreign loggers, real errors of aiohttp and asyncpg, warnings, threads, the last unhandled error."""
    path, secrets = tmp_path / "engine.json", tmp_path / "secrets.json"
    path.write_text(json.dumps(settings_data(json_lines=json_lines, error_stacks=error_stacks, level="debug")))
    secrets.write_text(json.dumps(SHOWN))
    done = subprocess.run(
        [sys.executable, str(LEAKY), str(path), str(secrets)], capture_output=True, text=True, timeout=60, check=False
    )
    text = done.stdout + done.stderr
    assert_clean(text)
    for event in ("as a value", "caught", "chained", "no database", "asked in vain", "traced", "timed work"):
        assert event in text, event
    assert "aiohttp.client" in text
    assert "forgotten" in text
    assert "in a thread" in text
    assert "unhandled error" in text
    assert SIGNATURE in text, "a signature is no secret, and is what one looks for"
    assert MINT in text
    assert "[trade 1f9c2b7e4d10, request r-1-2]" in text
    assert ("Traceback (most recent call last)" in text) == error_stacks
    if json_lines:
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        traced = next(line for line in lines if line["event"] == "traced")
        assert (traced["trade"], traced["request"]) == ("1f9c2b7e4d10aaaabbbbccccddddeeee", "r-1-2")
        caught = next(line for line in lines if line["event"] == "caught")
        assert caught["where"].endswith("shown_by_structlog")
        assert next(line for line in lines if line["event"] == "timed work")["took_ms"] >= 0


@pytest.mark.parametrize("output", ["text", "json"])
def test_config_shows_settings_without_secrets(file, output):
    done = CliRunner().invoke(config, ["-c", str(file), "--output", output])
    assert done.exit_code == 0
    assert_clean(done.output)
    assert "rpc.endpoints[1].url" in done.output
    assert "<redacted>" in done.output


def test_problems_of_settings_show_no_secret(tmp_path):
    """A key in the wrong place is the likeliest mistake of all."""
    data = settings_data()
    data["rpc"]["endpoints"][0]["url"] = f"ftp://{SHOWN['query_key']}"
    data["execution"]["swap"]["api_key"] = [SHOWN["swap_key"]]
    data["bot"]["name"] = SHOWN["key_base58"]
    data["wallet"]["address"] = SHOWN["key_base58"]
    data["market"]["price_url"] = SHOWN["foreign_url"] + " "
    data["ledger"]["url"] = f"mysql://bot:{SHOWN['pg_password']}@x/y"
    data["logging"] = {"level": SHOWN["bot_token"]}
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(data))
    for output in ("text", "json"):
        done = CliRunner().invoke(config, ["-c", str(path), "--output", output])
        assert done.exit_code == 2
        assert_clean(done.output)
        for name in ("rpc.endpoints.0.url", "bot.name", "wallet.address", "logging.level", "ledger"):
            assert name in done.output


def test_settings_and_errors_show_no_secret_as_text(file):
    loaded = load_settings(file)
    assert_clean(f"{loaded!r} {loaded} {loaded.model_dump()} {loaded.model_dump_json()}")
    for secret in SHOWN.values():
        error = PermanentError(f"the node said {secret}")
        assert_clean(f"{error} {error!r} {EngineError(str(error))!r}")
        assert str(error) != f"the node said {secret}"


def test_reasons_in_the_status_show_no_secret(file):
    """An unknown error's text goes into the status as it is: whatever it says was not written by us."""
    load_settings(file)
    lifecycle = Lifecycle(clock=SystemClock())
    for number, secret in enumerate(SHOWN.values()):
        lifecycle.tell(f"Reason{number}", f"RuntimeError: {secret}")
    assert_clean(" ".join(reason.message for reason in lifecycle.reasons))
    assert len(lifecycle.reasons) == len(SHOWN)


class _Control:
    """Raises what a broken engine raises."""

    def ready(self):
        return True, ""

    async def status(self):
        raise PermanentError(" and ".join(SHOWN.values()))


async def test_metrics_and_the_admin_port_show_no_secret(file, tmp_path):
    """Labels are cleaned when a series is made; errors of the port are cleaned like any other."""
    load_settings(file)
    metrics = Metrics()
    for secret in SHOWN.values():
        metrics.refused.labels("m", f"error {secret}").inc()
        metrics.signals.labels(secret, "ENTRY").inc(1, {"trade_id": "1f9c2b7e"})
    server = AdminServer(
        settings=AdminSettings(port=0, token_file=tmp_path / "token"), control=_Control(), registry=metrics.registry
    )
    port = await server.start()
    token = (tmp_path / "token").read_text()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            plain = await (await session.get("/metrics")).text()
            header = {"Accept": "application/openmetrics-text; version=1.0.0"}
            rich = await (await session.get("/metrics", headers=header)).text()
            error = await (await session.get("/v1/status", headers={"Authorization": f"Bearer {token}"})).text()
    finally:
        await server.stop()
    assert_clean(plain + rich + error)
    assert "tradingbot_signals_refused_total{" in plain
    assert 'trade_id="1f9c2b7e"' in rich
    assert "trade_id" not in plain
    assert "<redacted>" in error
    assert token not in scrub(f"somebody printed {token}")


@pytest.mark.parametrize("debug", [True, False])
def test_the_command_line_shows_neither_secrets_nor_stacks_unless_asked(file, monkeypatch, capsys, debug):
    """--debug shows where, still without secrets."""
    load_settings(file)

    @click.command()
    def bad() -> None:
        raise RuntimeError(" and ".join(SHOWN.values()))

    monkeypatch.setattr(engine_main._Lazy, "get_command", lambda *_: bad)
    arguments = ["--debug", "bad"] if debug else ["bad"]
    monkeypatch.setattr(sys, "argv", ["tradingbot-engine", *arguments])
    with pytest.raises(SystemExit) as ended:
        engine_main.main(arguments)
    shown = capsys.readouterr()
    assert ended.value.code == 1
    assert_clean(shown.out + shown.err)
    assert "RuntimeError" in shown.err
    assert ("Traceback" in shown.err) == debug


@pytest.mark.parametrize(
    "text",
    [
        f"sent {SIGNATURE} for {MINT}",
        "trade 1f9c2b7e4d10aaaabbbbccccddddeeee is DONE",
        "token: BONK, tokens=3, key: value order, tokenize: yes",
        "authorised by nobody; a secretary wrote; the basic idea; bearer of news",
        "at 2026-11-21T12:00:00Z: 12 SOL > limit 10 SOL (5:30)",
        "[1, 2, 3] and 127.0.0.1:8899 and /var/lib/ledger.db",
        "see https://docs.example for help",
        "",
    ],
)
def test_what_is_no_secret_stays_readable(text):
    """Signatures, mints, ids and words are what logs are for."""
    assert scrub(text) == text


def test_a_known_wallets_bare_seed_is_recognised_and_other_addresses_are_not():
    """32 bytes look like any public key; only arithmetic tells."""
    text = base64.b64encode(KEYPAIR.secret()).decode()
    assert scrub(text) == text
    try:
        remember_wallet(str(KEYPAIR.pubkey()))
        assert scrub(text) == "<redacted>"
        assert scrub(str(KEYPAIR.pubkey())) == str(KEYPAIR.pubkey())
    finally:
        forget_all()


def test_lists_and_bytes_of_keys_are_recognised_as_data():
    assert scrub_data({"k": list(bytes(KEYPAIR)), "raw": bytes(KEYPAIR), "n": [1, 2, 3]}) == {
        "k": "<redacted>",
        "raw": "<64 bytes>",
        "n": [1, 2, 3],
    }


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40),
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=60),
    st.text(max_size=40),
)
def test_a_known_value_is_found_in_any_surroundings(before, secret, after):
    """Whatever stands around it, and whatever else the scrubber changes."""
    try:
        remember(secret)
        assert secret not in scrub(before + secret + after) or secret in "<redacted>"
    finally:
        forget_all()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_scrubbing_never_fails_and_is_stable(text):
    """It stands in every way out, so an error in it would hide the error that is being told."""
    once = scrub(text)
    assert scrub(once) == once
