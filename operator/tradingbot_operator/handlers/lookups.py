"""Secrets, which are read one by one and never watched: whether they are there, and the token of the admin ports."""

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tradingbot_operator.clock import Clock
from tradingbot_operator.desired.config_map import TOKEN_KEY
from tradingbot_operator.desired.names import Names
from tradingbot_operator.desired.references import Reference
from tradingbot_operator.kube.gateway import Gateway, Object
from tradingbot_operator.kube.kinds import SECRET
from tradingbot_operator.kube.store import Key
from tradingbot_operator.observed import Missing

FRESH_S = 1200.0
"""What was found is believed for so long: some 1,000 bots must not ask for the same again and again."""


@dataclass
class _Found:
    at_s: float
    uid: str
    keys: frozenset[str]


@dataclass
class _Known:
    secrets: dict[str, _Found] = field(default_factory=dict)
    token: str = ""


class Lookups:
    """Read the Secrets of bots; of what stands in them only the token is kept, of the others the keys' names."""

    def __init__(self, *, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._clock = gateway, clock
        self._known: dict[Key, _Known] = {}

    async def own(self, key: Key, names: Iterable[str]) -> dict[str, str]:
        """Return the uid of each of our Secrets that exists; raise KubeError."""
        found = {name: await self._look(key, name) for name in names}
        return {name: secret.uid for name, secret in found.items() if secret is not None}

    async def missing(self, key: Key, references: Sequence[Reference]) -> tuple[Missing, ...]:
        """Return the values that a manifest names and that are not there; raise KubeError."""
        out = []
        for reference in references:
            secret = await self._look(key, reference.secret, reference.key)
            if secret is None or reference.key not in secret.keys:
                out.append(Missing(reference.path, reference.secret, reference.key, secret is None))
        return tuple(out)

    def made(self, key: Key, body: Object) -> None:
        """Keep what a Secret says that we have just made: its answer says all that a question would."""
        self._keep(key, self._known.setdefault(key, _Known()), body)

    def token(self, key: Key) -> str:
        """Return the token of the bot's admin ports; "" while it is not known."""
        known = self._known.get(key)
        return known.token if known else ""

    def forget(self, key: Key) -> None:
        """Read everything of a bot anew."""
        self._known.pop(key, None)

    async def _look(self, key: Key, name: str, needed: str | None = None) -> _Found | None:
        known = self._known.setdefault(key, _Known())
        found, now_s = known.secrets.get(name), self._clock.monotonic_s()
        if found is not None and now_s - found.at_s < FRESH_S and (needed is None or needed in found.keys):
            return found
        body = await self._gateway.get(SECRET, key[0], name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            known.secrets.pop(name, None)
            return None
        return self._keep(key, known, body)

    def _keep(self, key: Key, known: _Known, body: Object) -> _Found:
        name = body["metadata"]["name"]
        if name == Names(key[1]).admin_token:
            known.token = _token(body)
        uid, keys = body["metadata"]["uid"], frozenset(body.get("data") or {})
        found = known.secrets[name] = _Found(self._clock.monotonic_s(), uid, keys)
        return found


def _token(body: Object) -> str:
    try:
        return base64.b64decode((body.get("data") or {}).get(TOKEN_KEY, "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
