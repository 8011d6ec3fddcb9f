"""
Which member owns which shard: rendezvous hashing with a bound on the load.

Pure, and a function of nothing but the bot, its shards in use and its members: every pod finds the same owner without asking another.
It is a wish only. Who may write is what the ledger's `shards` table says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

from tradingbot_engine.core.ids import shard_of
from tradingbot_engine.domain.units import Mint


def shards_in_use(bot_id: str, mints: Iterable[Mint], shards: int) -> frozenset[int]:
    """
    Return the shards in [0, shards) that at least one of the tokens belongs to.

    Tokens that are traded no more but still held, or that an intent is open for, are in use as well: name them too.
    """
    return frozenset(shard_of(bot_id, mint, shards) for mint in mints)


def weight(bot_id: str, shard: int, member: str) -> int:
    """Return how much a shard belongs to a member: 64 bits of a hash, the same in every process and on every Python."""
    text = f"{len(bot_id)}:{bot_id}{shard}/{member}"  # a length prefix keeps ("b1", 2) apart from ("b", 12)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def owners(bot_id: str, shards: Collection[int], members: Collection[str]) -> dict[int, str]:
    """
    Return each shard's owner of choice.

    Every member owns ⌊n/m⌋ or ⌈n/m⌉ of the n shards. Of all such assignments it is the one that the heaviest pairs of shard and
    member agree with: pairs are granted from the heaviest down, unless the shard has its owner or the member its share. It never ends
    with a shard left over: where one is, some member is below its share.

    A member that comes or goes moves little more than its own share as long as shares are large: measured over 1 to 8 members, 1.2
    times as many on average with 64 shards. The more members, the tighter the bound and the longer the chains of moves (2.5 times from 15 to
    16 members with 64 shards), so a bot of many pods wants many shards.

    Args:
        bot_id: 32 hexadecimal characters.
        shards: Numbers of the shards in use, in any order.
        members: Names of the members that live and take shards, in any order; they must not change while a member lives.

    Returns:
        All of `shards`, by number; empty if there is no member.

    Source: bounded loads as in Mirrokni, Thorup, Zadimoghaddam (2018), rendezvous as in Thaler, Ravishankar (1998).
    """
    wanted, names = set(shards), set(members)
    if not names:
        return {}
    share, larger = divmod(len(wanted), len(names))
    pairs = sorted(((weight(bot_id, s, m), s, m) for s in wanted for m in names), reverse=True)
    load = dict.fromkeys(names, 0)
    found: dict[int, str] = {}
    for _, shard, member in pairs:
        if shard in found or load[member] > share or (load[member] == share and not larger):
            continue
        larger -= load[member] == share  # so many members own one more than the others
        load[member] += 1
        found[shard] = member
    return dict(sorted(found.items()))


def moved(before: Mapping[int, str], after: Mapping[int, str]) -> list[int]:
    """Return the shards in both whose owner of choice differs, by number."""
    return sorted(shard for shard in before.keys() & after.keys() if before[shard] != after[shard])
