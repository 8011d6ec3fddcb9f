"""Somebody else at the API server: creates, edits, deletes and watches as people, kubelets and other tools do."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import orjson
import yaml

from tradingbot_operator.kube.access import configuration
from tradingbot_operator.kube.kinds import BY_NAME

T = TypeVar("T")
PATIENCE_S = 180.0
"""Finds what hangs."""


class Person:
    """
    Plain requests to an API server, under a field manager of their own.

    Args:
        kubeconfig: How to reach it.
        manager: Who writes.
    """

    def __init__(self, kubeconfig: Path, *, manager: str = "kubectl-edit") -> None:
        self._kubeconfig, self._manager = str(kubeconfig), manager

    async def __aenter__(self) -> "Person":
        access = await configuration(kubeconfig=self._kubeconfig)
        trust = ssl.create_default_context(cafile=access.ssl_ca_cert, cadata=access.ca_cert_data)
        trust.load_cert_chain(access.cert_file, access.key_file)
        self._session = aiohttp.ClientSession(
            base_url=access.host, connector=aiohttp.TCPConnector(ssl=trust), trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json", **query: str
    ) -> dict[str, Any]:
        """Send a request; an answer of 400 or more is an AssertionError with the server's words, but 404 is {}."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content}
        async with self._session.request(method, path, data=data, headers=headers, params=query) as answer:
            found: dict[str, Any] = orjson.loads(await answer.read())
        if answer.status == 404:
            return {}
        assert answer.status < 400, f"{method} {path}: {answer.status} {found.get('message')}"
        return found

    async def namespace(self, name: str) -> str:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.ask("POST", "/api/v1/namespaces", body)
        return name

    async def definition(self, file: Path) -> None:
        """Install a CustomResourceDefinition and wait until it is served."""
        body = yaml.safe_load(file.read_text())
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        await self.ask(
            "PATCH", f"{path}/{body['metadata']['name']}", body, content="application/apply-patch+yaml",
            fieldManager="helm", force="true",
        )  # fmt: skip

        async def served() -> bool:
            found = await self.ask("GET", f"{path}/{body['metadata']['name']}")
            conditions = (found.get("status") or {}).get("conditions") or []
            return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

        await eventually(served)

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        kind = BY_NAME[body["kind"]]
        return await self.ask("POST", kind.path(body["metadata"]["namespace"]), body, fieldManager=self._manager)

    async def get(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return the object, {} if there is none."""
        return await self.ask("GET", BY_NAME[kind].path(namespace, name))

    async def changes(self, kind: str, namespace: str, *, since: str) -> list[dict[str, Any]]:
        """Return what became of the objects of a kind after a version, in order: type and object of each change."""
        query = {"watch": "1", "resourceVersion": since, "timeoutSeconds": "1"}
        async with self._session.get(BY_NAME[kind].path(namespace), params=query, read_bufsize=2**20) as answer:
            return [orjson.loads(line) async for line in answer.content]

    async def list(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        found = await self.ask("GET", BY_NAME[kind].path(namespace))
        items: list[dict[str, Any]] = found["items"]
        return items

    async def edit(self, kind: str, namespace: str, name: str, patch: Any, *, status: bool = False) -> dict[str, Any]:
        """Merge-patch an object, or its status."""
        path = BY_NAME[kind].path(namespace, name, "status" if status else None)
        return await self.ask("PATCH", path, patch, content="application/merge-patch+json", fieldManager=self._manager)

    async def strategic(self, kind: str, namespace: str, name: str, patch: Any) -> dict[str, Any]:
        """Patch lists by their keys, as `kubectl edit` and `kubectl set` do."""
        content = "application/strategic-merge-patch+json"
        return await self.ask(
            "PATCH", BY_NAME[kind].path(namespace, name), patch, content=content, fieldManager=self._manager
        )

    async def delete(
        self, kind: str, namespace: str, name: str, *, how: str = "Background", grace_s: int | None = None
    ) -> None:
        body: dict[str, Any] = {"propagationPolicy": how}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        await self.ask("DELETE", BY_NAME[kind].path(namespace, name), body)


async def eventually(check: Callable[[], Awaitable[T]], *, why: str = "", patience_s: float = PATIENCE_S) -> T:
    """Return what a check finds as soon as it finds something."""
    deadline = time.monotonic() + patience_s
    while True:
        found = await check()
        if found:
            return found
        assert time.monotonic() < deadline, f"did not happen: {why or check}"
        await asyncio.sleep(0.05)
