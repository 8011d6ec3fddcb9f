"""The gateway on the official client, its asyncio API: plain JSON in and out, no model classes."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from tradingbot_operator import __version__
from tradingbot_operator.kube.errors import KubeError, NotFound, Unavailable, error_of
from tradingbot_operator.kube.gateway import FIELD_MANAGER, Object
from tradingbot_operator.kube.kinds import BY_NAME, Kind
from tradingbot_operator.turnstile import Turnstile

REQUEST_S = 10.0
"""A request that takes longer has failed: the level-triggered pass asks again. The wait for a place is no part of it."""
AT_ONCE = 32
"""Requests under way at once; the API server's own fairness queues what is more."""
SLOW_S = 2.0
"""A request that takes longer is not counted among these: an admission webhook of one namespace that hangs keeps no other bot waiting."""
PAGE = 500
"""Objects per answer of a list."""
JSON = "application/json"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Observer = Callable[[str, str, str, float], None]
"""Called after each request with verb, kind, code ("error" without an answer) and seconds."""


class KubeClient:
    """Satisfies `Gateway`; `close` it."""

    def __init__(self, configuration: Configuration, *, observe: Observer | None = None) -> None:
        configuration.connection_pool_maxsize = (
            0  # `AT_ONCE` limits them: time in the pool's queue would count as the request's
        )
        configuration.retries = 0  # a pass that fails is repeated as a whole, with its own back-off
        self._api = ApiClient(configuration)
        self._agent = f"tradingbot-operator/{__version__}"
        self._observe = observe
        self._turnstile = Turnstile(AT_ONCE, patience_s=SLOW_S)

    async def close(self) -> None:
        await self._api.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        try:
            return await self._ask("get", kind, "GET", kind.path(namespace, name))
        except NotFound:
            return None

    async def list(
        self, kind: Kind, namespace: str | None, *, labels: str = "", metadata_only: bool = False
    ) -> Sequence[Object]:
        found: list[Object] = []
        token = ""
        while True:
            query = {"limit": str(PAGE), "labelSelector": labels, "continue": token}
            accept = METADATA if metadata_only else JSON
            page = await self._ask("list", kind, "GET", kind.path(namespace), query=query, accept=accept)
            # Elements of lists come without their kind.
            found += [{"apiVersion": kind.api_version, "kind": kind.name, **item} for item in page.get("items") or ()]
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                return found

    async def apply(self, body: Object) -> Object:
        kind, metadata = _kind(body), body["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._ask("apply", kind, "PATCH", path, body=body, query=query, content=APPLY)

    async def apply_status(self, body: Object) -> Object:
        kind, metadata = _kind(body), body["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"], "status")
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self._ask("apply status", kind, "PATCH", path, body=body, query=query, content=APPLY)

    async def set_finalizers(self, kind: Kind, current: Object, finalizers: Sequence[str]) -> Object:
        return await self._patch("finalize", kind, current, {"/metadata/finalizers": [*finalizers]})

    async def set_fields(self, kind: Kind, current: Object, fields: Mapping[str, Any]) -> Object:
        return await self._patch("patch", kind, current, fields)

    async def _patch(self, verb: str, kind: Kind, current: Object, fields: Mapping[str, Any]) -> dict[str, Any]:
        metadata = current["metadata"]
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
            *({"op": "add", "path": path, "value": value} for path, value in fields.items()),
        ]
        path = kind.path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER}
        try:
            return await self._ask(verb, kind, "PATCH", path, body=patch, query=query, content=JSON_PATCH)
        except KubeError as error:
            if "the server rejected our request" in error.message or "testing path" in error.message:
                raise error_of(409, {"message": error.message}, what=error.what) from None  # a failed test is a 422
            raise

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, orphan: bool = False) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Orphan" if orphan else "Background",
        }
        try:
            await self._ask("delete", kind, "DELETE", kind.path(namespace, name), body=body)
        except NotFound:
            return

    async def create(self, body: Object) -> Object:
        kind = _kind(body)
        query = {"fieldManager": FIELD_MANAGER}
        return await self._ask("create", kind, "POST", kind.path(body["metadata"]["namespace"]), body=body, query=query)

    async def replace(self, body: Object) -> Object:
        kind, metadata = _kind(body), body["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"])
        return await self._ask("replace", kind, "PUT", path, body=body, query={"fieldManager": FIELD_MANAGER})

    async def served(self, kind: Kind) -> bool:
        """Return whether the API server knows the kind at all."""
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        try:
            found = await self._ask("discover", kind, "GET", root)
        except NotFound:
            return False
        return any(resource.get("name") == kind.plural for resource in found.get("resources") or ())

    async def _ask(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content: str = JSON,
        accept: str = JSON,
    ) -> dict[str, Any]:
        what = f"{verb} {kind.name} {'/'.join(_place(path))}".rstrip()
        headers = {"Content-Type": content, "Accept": accept, "User-Agent": self._agent}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        text = urlencode({key: value for key, value in (query or {}).items() if value})
        url = f"{self._api.configuration.host}{path}{'?' + text if text else ''}"
        async with self._turnstile.enter():
            began, code = time.monotonic(), "error"
            try:
                answer = await self._api.rest_client.request(
                    method, url, headers=headers, body=body, _request_timeout=aiohttp.ClientTimeout(total=REQUEST_S)
                )
                data = await answer.read()
                code = str(answer.status)
            except (TimeoutError, OSError, aiohttp.ClientError) as error:
                text = str(error) or type(error).__name__
                raise Unavailable(text, what=what) from None
            finally:
                if self._observe is not None:
                    self._observe(verb, kind.name, code, time.monotonic() - began)
        found = _decoded(data)
        if answer.status >= 400:
            raise error_of(answer.status, found, what=what, retry_after=answer.headers.get("Retry-After"))
        return found


def _place(path: str) -> list[str]:
    """Return namespace and name of a path."""
    parts = path.split("/")
    rest = parts[parts.index("namespaces") + 1 :] if "namespaces" in parts else []
    return [part for index, part in enumerate(rest) if index in (0, 2)]


def _kind(body: Object) -> Kind:
    return BY_NAME[body["kind"]]


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(data)
    except ValueError:
        return {"message": data[:200].decode(errors="replace")}
    return found if isinstance(found, dict) else {}
