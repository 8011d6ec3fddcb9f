"""What each bot asks for, judged and built once per generation: the verdict and the objects cost more than all the rest."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from solders.keypair import Keypair

from tradingbot_operator.catalogue import Catalogue
from tradingbot_operator.crd.v1alpha1 import TradingBot
from tradingbot_operator.desired.bot import Bot, Context
from tradingbot_operator.desired.children import children
from tradingbot_operator.desired.localnet import (
    SHARED,
    Localnet,
    disagreements,
    localnet_name,
    localnet_objects,
    localnet_of,
)
from tradingbot_operator.desired.names import Names
from tradingbot_operator.desired.references import Reference, references
from tradingbot_operator.desired.settle_job import settle_objects
from tradingbot_operator.desired.token_secret import needs_wallet, token_secret, wallet_secret
from tradingbot_operator.drift import stamped
from tradingbot_operator.engine_port import Live
from tradingbot_operator.handlers.notes import notes_of
from tradingbot_operator.kube.gateway import Object
from tradingbot_operator.kube.store import Stored
from tradingbot_operator.manifest.verdict import problems_of
from tradingbot_operator.steps import Invalid, Wanted
from tradingbot_operator.wire.render import risk

GENERATIONS = 1_000_000
"""More changes than one resource ever sees."""


@dataclass(frozen=True)
class Sound:
    """A bot whose manifest is sound, with what the operator has to look up for it."""

    bot: Bot
    references: tuple[Reference, ...]

    @property
    def localnet(self) -> str | None:
        """Name of the localnet that it trades on."""
        return localnet_name(self.bot.spec) if self.bot.on_localnet else None


def live_generation(created: str, generation: int) -> int:
    """
    Return the generation that engines are told.

    The ledger outlives its bot, and takes no generation older than its newest; a bot that is deleted and made again starts
    counting at 1. So the second of its creation comes first.
    """
    try:
        second = int(datetime.fromisoformat(created).timestamp())
    except ValueError:
        second = 0
    return second * GENERATIONS + generation


class Wants:
    """
    Judge manifests and build what they ask for; remembers the newest of each bot as bytes.

    Args:
        context: What the operator knows.
        catalogue: What the engine offers.
    """

    def __init__(self, *, context: Context, catalogue: Catalogue) -> None:
        self._context, self._catalogue = context, catalogue
        self._verdicts: dict[str, tuple[int, Sound | Invalid]] = {}
        self._built: dict[str, tuple[tuple[int, Localnet | None], bytes]] = {}

    def verdict(self, body: Object) -> Sound | Invalid:
        """Return the verdict on a TradingBot of the API server."""
        meta = body["metadata"]
        uid, generation = meta["uid"], int(meta.get("generation") or 0)
        known = self._verdicts.get(uid)
        if known is None or known[0] != generation:
            known = self._verdicts[uid] = (generation, self._judge(body))
        return known[1]

    def verdict_on(self, stored: Stored) -> Sound | Invalid:
        """Return the verdict on a bot of the store; one that was judged before is not even read."""
        known = self._verdicts.get(stored.uid)
        return known[1] if known is not None and known[0] == stored.generation else self.verdict(stored.body)

    def wanted(self, sound: Sound, peers: Sequence[Sound]) -> Wanted:
        """
        Return what a sound bot asks for.

        Args:
            sound: The bot.
            peers: All bots of its namespace that trade on its localnet, itself included; empty without localnet.
        """
        bot = sound.bot
        localnet = localnet_of([peer.bot for peer in peers]) if peers else None
        built = self._objects(bot, localnet)
        secrets_of = {Names(bot.name).admin_token: partial(self._token_secret, bot)}
        if needs_wallet(bot):
            secrets_of[Names(bot.name).wallet] = partial(self._wallet_secret, bot)
        return Wanted(
            objects=tuple(built["objects"]),
            localnet=tuple(stamped(body) for body in localnet_objects(localnet, context=self._context))
            if localnet
            else (),
            secrets=secrets_of,
            settle=partial(self._settle, bot, localnet),
            live=Live(bot.generation, bot.spec.paused, risk(bot.spec)),
            policy=bot.spec.deletion_policy,
            notes=notes_of(bot, disagreements([peer.bot for peer in peers]) if peers else {}),
            selector=_selector(built["objects"]),
        )

    def forget(self, uid: str) -> None:
        """Forget a bot that is gone."""
        self._verdicts.pop(uid, None)
        self._built.pop(uid, None)

    def _judge(self, body: Object) -> Sound | Invalid:
        meta = body["metadata"]
        document = {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "spec": body.get("spec"),
        }
        resource, problems = problems_of(document, self._catalogue)
        if resource is None:
            return Invalid(tuple(str(problem) for problem in problems))
        bot = self._bot(resource, meta)
        return Sound(bot, references(bot))

    @staticmethod
    def _bot(resource: TradingBot, meta: Mapping[str, Any]) -> Bot:
        created = str(meta.get("creationTimestamp") or "")
        generation = live_generation(created, int(meta.get("generation") or 0))
        return replace(Bot.of(resource), uid=str(meta["uid"]), created=created, generation=generation)

    def _objects(self, bot: Bot, localnet: Localnet | None) -> dict[str, Any]:
        key = (bot.generation, replace(localnet, tokens=()) if localnet else None)
        known = self._built.get(bot.uid)
        if known is None or known[0] != key:
            objects = [stamped(body) for body in children(bot, context=self._context, localnet=localnet)]
            known = self._built[bot.uid] = (key, orjson.dumps({"objects": objects}))
        found: dict[str, Any] = orjson.loads(known[1])
        return found

    def _settle(self, bot: Bot, localnet: Localnet | None, unborn: bool) -> tuple[Object, ...]:
        token = secrets.token_urlsafe(32)
        objects = settle_objects(bot, context=self._context, token=token, localnet=localnet, unborn=unborn)
        return tuple(body if body["kind"] == "Secret" else stamped(body) for body in objects)

    def _token_secret(self, bot: Bot) -> Object:
        return token_secret(bot, context=self._context, token=secrets.token_urlsafe(32))

    def _wallet_secret(self, bot: Bot) -> Object:
        return wallet_secret(bot, context=self._context, keypair=json.dumps([*bytes(Keypair())]))


def shape_of(peers: Sequence[Sound]) -> Localnet:
    """Return how the localnet of some bots plays, whatever tokens they trade on it: a change of that concerns all of them."""
    return replace(localnet_of([peer.bot for peer in peers]), tokens=())


def localnet_in(body: Object) -> str | None:
    """Return the localnet that a manifest asks for, be it sound or not: an engine of its may still run there."""
    spec = body.get("spec") or {}
    if (spec.get("cluster") or "localnet") != "localnet":
        return None
    return (spec.get("localnet") or {}).get("name") or SHARED


def _selector(objects: Sequence[Object]) -> str:
    """Return the selector of the pods as text, for whoever scales."""
    found: dict[str, str] = next(
        (body["spec"]["selector"]["matchLabels"] for body in objects if body["kind"] == "Deployment"), {}
    )
    return ",".join(f"{key}={value}" for key, value in sorted(found.items()))
