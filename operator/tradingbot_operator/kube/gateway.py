"""The port through which the operator reads and changes the cluster."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tradingbot_operator.kube.kinds import Kind

FIELD_MANAGER = "tradingbot-operator"
Object = Mapping[str, Any]
"""One object of the API as plain JSON data; never changed after it was read."""


class Gateway(Protocol):
    """Every request that the operator makes. All of them raise KubeError."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, None if there is none."""

    async def list(
        self, kind: Kind, namespace: str | None, *, labels: str = "", metadata_only: bool = False
    ) -> Sequence[Object]:
        """Return all objects of a namespace, or (None) of the cluster, whose labels match the selector."""

    async def apply(self, body: Object) -> Object:
        """
        Apply by server-side apply, our fields forced; return the object as it is then.

        An object with `metadata.uid` is only changed, never made anew: Conflict if that one is gone.
        """

    async def apply_status(self, body: Object) -> Object:
        """Apply `status` the same way; NotFound if the object is gone."""

    async def set_finalizers(self, kind: Kind, current: Object, finalizers: Sequence[str]) -> Object:
        """Replace the finalizers of `current`; Conflict if it is not the version on the server any more."""

    async def set_fields(self, kind: Kind, current: Object, fields: Mapping[str, Any]) -> Object:
        """Put values at places (JSON pointers) of `current`; Conflict if it is not the version on the server any more."""

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, orphan: bool = False) -> None:
        """Delete that very object in the background (`orphan`: and leave what it owns); gone already is fine, another uid is Conflict."""

    async def create(self, body: Object) -> Object:
        """Create; AlreadyExists if there is one of that name."""

    async def replace(self, body: Object) -> Object:
        """Replace, compared by `metadata.resourceVersion`; Conflict if that is not the newest."""
