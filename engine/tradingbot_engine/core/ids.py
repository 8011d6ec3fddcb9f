"""Names that survive restarts: one signal, one intent, for ever."""

from __future__ import annotations

import hashlib

from tradingbot_engine.domain.signals import Signal
from tradingbot_engine.domain.units import IntentId, Mint


def intent_id(bot_id: str, signal: Signal) -> IntentId:
    """
    Return the intent's id: the first 128 bits of a hash of what makes the signal this signal.

    Args:
        bot_id: 32 hexadecimal characters, made once per bot.
        signal: Its strategy, version, mint, side and triggering event count; price and time of observation do not.

    Returns:
        32 lower-case hexadecimal characters.
    """
    parts = (
        bot_id,
        signal.strategy,
        str(signal.strategy_version),
        signal.mint,
        signal.side.value,
        signal.trigger_id,
    )
    # Length prefixes keep ("ab", "c") apart from ("a", "bc").
    text = "".join(f"{len(p)}:{p}" for p in parts)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def shard_of(bot_id: str, mint: Mint, shards: int) -> int:
    """Return the shard in [0, shards) that a token belongs to; the same in every process."""
    digest = hashlib.blake2b(f"{bot_id}/{mint}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards
