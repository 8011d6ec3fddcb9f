"""State directory, wallet, Secrets and processes of a laptop."""

import base64
import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import based58
import pytest
import yaml
from solders.keypair import Keypair

from tradingbot_operator.crd.v1alpha1 import TradingBot
from tradingbot_operator.errors import BadInput, Failed
from tradingbot_operator.local.process import Backoff, child_environment, how_it_ended
from tradingbot_operator.local.processes import ProcessId, identify
from tradingbot_operator.local.state_dir import StateDir, default_path
from tradingbot_operator.local.supplies import WATCHED_ONLY, supply
from tradingbot_operator.local.wallet import address_of, localnet_wallet
from tradingbot_operator.manifest.secrets import Secrets

SAMPLE = yaml.safe_load((Path(__file__).parents[3] / "crds" / "samples" / "first-bot.yaml").read_text())


def bot(namespace: str = "default", name: str = "first-bot", **spec: Any) -> TradingBot:
    data = copy.deepcopy(SAMPLE)
    data["metadata"] = {"name": name, "namespace": namespace}
    data["spec"] |= spec
    data["spec"] = {key: value for key, value in data["spec"].items() if value is not None}
    return TradingBot.model_validate(data)


@pytest.fixture
def state(tmp_path: Path):
    found = StateDir(tmp_path / "state")
    found.open()
    yield found
    found.close()


def test_the_default_place_follows_xdg(monkeypatch: pytest.MonkeyPatch):
    """A relative XDG_STATE_HOME is to be ignored, as the specification says."""
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert default_path("ns", "b") == Path("/var/state/tradingbot/ns-b")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert default_path("ns", "b") == Path.home() / ".local/state/tradingbot/ns-b"


def test_the_lock_is_held_once_and_given_back(state: StateDir):
    """A killed runner's lock goes with its process; the file stays."""
    with pytest.raises(Failed, match=f"pid {os.getpid()}"):
        StateDir(state.path).open()
    state.close()
    second = StateDir(state.path)
    second.open()
    second.close()


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path):
    """A file in the way, or no permission."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed, match="cannot be used"):
        StateDir(tmp_path / "file" / "state").open()


def test_a_directory_belongs_to_one_bot(state: StateDir):
    """a-b/c and a/b-c share a default name; another cluster would be another chain."""
    first = state.claim_for(bot(), "x")
    assert (first["generation"], len(first["id"])) == (1, 16)
    assert state.claim_for(bot(), "x") == first
    assert state.claim_for(bot(), "y") == {**first, "generation": 2, "fingerprint": "y"}
    for other in (bot(name="other"), bot(namespace="other"), bot(cluster="devnet", localnet=None)):
        with pytest.raises(BadInput, match="belongs to"):
            state.claim_for(other, "x")


def test_children_are_found_again_and_never_mistaken(state: StateDir):
    """The same pid with another start is another process."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        state.record("engine", child.pid)
        assert StateDir(state.path).recorded() == {"engine": identify(child.pid)}
        assert not ProcessId(child.pid, "1").alive()
        ProcessId(child.pid, "1").end(patience_s=0)
        assert child.poll() is None
    finally:
        identify(child.pid).send(signal.SIGKILL)
        child.wait()
    assert state.recorded() == {}


def test_a_process_that_ignores_sigterm_is_killed_and_waited_for():
    """When `end` returns, it is gone: only then may a successor start."""
    program = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    process = identify(child.pid)
    process.end(patience_s=0.2)
    assert not process.alive()
    assert child.wait() == -signal.SIGKILL
    child.stdout.close()


def test_logs_do_not_grow_without_limit(state: StateDir, monkeypatch: pytest.MonkeyPatch):
    """A child that appends writes on in the emptied file; one generation is kept."""
    monkeypatch.setattr("tradingbot_operator.local.state_dir.MAX_LOG_BYTES", 10)
    with state.log("engine").open("ab", buffering=0) as child:
        child.write(b"0123456789a")
        state.trim_logs()
        child.write(b"new")
        state.trim_logs()
    assert state.log("engine").read_bytes() == b"new"
    assert (state.logs / "engine.log.1").read_bytes() == b"0123456789a"


def test_broken_records_are_no_records(state: StateDir):
    """Whatever a crash left in the file."""
    for text in ("", "[]", "{", '{"engine": 5}', '{"engine": {"pid": "x"}}', '{"engine": {}}'):
        (state.path / "processes.json").write_text(text)
        assert state.recorded() == {}


def test_backoff_doubles_to_a_limit_and_forgets_after_a_long_life():
    """A crash loop costs little; one crash a day costs nothing."""
    backoff = Backoff(first_s=1, most_s=4, forget_after_s=60)
    assert [backoff.after(0.1) for _ in range(4)] == [1, 2, 4, 4]
    assert [backoff.after(61), backoff.after(1)] == [1, 2]


def test_ends_are_told_in_words():
    """Signals by name."""
    assert [how_it_ended(code) for code in (1, -9, -99)] == ["exit code 1", "signal SIGKILL", "signal 99"]


def test_settings_of_the_engine_do_not_leak_in_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    """The manifest alone says what the bot does."""
    monkeypatch.setenv("TRADINGBOT_RISK__CAPITAL", "5")
    assert "TRADINGBOT_RISK__CAPITAL" not in child_environment()
    assert child_environment()["PATH"] == os.environ["PATH"]


def test_a_localnet_wallet_is_made_once_and_never_overwritten(tmp_path: Path):
    """Solana CLI JSON, for its owner alone."""
    file = tmp_path / "wallet.json"
    address = localnet_wallet(file)
    assert localnet_wallet(file) == address
    assert file.stat().st_mode & 0o777 == 0o600
    assert str(Keypair.from_bytes(bytes(json.loads(file.read_text()))).pubkey()) == address
    file.write_text("[]")
    with pytest.raises(BadInput):
        localnet_wallet(file)
    assert file.read_text() == "[]"


KEY = Keypair.from_seed(bytes(range(32)))
KEY_JSON, KEY_BASE58 = json.dumps(list(bytes(KEY))), based58.b58encode(bytes(KEY)).decode()


@pytest.mark.parametrize("text", [KEY_JSON, f" {KEY_JSON}\n", KEY_BASE58, f"{KEY_BASE58}\n"])
def test_keys_come_as_cli_json_or_base58(text: str):
    """Both forms that wallets export."""
    assert address_of(text, "here") == str(KEY.pubkey())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[1,2]",
        "[300]",
        "[" + "1," * 63 + "1]",
        "0OIl",
        KEY_BASE58[:-2],
        "{}",
        '["a"]',
        "[1.5]",
        KEY_JSON[:-9],
    ],
)
def test_what_is_no_key_is_told_without_being_shown(text: str):
    """The source is named, never its content."""
    with pytest.raises(BadInput, match="here holds no private key") as caught:
        address_of(text, "here")
    assert not text or len(text) < 4 or text not in str(caught.value)


def mainnet(**spec: Any) -> TradingBot:
    reference = {"secretKeyRef": {"name": "s", "key": "url"}}
    return bot(
        **{
            "cluster": "mainnet-beta",
            "localnet": None,
            "wallet": {"secretRef": {"name": "w", "key": "id.json"}},
            "rpc": {"endpoints": [{"name": "a", "urlFrom": reference}, {"name": "b", "url": "https://b.example/x"}]},
            "ledger": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}},
            "execution": {"swap": {"apiKeyFrom": {"secretKeyRef": {"name": "jup", "key": "key"}}}},
            **spec,
        }
    )


def secrets(**values: str) -> Secrets:
    given = {"s/url": "https://a.example/key", "w/id.json": KEY_JSON, "db/url": "postgresql://h/d", "jup/key": "k1"}
    found = Secrets()
    for place, value in (given | values).items():
        name, _, key = place.partition("/")
        encoded = base64.b64encode(value.encode()).decode()
        found.add({"metadata": {"name": name}, "data": {key: encoded}})
    return found


def test_every_reference_is_resolved(state: StateDir):
    """Addresses, keys, the ledger; a websocket address follows from the HTTP one."""
    found = supply(mainnet(), secrets(), state)
    assert found.chain is not None
    assert [(n.name, n.url, n.websocket_url) for n in found.chain.nodes] == [
        ("a", "https://a.example/key", "wss://a.example/key"),
        ("b", "https://b.example/x", "wss://b.example/x"),
    ]
    assert (found.wallet_address, found.ledger_url, found.swap_api_key) == (str(KEY.pubkey()), "postgresql://h/d", "k1")
    assert found.wallet_key is not None
    assert Path(found.wallet_key).stat().st_mode & 0o777 == 0o600
    found.forget()
    assert not Path(found.wallet_key).exists()


def test_a_directory_of_secrets_has_the_shape_of_mounted_ones(state: StateDir, tmp_path: Path):
    """DIR/<secret>/<key>; documents win over files."""
    for place, value in {"w/id.json": KEY_BASE58, "s/url": "https://file.example", "db/url": "postgres://f"}.items():
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(value + "\n")
    given = Secrets(directory=tmp_path)
    given.add({"metadata": {"name": "jup"}, "stringData": {"key": "doc"}})
    given.add({"metadata": {"name": "s"}, "stringData": {"url": "https://doc.example"}})
    found = supply(mainnet(), given, state)
    assert found.chain is not None
    assert (found.chain.nodes[0].url, found.ledger_url, found.swap_api_key) == (
        "https://doc.example",
        "postgres://f",
        "doc",
    )


def test_missing_secrets_are_told_all_at_once(state: StateDir):
    """Each with its field, its Secret, its key, and where it could come from."""
    with pytest.raises(BadInput) as caught:
        supply(mainnet(), Secrets(), state)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "spec.rpc.endpoints[0].urlFrom",
        "spec.ledger.urlFrom",
        "spec.execution.swap.apiKeyFrom",
        "spec.wallet.secretRef",
    ]
    assert all("--secrets DIR" in line for line in lines)


@pytest.mark.parametrize(
    ("values", "spec", "says"),
    [
        ({"s/url": "ftp://hidden"}, {}, "spec.rpc.endpoints[0].urlFrom: the Secret holds no address"),
        ({"db/url": "mysql://hidden"}, {}, "spec.ledger.urlFrom: the Secret holds no address"),
        ({"w/id.json": "hidden"}, {}, "holds no private key"),
        ({"s/url": " "}, {}, "is empty"),
        (
            {},
            {"wallet": {"address": WATCHED_ONLY, "secretRef": {"name": "w", "key": "id.json"}}},
            f"but spec.wallet.address is {WATCHED_ONLY}",
        ),
    ],
)
def test_secrets_that_do_not_fit_are_told_without_their_values(state: StateDir, values: Any, spec: Any, says: str):
    """And no copy of a key stays behind."""
    with pytest.raises(BadInput) as caught:
        supply(mainnet(**spec), secrets(**values), state)
    assert says in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert not state.wallet_copy.exists()


def test_a_paper_bot_needs_no_wallet(state: StateDir):
    """Nothing can ever be signed for the address that stands in its place."""
    found = supply(mainnet(mode="Paper", wallet=None), secrets(), state)
    assert (found.wallet_address, found.wallet_key) == (WATCHED_ONLY, None)


def test_secrets_are_never_shown_by_repr():
    """Neither in a debugger nor in a log."""
    assert "k1" not in repr(secrets())


def test_zombies_do_not_count_as_alive():
    """A child that nobody has waited for yet is gone all the same."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = identify(child.pid)
    deadline = time.monotonic() + 20
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not process.alive()
    child.wait()
