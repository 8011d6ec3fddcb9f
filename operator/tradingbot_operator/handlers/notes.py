"""What a sound manifest asks for and does not get (yet): told in the status, so that nobody relies on it."""

from collections.abc import Mapping

from tradingbot_operator.crd.v1alpha1 import TradingBotSpec
from tradingbot_operator.desired.bot import Bot

LATER = "is not yet in force"


def notes_of(bot: Bot, disagreements: Mapping[str, str]) -> tuple[str, ...]:
    """
    Return one sentence for each part of a manifest that has no effect.

    Args:
        bot: The bot.
        disagreements: By bots' names, what they ask of a shared localnet that an older bot decided otherwise.
    """
    shared = (disagreements[bot.name],) if bot.name in disagreements else ()
    return (*shared, *_not_yet(bot.spec))


def _not_yet(spec: TradingBotSpec) -> tuple[str, ...]:
    autoscaled = spec.scaling.max_replicas is not None
    said = {
        f"replicas {LATER}: one pod trades all tokens": spec.replicas > 1 and not autoscaled,
        f"scaling.maxReplicas {LATER}: one pod trades all tokens": autoscaled,
        f"market.feeds {LATER}: prices come from the pools": bool(spec.market.feeds),
        "market.screen screens the tokens that are named; it finds no others yet": spec.market.screen is not None,
    }
    return tuple(note for note, holds in said.items() if holds)
