"""
shard-moves: shards that change their owner of choice when one member comes or goes, beside those that must.

64 shards (the default) and 256, 1 to 8 members, joins and leaves of any member, over many bots. The baseline is one share, what a
newcomer must get or a leaver must give. Owners differ by one shard at most all the time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

from tradingbot_engine.cluster.shares import moved, owners

BOTS = 40
MEMBERS = range(1, 8)


def movement(shards: int, members: int) -> tuple[float, float]:
    """Return (shards that move on average, the ideal) when a member joins `members`, and when one of them + 1 leaves."""
    moves = []
    for bot in range(BOTS):
        bot_id, wanted = f"{bot:032x}", range(shards)
        many = [f"bot-member-{n}" for n in range(members + 1)]
        grown = owners(bot_id, wanted, many)
        moves.append(len(moved(owners(bot_id, wanted, many[:-1]), grown)))
        left = [name for n, name in enumerate(many) if n != bot % len(many)]
        moves.append(len(moved(grown, owners(bot_id, wanted, left))))
    return statistics.mean(moves), shards / (members + 1)


async def main(emit: Callable[..., None]) -> None:
    """Print the mean over 1 to 8 members, and the worst step."""
    for shards in (64, 256):
        found = [movement(shards, members) for members in MEMBERS]
        ratio = statistics.mean(value / ideal for value, ideal in found)
        emit(f"shard-moves: {shards} shards, mean of 1 to 8 members, times the ideal", ratio, "x", "lower", 1.0, 1.5)
        value, ideal = found[-1]
        emit(f"shard-moves: {shards} shards, 7 to 8 members", value, "shards", "lower", ideal, None)
