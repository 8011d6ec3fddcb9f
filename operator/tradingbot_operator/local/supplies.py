"""What a manifest only names, supplied for a run on this machine: wallet, addresses and keys from Secrets."""

from dataclasses import dataclass
from pathlib import Path

from tradingbot_operator.crd.v1alpha1 import TradingBot, effective_cluster
from tradingbot_operator.crd.v1alpha1.base import FromSecret
from tradingbot_operator.errors import BadInput
from tradingbot_operator.local.state_dir import StateDir
from tradingbot_operator.local.wallet import localnet_wallet, secret_wallet
from tradingbot_operator.manifest.secrets import SecretMissing, Secrets
from tradingbot_operator.wire.chain import Chain, Node
from tradingbot_operator.wire.render import WATCHED_ONLY


@dataclass(frozen=True)
class Supplies:
    """
    Everything that the engine needs beside the manifest.

    Attributes:
        chain: Nodes and swap API outside localnet; None on localnet, which announces its own.
        wallet_address: Public key of the wallet.
        wallet_key: File with the private key, or None on paper without a wallet.
        ledger_url: Address of the PostgreSQL ledger, or None for SQLite.
        swap_api_key: Key of the swap API, or None.
        copy: File with a copied key that is removed after the run, or None.
    """

    chain: Chain | None
    wallet_address: str
    wallet_key: str | None
    ledger_url: str | None
    swap_api_key: str | None
    copy: Path | None = None

    def forget(self) -> None:
        """Remove the copy of the key."""
        if self.copy is not None:
            self.copy.unlink(missing_ok=True)


def supply(bot: TradingBot, secrets: Secrets, state: StateDir) -> Supplies:
    """
    Resolve every reference of a manifest.

    Raises:
        BadInput: Secrets are missing or do not fit; the text lists all of them, one a line.
    """
    spec, problems = bot.spec, list[str]()
    localnet = effective_cluster(spec) == "localnet"

    def value(path: str, source: FromSecret | None) -> str | None:
        if source is None:
            return None
        try:
            return secrets.get(bot.metadata.namespace, source.secret_key_ref)
        except SecretMissing as error:
            problems.append(f"{path}: {error}")
            return None

    nodes = []
    for index, node in enumerate(spec.rpc.endpoints):
        here = f"spec.rpc.endpoints[{index}]"
        url = node.url or value(f"{here}.urlFrom", node.url_from) or ""
        websocket = node.websocket_url or value(f"{here}.websocketUrlFrom", node.websocket_url_from)
        if node.url_from is not None and url and not url.startswith(("http://", "https://")):
            problems.append(f"{here}.urlFrom: the Secret holds no address that begins with http:// or https://")
        if node.websocket_url_from is not None and websocket and not websocket.startswith(("ws://", "wss://")):
            problems.append(f"{here}.websocketUrlFrom: the Secret holds no address that begins with ws:// or wss://")
        nodes.append(
            Node(
                node.name,
                url,
                websocket or _as_websocket(url),
                node.requests_per_second,
                node.concurrency,
                node.priority,
            )
        )
    ledger_url = value("spec.ledger.urlFrom", spec.ledger.url_from if spec.ledger else None)
    if ledger_url is not None and not ledger_url.startswith(("postgresql://", "postgres://")):
        problems.append("spec.ledger.urlFrom: the Secret holds no address that begins with postgresql://")
    api_key = value("spec.execution.swap.apiKeyFrom", spec.execution.swap.api_key_from)
    address, key_file, copy = spec.wallet.address or WATCHED_ONLY, None, None
    reference = spec.wallet.secret_ref
    try:
        if reference is not None:
            text = secrets.get(bot.metadata.namespace, reference)
            source = f"Secret {reference.name}, key {reference.key}"
            address = secret_wallet(text, source=source, address=spec.wallet.address, path=state.wallet_copy)
            key_file, copy = str(state.wallet_copy), state.wallet_copy
        elif localnet:
            address, key_file = localnet_wallet(state.wallet), str(state.wallet)
            if spec.wallet.address not in (None, address):
                problems.append(
                    f"spec.wallet.address: localnet made the wallet {address} for this bot: remove the address,"
                    " or add the key of yours by secretRef"
                )
    except (SecretMissing, BadInput) as error:
        problems.append(f"spec.wallet.secretRef: {error}")
    if problems:
        state.wallet_copy.unlink(missing_ok=True)
        raise BadInput("\n".join(problems))
    chain = None if localnet else Chain(nodes=tuple(nodes), swap_url=None)
    return Supplies(chain, address, key_file, ledger_url, api_key, copy)


def _as_websocket(url: str) -> str | None:
    return "ws" + url.removeprefix("http") if url.startswith("http") else None
