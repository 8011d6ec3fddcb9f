"""
Members as Leases of a Kubernetes cluster, which the operator made beforehand.

Plain HTTP: a few requests a minute need no client library in the engine's image. A Lease is written as it was read but for what is
ours, with the version that was read, so that the API server refuses what somebody else has changed meanwhile. The Role allows `get`,
`list`, and `update` of the bot's own Leases by name.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tradingbot_engine.clock import Clock
from tradingbot_engine.cluster.membership import Terms
from tradingbot_engine.cluster.port import Member
from tradingbot_engine.errors import PermanentError, TemporaryError

INCARNATION = "tradingbot.dev/incarnation"
TAKES_SHARDS = "tradingbot.dev/takes-shards"
BOT_LABEL = "tradingbot.dev/bot"
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, the API server's certificate authority, and its namespace."""


def api_server(environment: Mapping[str, str]) -> str:
    """
    Return the URL of the API server, as a pod's environment tells it.

    Raises:
        PermanentError: This is no pod.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise PermanentError("KUBERNETES_SERVICE_HOST is not set: members are kept as Leases in a pod only")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


class LeaseMembers:
    """
    See `cluster.port.MemberStore`.

    Args:
        url: The API server.
        trust: Its certificate authority.
        token: Returns the pod's token; asked for each request, since kubelet renews the file within the hour.
        namespace: Of the bot.
        bot: The bot's name; its Leases are `<bot>-member-0` and so on, with the bot's label.
    """

    def __init__(
        self,
        *,
        url: str,
        trust: ssl.SSLContext,
        token: Callable[[], str],
        namespace: str,
        bot: str,
        clock: Clock,
        terms: Terms | None = None,
    ) -> None:
        self._path = f"{url}/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._trust, self._token, self._bot, self._clock = trust, token, bot, clock
        self._terms = terms or Terms()
        self._read: dict[str, dict[str, Any]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make ready; nothing is asked yet."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._trust, limit=2))

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def members(self) -> Sequence[Member]:
        # Without resourceVersion: not from a cache of the API server that may be behind.
        found = await self._ask("GET", self._path, params={"labelSelector": f"{BOT_LABEL}={self._bot}"})
        assert found is not None
        mine = (lease for lease in found["items"] if lease["metadata"]["name"].startswith(f"{self._bot}-member-"))
        self._read = {lease["metadata"]["name"]: lease for lease in mine}
        return [_member(self._read[name]) for name in sorted(self._read)]

    async def claim(self, seen: Member, *, holder: str, incarnation: str, takes_shards: bool) -> Member | None:
        return await self._write(seen, holder, incarnation, takes_shards=takes_shards, anew=True)

    async def renew(self, held: Member, *, takes_shards: bool) -> Member | None:
        return await self._write(held, held.holder, held.incarnation, takes_shards=takes_shards)

    async def release(self, held: Member) -> bool:
        return await self._write(held, "", "", takes_shards=False) is not None

    async def _write(
        self, seen: Member, holder: str, incarnation: str, *, takes_shards: bool, anew: bool = False
    ) -> Member | None:
        old = self._read.get(seen.name)
        if old is None or old["metadata"]["resourceVersion"] != seen.version:
            return None
        spec = old.get("spec") or {}
        text = _other_than(str(spec.get("renewTime")), now_ms=self._clock.now_ms())
        metadata = {key: value for key, value in old["metadata"].items() if key != "managedFields"}
        notes = {
            **(metadata.get("annotations") or {}),
            INCARNATION: incarnation,
            TAKES_SHARDS: str(takes_shards).lower(),
        }
        lease = {
            **old,
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {**metadata, "annotations": notes},
            "spec": {
                **spec,
                "holderIdentity": holder,
                "leaseDurationSeconds": round(self._terms.lease_s),
                "renewTime": text,  # for people: no decision rests on another's clock
                **({"acquireTime": text, "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1} if anew else {}),
            },
        }
        written = await self._ask("PUT", f"{self._path}/{seen.name}", body=lease)
        if written is None:
            return None
        self._read[seen.name] = written
        return _member(written)

    async def _ask(
        self, method: str, url: str, *, body: Mapping[str, Any] | None = None, params: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        """Return the answer; None if the object was written by somebody else, or is gone."""
        if self._session is None:
            raise TemporaryError("members: not open")
        try:
            headers = {"Authorization": f"Bearer {await asyncio.to_thread(self._token)}"}
            async with self._session.request(
                method,
                url,
                params=params,
                headers=headers | {"Content-Type": "application/json", "Accept": "application/json"},
                data=None if body is None else orjson.dumps(body),
                allow_redirects=False,
            ) as answer:
                text = await answer.read()
                if answer.status in (404, 409) and method == "PUT":
                    return None
                if answer.status == 200:
                    found: dict[str, Any] = orjson.loads(text)
                    return found
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise TemporaryError(f"the API server does not answer ({type(error).__name__}: {error})") from error
        told = f"the API server answers {answer.status} to {method} of member Leases of {self._bot}: {_message(text)}"
        # A token that has just expired is renewed by kubelet, so even 401 is worth another look; 403 is the Role's word.
        if answer.status == 401 or answer.status == 429 or answer.status >= 500:
            raise TemporaryError(told)
        raise PermanentError(told)


def _other_than(old: str, *, now_ms: int) -> str:
    """Return the time as Leases tell it. A write that changes nothing is none to an API server, and nobody would see it."""
    at = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC)
    text = at.strftime(TIME)
    return text if text != old else (at + datetime.timedelta(microseconds=1)).strftime(TIME)


def _member(lease: Mapping[str, Any]) -> Member:
    metadata, spec = lease["metadata"], lease.get("spec") or {}
    notes = metadata.get("annotations") or {}
    return Member(
        name=metadata["name"],
        version=metadata["resourceVersion"],
        holder=str(spec.get("holderIdentity") or ""),
        incarnation=str(notes.get(INCARNATION) or ""),
        takes_shards=notes.get(TAKES_SHARDS) == "true",
    )


def _message(text: bytes) -> str:
    """Return what a Status says, or the beginning of what came instead."""
    try:
        return str(orjson.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200].decode(errors="replace")
