"""Address lookup tables, read from the chain and kept for a while: they only ever grow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from solders.address_lookup_table_account import AddressLookupTable, AddressLookupTableAccount
from solders.pubkey import Pubkey

from tradingbot_engine.clock import Clock
from tradingbot_engine.domain.units import Address
from tradingbot_engine.execution.port import QuoteUnavailable
from tradingbot_engine.rpc.methods import Rpc

MAX_TABLES = 256
MAX_AGE_S = 60.0
"""A table that was closed meanwhile costs failed preflights for at most this long."""


class LookupTables:
    """A bounded cache of tables. Raises `RpcError`, and QuoteUnavailable for what is no table."""

    def __init__(self, *, rpc: Rpc, clock: Clock) -> None:
        self._rpc, self._clock = rpc, clock
        self._kept: OrderedDict[Address, tuple[float, AddressLookupTableAccount]] = OrderedDict()

    async def get(self, addresses: Sequence[Address]) -> tuple[AddressLookupTableAccount, ...]:
        """Return the tables at `addresses`, in order."""
        oldest = self._clock.monotonic_s() - MAX_AGE_S
        missing = [a for a in dict.fromkeys(addresses) if a not in self._kept or self._kept[a][0] < oldest]
        fresh = await self._read(missing) if missing else {}
        found = tuple(fresh[a] if a in fresh else self._kept[a][1] for a in addresses)
        now = self._clock.monotonic_s()
        for address, table in fresh.items():
            self._kept[address] = (now, table)
            self._kept.move_to_end(address)
        while len(self._kept) > MAX_TABLES:
            self._kept.popitem(last=False)
        return found

    async def _read(self, addresses: Sequence[Address]) -> dict[Address, AddressLookupTableAccount]:
        accounts = (await self._rpc.get_multiple_accounts(addresses)).result
        tables = {}
        for address, account in zip(addresses, accounts, strict=True):
            if account is None:
                raise QuoteUnavailable(f"lookup table {address} does not exist (yet)")
            try:
                content = AddressLookupTable.deserialize(account.data)
            except ValueError as error:
                raise QuoteUnavailable(f"{address} is no lookup table") from error
            tables[address] = AddressLookupTableAccount(Pubkey.from_string(address), content.addresses)
        return tables
