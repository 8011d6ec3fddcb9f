"""What a pod mounts and is told by its environment, read by the engine as the engine reads it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from solders.keypair import Keypair

from tradingbot_engine.settings import EngineSettings, load_settings
from tradingbot_operator.desired.config_map import SETTINGS_FILE, WALLET_DIR

GOLDEN = Path(__file__).parents[1] / "unit" / "operator" / "golden"
KEY = Keypair.from_seed(bytes(range(32)))
SECRETS = {
    ("rpc", "helius"): "https://rpc.example/?api-key=hidden\n",
    ("rpc", "helius-ws"): "wss://rpc.example/?api-key=hidden",
    ("jupiter", "api-key"): "hidden-too",
    ("database", "url"): "postgresql://user:hidden@db/ledger\n",
}


def objects(case: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((GOLDEN / f"{case}.objects.yaml").read_text()))


def the(found: list[dict[str, Any]], kind: str, suffix: str) -> dict[str, Any]:
    (one,) = [o for o in found if o["kind"] == kind and o["metadata"]["name"].endswith(suffix)]
    return one


def read(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineSettings:
    """Return what the engine's container would read; the wallet's key lies where this test can write."""
    found = objects(case)
    text = the(found, "ConfigMap", "-settings")["data"][SETTINGS_FILE].replace(WALLET_DIR, str(tmp_path))
    (tmp_path / SETTINGS_FILE).write_text(text)
    (tmp_path / "wallet").write_text(str(list(bytes(KEY))))
    (container,) = the(found, "Deployment", "-engine")["spec"]["template"]["spec"]["containers"]
    for entry in container["env"]:
        ref = entry.get("valueFrom", {}).get("secretKeyRef")
        monkeypatch.setenv(entry["name"], SECRETS[ref["name"], ref["key"]] if ref else entry["value"])
    return load_settings(tmp_path / SETTINGS_FILE)


@pytest.mark.parametrize("case", ["first-bot", "paper-sqlite", "live-postgres", "everything"])
def test_what_a_pod_is_given_parses_as_engine_settings(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """File and environment together; the admin port listens where the kubelet and the operator ask."""
    settings = read(case, tmp_path, monkeypatch)
    found = objects(case)
    (container,) = the(found, "Deployment", "-engine")["spec"]["template"]["spec"]["containers"]
    assert (settings.admin.host, [settings.admin.port]) == ("0.0.0.0", [p["containerPort"] for p in container["ports"]])
    assert container["command"][:2] == ["tradingbot-engine", "run"]
    grace_s = the(found, "Deployment", "-engine")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s == settings.shutdown.force_timeout_s + 5
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    needed = [settings.admin.token_file, settings.ledger.sqlite_path, Path(container["command"][-1])]
    assert all(str(path.parent) in mounted for path in needed if path is not None)


def test_secrets_reach_the_engine_by_the_environment_and_never_by_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A ConfigMap is read by anybody who may list ConfigMaps."""
    settings = read("live-postgres", tmp_path, monkeypatch)
    helius, public = settings.rpc.endpoints
    assert helius.url.get_secret_value() == "https://rpc.example/?api-key=hidden"
    assert helius.websocket_url is not None
    assert public.url.get_secret_value() == "https://api.mainnet-beta.solana.com"
    assert (public.priority, public.requests_per_second) == (1, 4)
    assert settings.ledger.url is not None
    assert settings.ledger.url.get_secret_value() == "postgresql://user:hidden@db/ledger"
    assert settings.ledger.sqlite_path is None
    assert settings.execution.swap.api_key is not None
    assert settings.execution.swap.api_key.get_secret_value() == "hidden-too"
    assert "hidden" not in (GOLDEN / "live-postgres.objects.yaml").read_text()


def test_a_bot_on_localnet_learns_wallet_and_clock_when_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither is known when the settings are written: the key is in a Secret, the clock begins with the chain."""
    settings = read("first-bot", tmp_path, monkeypatch)
    assert settings.wallet.address == str(KEY.pubkey())
    assert settings.market.event_time is None
    service = the(objects("first-bot"), "Service", "-localnet")
    ports = {port["port"] for port in service["spec"]["ports"]}
    told = [settings.market.clock_url, settings.execution.swap.base_url, settings.market.price_url]
    told += [settings.market.history_url, *(node.url.get_secret_value() for node in settings.rpc.endpoints)]
    for url in told:
        assert url is not None
        host, _, port = url.removeprefix("http://").split("/")[0].partition(":")
        assert (host, int(port) in ports) == (service["metadata"]["name"], True)
