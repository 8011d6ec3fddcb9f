"""A gateway that writes only while this operator leads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tradingbot_operator.kube.errors import KubeError
from tradingbot_operator.kube.gateway import Gateway, Object
from tradingbot_operator.kube.kinds import Kind


class NotLeading(KubeError):
    """Another operator acts now; a pass that runs ends."""

    passes_by_itself = True


class LeaderOnly:
    """Satisfies `Gateway`: reads are passed on, writes only while `leads`; raise NotLeading."""

    def __init__(self, gateway: Gateway, *, leads: Callable[[], bool]) -> None:
        self._gateway, self._leads = gateway, leads

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return await self._gateway.get(kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str | None, *, labels: str = "", metadata_only: bool = False
    ) -> Sequence[Object]:
        return await self._gateway.list(kind, namespace, labels=labels, metadata_only=metadata_only)

    async def apply(self, body: Object) -> Object:
        self._check()
        return await self._gateway.apply(body)

    async def apply_status(self, body: Object) -> Object:
        self._check()
        return await self._gateway.apply_status(body)

    async def set_finalizers(self, kind: Kind, current: Object, finalizers: Sequence[str]) -> Object:
        self._check()
        return await self._gateway.set_finalizers(kind, current, finalizers)

    async def set_fields(self, kind: Kind, current: Object, fields: Mapping[str, Any]) -> Object:
        self._check()
        return await self._gateway.set_fields(kind, current, fields)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, orphan: bool = False) -> None:
        self._check()
        await self._gateway.delete(kind, namespace, name, uid=uid, orphan=orphan)

    async def create(self, body: Object) -> Object:
        self._check()
        return await self._gateway.create(body)

    async def replace(self, body: Object) -> Object:
        self._check()
        return await self._gateway.replace(body)

    def _check(self) -> None:
        if not self._leads():
            raise NotLeading("another operator holds the Lease")
