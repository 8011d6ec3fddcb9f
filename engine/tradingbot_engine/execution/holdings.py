"""What the wallet holds of a token, by one node, or by as many as must agree before tokens count as gone."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from solders.pubkey import Pubkey

from tradingbot_engine.core.proof import Commitment
from tradingbot_engine.domain.units import Mint, Slot
from tradingbot_engine.execution.port import Balance
from tradingbot_engine.execution.programs import TOKEN, TOKEN_2022, associated_token_account
from tradingbot_engine.execution.unreadable import ChainUnreadable, unknown
from tradingbot_engine.market.normalise import AccountData, Malformed, vault_amount
from tradingbot_engine.rpc.errors import RpcError
from tradingbot_engine.rpc.methods import Rpc
from tradingbot_engine.rpc.pool import RpcPool

_log = structlog.get_logger(__name__)


class Holdings:
    """Reads the token accounts of one wallet; `providers`: how many must tell before a finalized reading counts."""

    def __init__(self, rpc: RpcPool, *, wallet: Pubkey, providers: int) -> None:
        self._pool, self._rpc, self._wallet_key, self._providers = rpc, Rpc(rpc), wallet, providers

    async def balance(self, mint: Mint, *, names: Sequence[str], min_slot: Slot, finalized: bool) -> Balance:
        """
        Return what the wallet can sell of `mint`; see `Executor.balance`.

        Args:
            mint: The token.
            names: The providers that may be asked, in the order in which to ask them.
            min_slot: The oldest slot that counts.
            finalized: Whether several providers must tell, each of a finalized bank.

        Raises:
            TemporaryError: Too few tell.
        """
        if not finalized:
            with unknown():
                return await self._balance(self._rpc, mint, "confirmed", min_slot)
        voices = {self._pool.independent(name) for name in self._pool.names}
        needed = min(self._providers, len(voices))
        said: list[Balance] = []
        heard: set[str] = set()
        for name in names:
            try:
                said.append(await self._balance(self._rpc.pinned(name), mint, "finalized", min_slot))
                heard.add(self._pool.independent(name))
            except RpcError as error:
                _log.debug("token account not read", provider=name, error=str(error))
        if len(heard) < needed:
            raise ChainUnreadable(f"{len(heard)} of {needed} providers tell what the wallet holds of {mint}")
        return Balance(max(b.amount for b in said), min(b.slot for b in said))

    async def _balance(self, rpc: Rpc, mint: Mint, commitment: Commitment, min_slot: Slot) -> Balance:
        """Read both accounts that can hold `mint` for the wallet, one for each token program, from one bank."""
        key = Pubkey.from_string(mint)
        accounts = [str(associated_token_account(self._wallet_key, key, program)) for program in (TOKEN, TOKEN_2022)]
        answer = await rpc.get_multiple_accounts(accounts, commitment, min_context_slot=min_slot)
        assert answer.context_slot is not None  # the decoder insists on a context
        held = [AccountData(a.owner, a.lamports, a.data) for a in answer.result if a is not None]
        try:
            return Balance(sum(vault_amount(account, mint) for account in held), answer.context_slot)
        except Malformed as error:
            raise ChainUnreadable(f"the wallet's account for {mint}: {error}") from error
