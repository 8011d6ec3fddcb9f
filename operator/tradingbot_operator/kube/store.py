"""What the watches have told so far: every bot and every child of one, small enough for thousands of them."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tradingbot_operator.kube.fields import foreign_fields
from tradingbot_operator.kube.gateway import Object
from tradingbot_operator.kube.kinds import BY_NAME, TRADING_BOT, Kind

Key = tuple[str, str]
"""Namespace and name of a bot."""
BOT_LABEL = "tradingbot.dev/bot"
LOCALNET_LABEL = "tradingbot.dev/localnet"
BURIED = 10_000
"""Uids of objects that are gone, remembered so that a late answer revives none of them."""


@dataclass(frozen=True, slots=True)
class Stored:
    """
    One object as it was last seen; its body is kept as bytes, since thousands of them as Python objects fill the memory.

    Attributes:
        kind: Its kind.
        namespace: Its namespace.
        name: Its name.
        uid: Its uid.
        version: Its resourceVersion.
        generation: Of its spec.
        foreign: Fields that somebody else than us put there.
        json: The rest of it.
    """

    kind: Kind
    namespace: str
    name: str
    uid: str
    version: str
    generation: int
    foreign: tuple[str, ...]
    json: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.json)
        return found

    @classmethod
    def of(cls, body: Object) -> "Stored":
        meta = body["metadata"]
        rest = {**body, "metadata": {key: value for key, value in meta.items() if key != "managedFields"}}
        kind = BY_NAME[body["kind"]]
        return cls(
            kind=kind,
            namespace=meta["namespace"],
            name=meta["name"],
            uid=meta["uid"],
            version=meta["resourceVersion"],
            generation=int(meta.get("generation") or 0),
            foreign=() if kind is TRADING_BOT else foreign_fields(body),
            json=orjson.dumps(rest),
        )


@dataclass(slots=True)
class _Family:
    bot: Stored | None = None
    children: dict[tuple[str, str], Stored] = field(default_factory=dict)


class Store:
    """
    Bots and their children, by the bot's key; localnets stand beside the bots of their namespace.

    Objects come by the watch and by our own writes, in any order: the newer version stays.
    """

    def __init__(self) -> None:
        self._families: dict[Key, _Family] = {}
        self._localnets: dict[Key, dict[tuple[str, str], Stored]] = {}
        self._buried: OrderedDict[str, None] = OrderedDict()

    # --- reading
    def bot(self, key: Key) -> Stored | None:
        family = self._families.get(key)
        return family.bot if family else None

    def bots(self, namespace: str | None = None) -> tuple[Stored, ...]:
        """Return the bots of a namespace, or all."""
        found = (family.bot for key, family in self._families.items() if namespace in (None, key[0]))
        return tuple(bot for bot in found if bot is not None)

    def children(self, key: Key) -> tuple[Stored, ...]:
        family = self._families.get(key)
        return tuple(family.children.values()) if family else ()

    def localnet(self, namespace: str, name: str) -> tuple[Stored, ...]:
        return tuple(self._localnets.get((namespace, name), {}).values())

    def localnets(self) -> tuple[Key, ...]:
        return tuple(self._localnets)

    def keys(self) -> tuple[Key, ...]:
        """Return the keys of all families, those without a bot (any more) included."""
        return tuple(self._families)

    # --- writing
    def put(self, body: Object) -> Key | None:
        """Keep an object if it is newer than what is known; return the key that it belongs to, None if nothing changed."""
        shelf = self._shelf(body)
        if shelf is None:
            return None
        kind, meta = body["kind"], body["metadata"]
        if meta["uid"] in self._buried:
            return None  # the answer to a write came after the watch told that it is gone
        known = self._known(body)
        if known is not None and known.uid == meta["uid"] and not _newer(meta["resourceVersion"], known.version):
            return None
        if known is not None and known.uid != meta["uid"] and _newer(known.version, meta["resourceVersion"]):
            return None  # a late word about its predecessor
        stored = Stored.of(body)
        if kind == TRADING_BOT.name:
            self._families.setdefault(shelf, _Family()).bot = stored
        elif LOCALNET_LABEL in _labels(body):
            self._localnets.setdefault(shelf, {})[kind, stored.name] = stored
        else:
            self._families.setdefault(shelf, _Family()).children[kind, stored.name] = stored
        return shelf

    def remove(self, body: Object) -> Key | None:
        """Forget that very object (another one of the same name stays); return its key, None if it was not known."""
        self._bury(body["metadata"]["uid"])
        shelf = self._shelf(body)
        known = self._known(body)
        if shelf is None or known is None or known.uid != body["metadata"]["uid"]:
            return None
        if known.kind is TRADING_BOT:
            self._families[shelf].bot = None
        elif LOCALNET_LABEL in _labels(body):
            del self._localnets[shelf][known.kind.name, known.name]
            if not self._localnets[shelf]:
                del self._localnets[shelf]
            return shelf
        else:
            del self._families[shelf].children[known.kind.name, known.name]
        family = self._families[shelf]
        if family.bot is None and not family.children:
            del self._families[shelf]
        return shelf

    def replace(
        self, kind: Kind, namespace: str | None, bodies: Iterable[Object], *, known: Mapping[str, str]
    ) -> set[Key]:
        """
        Take a whole list for what it says, and forget what it does not hold; return the keys that changed.

        Args:
            kind: Of the list.
            namespace: Of the list; None: the whole cluster.
            bodies: Its objects.
            known: `versions` of the kind from before the list was asked for: what came since is no error.
        """
        changed: set[Key] = set()
        seen: set[str] = set()
        for body in bodies:
            seen.add(body["metadata"]["uid"])
            if (key := self.put(body)) is not None:
                changed.add(key)
        for stored in self._all(kind, namespace):
            if stored.uid in known and stored.uid not in seen:
                key = self.remove(stored.body)
                changed |= {key} if key is not None else set()
        return changed

    def versions(self, kind: Kind, namespace: str | None) -> dict[str, str]:
        """Return the version of each known object of a kind, by uid."""
        return {stored.uid: stored.version for stored in self._all(kind, namespace)}

    # --- inside
    def _bury(self, uid: str) -> None:
        self._buried[uid] = None
        if len(self._buried) > BURIED:
            self._buried.popitem(last=False)

    def _all(self, kind: Kind, namespace: str | None) -> list[Stored]:
        if kind is TRADING_BOT:
            return list(self.bots(namespace))
        shelves = [(key, family.children) for key, family in self._families.items()]
        shelves += list(self._localnets.items())
        return [
            stored
            for key, shelf in shelves
            if namespace in (None, key[0])
            for stored in shelf.values()
            if stored.kind is kind
        ]

    def _shelf(self, body: Object) -> Key | None:
        meta = body["metadata"]
        if body["kind"] == TRADING_BOT.name:
            return (meta["namespace"], meta["name"])
        labels = _labels(body)
        owner = labels.get(LOCALNET_LABEL) or labels.get(BOT_LABEL)
        return (meta["namespace"], owner) if owner else None

    def _known(self, body: Object) -> Stored | None:
        shelf, meta = self._shelf(body), body["metadata"]
        if shelf is None:
            return None
        if body["kind"] == TRADING_BOT.name:
            return self.bot(shelf)
        if LOCALNET_LABEL in _labels(body):
            return self._localnets.get(shelf, {}).get((body["kind"], meta["name"]))
        family = self._families.get(shelf)
        return family.children.get((body["kind"], meta["name"])) if family else None


def _labels(body: Object) -> Mapping[str, str]:
    return body["metadata"].get("labels") or {}


def _newer(one: str, other: str) -> bool:
    """Compare versions; they are decimal numbers of one history (guaranteed since Kubernetes 1.35, true before)."""
    return int(one) > int(other)
