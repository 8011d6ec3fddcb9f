"""What a bot's pods take from Secrets, and how it reaches the engine: addresses and keys by environment, the wallet as a file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tradingbot_operator.crd.v1alpha1.base import FromSecret, SecretKeyRef
from tradingbot_operator.desired.bot import Bot


@dataclass(frozen=True)
class Reference:
    """
    One value of a Secret that a pod needs to start.

    Attributes:
        path: Field of the resource that names it.
        secret: Name of the Secret.
        key: Key within it.
        variable: Environment variable of the engine that it becomes; None for the wallet, which is a file.
    """

    path: str
    secret: str
    key: str
    variable: str | None


def references(bot: Bot) -> tuple[Reference, ...]:
    """Return every value that the bot's own manifest names: without one of them no pod can start."""
    return tuple(_references(bot))


def environment(bot: Bot) -> list[dict[str, Any]]:
    """Return the engine's secrets as entries of a container's environment; they win over the settings' file."""
    return [
        {"name": r.variable, "valueFrom": {"secretKeyRef": {"name": r.secret, "key": r.key}}}
        for r in references(bot)
        if r.variable is not None
    ]


def _references(bot: Bot) -> Iterator[Reference]:
    spec = bot.spec
    if spec.wallet.secret_ref is not None:
        yield _of("spec.wallet.secretRef", spec.wallet.secret_ref, None)
    for index, node in enumerate(spec.rpc.endpoints):
        here, name = f"spec.rpc.endpoints[{index}]", f"TRADINGBOT_RPC__ENDPOINTS__{index}__"
        yield from _maybe(f"{here}.urlFrom", node.url_from, f"{name}URL")
        yield from _maybe(f"{here}.websocketUrlFrom", node.websocket_url_from, f"{name}WEBSOCKET_URL")
    if spec.ledger is not None:
        yield from _maybe("spec.ledger.urlFrom", spec.ledger.url_from, "TRADINGBOT_LEDGER__URL")
    api_key = spec.execution.swap.api_key_from
    yield from _maybe("spec.execution.swap.apiKeyFrom", api_key, "TRADINGBOT_EXECUTION__SWAP__API_KEY")


def _maybe(path: str, source: FromSecret | None, variable: str) -> Iterator[Reference]:
    if source is not None:
        yield _of(path, source.secret_key_ref, variable)


def _of(path: str, ref: SecretKeyRef, variable: str | None) -> Reference:
    return Reference(path, ref.name, ref.key, variable)
