"""
An API server in memory behind the gateway port, for unit tests; tests/contract/test_kube_gateway.py holds it to the real one.

It knows versions, generations, uids, finalizers, conflicts, server-side apply by one manager, and faults on demand. It runs no
controllers: a test plays kubelet and Deployment controller itself.
"""

import copy
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tradingbot_operator.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from tradingbot_operator.kube.kinds import Kind

Place = tuple[str, str, str]


class FakeKube:
    """Satisfies `Gateway`."""

    def __init__(self) -> None:
        self.objects: dict[Place, dict[str, Any]] = {}
        self.writes: list[tuple[str, str, str]] = []
        """(verb, kind, name) of every write that was asked for."""
        self.changed: list[Callable[[str, dict[str, Any]], None]] = []
        """Called with "MODIFIED" or "DELETED" and the object."""
        self.fault: Callable[[str, str, str], KubeError | None] = lambda verb, kind, name: None
        """Asked before every request with verb, kind and name; what it returns is raised."""
        self._applied: dict[Place, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    # --- the port
    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        self._maybe_fail("get", kind.name, name)
        found = self.objects.get((kind.name, namespace, name))
        return copy.deepcopy(found)

    async def list(
        self, kind: Kind, namespace: str | None, *, labels: str = "", metadata_only: bool = False
    ) -> Sequence[dict[str, Any]]:
        self._maybe_fail("list", kind.name, "")
        wanted = dict(part.split("=", 1) for part in labels.split(",") if part)
        return [
            copy.deepcopy(body)
            for (name, space, _), body in self.objects.items()
            if name == kind.name and namespace in (None, space) and wanted.items() <= _labels(body).items()
        ]

    async def apply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        place = _place(body)
        self._write("apply", body)
        body = json.loads(json.dumps(body))
        uid = body["metadata"].pop("uid", None)
        before = self.objects.get(place)
        if uid is not None and (before is None or before["metadata"]["uid"] != uid):
            raise Conflict("Precondition failed: UID in precondition")
        if before is None:
            return copy.deepcopy(self._store(place, body, applied=body))
        after = _without(before, self._applied.get(place, {}), body)
        return copy.deepcopy(self._store(place, _merged(after, body), applied=body))

    async def apply_status(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._write("apply status", body)
        before = self.objects.get(_place(body))
        if before is None:
            raise NotFound(f"{body['metadata']['name']} not found")
        uid = body["metadata"].get("uid")
        if uid not in (None, before["metadata"]["uid"]):
            raise Conflict("Precondition failed: UID in precondition")
        return copy.deepcopy(self._store(_place(body), {**before, "status": json.loads(json.dumps(body["status"]))}))

    async def set_finalizers(self, kind: Kind, current: Mapping[str, Any], finalizers: Sequence[str]) -> dict[str, Any]:
        return self._patch("finalize", kind, current, {"/metadata/finalizers": [*finalizers]})

    async def set_fields(self, kind: Kind, current: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        return self._patch("patch", kind, current, fields)

    def _patch(self, verb: str, kind: Kind, current: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
        meta = current["metadata"]
        self._write(verb, {**current, "kind": kind.name})
        place = (kind.name, meta["namespace"], meta["name"])
        before = self.objects.get(place)
        if before is None:
            raise NotFound(f"{meta['name']} not found")
        if before["metadata"]["resourceVersion"] != meta["resourceVersion"]:
            raise Conflict("the server rejected our request due to an error in our request")
        after = copy.deepcopy(before)
        for pointer, value in fields.items():
            *way, last = pointer.removeprefix("/").split("/")
            at: Any = after
            for step in way:
                at = at[int(step)] if isinstance(at, list) else at[step]
            at[int(last) if isinstance(at, list) else last] = copy.deepcopy(value)
        return copy.deepcopy(self._store(place, after))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str, orphan: bool = False) -> None:
        self._write("delete", {"kind": kind.name, "metadata": {"name": name}})
        place = (kind.name, namespace, name)
        if place in self.objects:
            if self.objects[place]["metadata"]["uid"] != uid:
                raise Conflict("Precondition failed: UID in precondition")
            self.remove(*place)

    async def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._write("create", body)
        if _place(body) in self.objects:
            raise AlreadyExists(f"{body['metadata']['name']} already exists")
        return copy.deepcopy(self._store(_place(body), json.loads(json.dumps(body))))

    async def replace(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._write("replace", body)
        before = self.objects.get(_place(body))
        if before is None:
            raise NotFound(f"{body['metadata']['name']} not found")
        if body["metadata"].get("resourceVersion") not in (None, before["metadata"]["resourceVersion"]):
            raise Conflict("the object has been modified")
        return copy.deepcopy(self._store(_place(body), json.loads(json.dumps(body))))

    # --- what a person or a controller does
    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create or change an object as somebody else, without our field manager."""
        return copy.deepcopy(self._store(_place(body), _merged(self.objects.get(_place(body), {}), body)))

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete; an object with finalizers only begins to go."""
        place = (kind, namespace, name)
        body = self.objects[place]
        if body["metadata"].get("finalizers"):
            if "deletionTimestamp" not in body["metadata"]:
                meta = {**body["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
                meta["generation"] = meta.get("generation", 1) + 1
                self._store(place, {**body, "metadata": meta})
            return
        del self.objects[place]
        self._applied.pop(place, None)
        meta = {**body["metadata"], "resourceVersion": str(next(self._numbers))}
        self._tell("DELETED", {**body, "metadata": meta})

    # --- inside
    def _write(self, verb: str, body: Mapping[str, Any]) -> None:
        self.writes.append((verb, body["kind"], body["metadata"]["name"]))
        self._maybe_fail(verb, body["kind"], body["metadata"]["name"])

    def _maybe_fail(self, verb: str, kind: str, name: str) -> None:
        if (error := self.fault(verb, kind, name)) is not None:
            raise error

    def _store(self, place: Place, body: dict[str, Any], *, applied: dict[str, Any] | None = None) -> dict[str, Any]:
        before = self.objects.get(place)
        meta = dict(body["metadata"])
        old = before["metadata"] if before else {}
        meta["uid"] = old.get("uid") or f"uid-{next(self._numbers)}"
        meta.setdefault("namespace", place[1])
        meta["creationTimestamp"] = old.get("creationTimestamp", "2026-01-01T00:00:00Z")
        same_spec = before is not None and before.get("spec") == body.get("spec")
        generation = old.get("generation", 0)
        meta["generation"] = meta.get("generation", generation) if same_spec else generation + 1
        if body["kind"] == "Secret" and "stringData" in body:
            import base64

            data = {key: base64.b64encode(value.encode()).decode() for key, value in body["stringData"].items()}
            body = {key: value for key, value in body.items() if key != "stringData"} | {"data": data}
        meta["resourceVersion"] = old.get("resourceVersion", "")
        after = {**body, "metadata": meta}
        if applied is not None:
            self._applied[place] = applied
        if before == after:
            return before  # a write that changes nothing makes no new version
        meta["resourceVersion"] = str(next(self._numbers))
        if meta.get("deletionTimestamp") and not meta.get("finalizers"):
            del self.objects[place]
            self._tell("DELETED", after)
            return after
        self.objects[place] = after
        self._tell("MODIFIED", after)
        return after

    def _tell(self, what: str, body: dict[str, Any]) -> None:
        for told in self.changed:
            told(what, copy.deepcopy(body))


def _place(body: Mapping[str, Any]) -> Place:
    return (body["kind"], body["metadata"]["namespace"], body["metadata"]["name"])


def _labels(body: Mapping[str, Any]) -> dict[str, str]:
    return dict(body["metadata"].get("labels") or {})


def _merged(before: Any, body: Any) -> Any:
    if not isinstance(before, Mapping) or not isinstance(body, Mapping):
        return body
    return {**before, **{key: _merged(before.get(key), value) for key, value in body.items()}}


def _without(before: dict[str, Any], applied: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without the fields that we applied last time and do not apply now."""
    out = {}
    for key, value in before.items():
        if key in applied and key not in body:
            continue
        inner, now = applied.get(key), body.get(key)
        deep = isinstance(value, dict) and isinstance(inner, Mapping) and isinstance(now, Mapping)
        out[key] = _without(value, inner, now) if deep else value
    return out
