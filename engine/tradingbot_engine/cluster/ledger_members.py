"""Members as rows of the ledger's database: on a laptop, where no Kubernetes keeps Leases."""

from __future__ import annotations

from collections.abc import Sequence

from tradingbot_engine.clock import Clock
from tradingbot_engine.cluster.port import Member
from tradingbot_engine.errors import PermanentError
from tradingbot_engine.ledger import members as rows
from tradingbot_engine.ledger.base import ProgramLedger
from tradingbot_engine.ledger.members import MemberRow


def member_name(number: int) -> str:
    """Return the name of a bot's record by its number, from 0."""
    return f"member-{number}"


class LedgerMembers:
    """See `cluster.port.MemberStore`; its errors are the ledger's."""

    def __init__(self, ledger: ProgramLedger, *, clock: Clock) -> None:
        self._ledger, self._clock = ledger, clock

    async def provide(self, count: int) -> None:
        """
        Make the records of `count` members; those that are there stay, also where there are more.

        Raises:
            PermanentError: The ledger is one process's alone.
        """
        if count > 1 and not self._ledger.shared:
            raise PermanentError(
                f"replicas: {count} processes cannot trade on one SQLite file; name a PostgreSQL database (ledger.url)"
            )
        await self._ledger.change(lambda: rows.add_members(member_name(number) for number in range(count)))

    async def members(self) -> Sequence[Member]:
        return [_member(row) for row in await self._ledger.look(rows.all_members)]

    async def claim(self, seen: Member, *, holder: str, incarnation: str, takes_shards: bool) -> Member | None:
        return await self._write(seen, holder, incarnation, takes_shards=takes_shards)

    async def renew(self, held: Member, *, takes_shards: bool) -> Member | None:
        return await self._write(held, held.holder, held.incarnation, takes_shards=takes_shards)

    async def release(self, held: Member) -> bool:
        return await self._write(held, "", "", takes_shards=False) is not None

    async def _write(self, seen: Member, holder: str, incarnation: str, *, takes_shards: bool) -> Member | None:
        row = MemberRow(seen.name, int(seen.version), seen.holder, seen.incarnation, seen.takes_shards)
        now_ms = self._clock.now_ms()
        written = await self._ledger.change(
            lambda: rows.write_member(
                row, holder=holder, incarnation=incarnation, takes_shards=takes_shards, now_ms=now_ms
            )
        )
        return None if written is None else _member(written)


def _member(row: MemberRow) -> Member:
    return Member(row.name, str(row.version), row.holder, row.incarnation, row.takes_shards)
