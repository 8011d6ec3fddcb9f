"""Play money in tokens: what `requestAirdrop` is for SOL."""

from __future__ import annotations

import struct

from aiohttp import web
from solders.instruction import AccountMeta, Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.units import BaseUnits
from tradingbot_engine.localnet.market.accounts import associated
from tradingbot_engine.localnet.market.ports import Bank
from tradingbot_engine.localnet.market.swap_build import create_account_idempotent
from tradingbot_engine.localnet.market.tokens import SOL
from tradingbot_engine.localnet.market.web_api import ApiError, json_body, json_response, pubkey, whole_number
from tradingbot_engine.localnet.market.world import World
from tradingbot_engine.market.layouts import TOKEN_PROGRAM_ID

MINT_TO = 7
"""Number of the SPL Token instruction MintTo."""


class TokenFaucet:
    """`POST /localnet/fund` mints to a wallet: the faucet's key may mint every token of localnet, and pays for it."""

    def __init__(self, *, world: World, bank: Bank) -> None:
        self._world, self._bank = world, bank

    def mount(self, app: web.Application) -> None:
        """Add the route to `app`."""
        app.router.add_post("/localnet/fund", self._fund)

    async def _fund(self, request: web.Request) -> web.Response:
        """Take `{"address", "mint", "amount"}` (base units); answer `{"signature"}` of the transaction that landed."""
        try:
            body = await json_body(request)
            owner, mint = pubkey(body.get("address"), "address"), pubkey(body.get("mint"), "mint")
            amount = whole_number(body.get("amount"), "amount", low=1)
            if mint == SOL.mint:
                raise ApiError.bad_request("SOL comes from requestAirdrop")
            if mint not in self._world.by_mint:
                raise ApiError.bad_request(f"localnet has no token {mint}: start it with --token {mint}")
            return json_response({"signature": str(self._mint(owner, mint, amount))}, status=201)
        except ApiError as error:
            return json_response(error.body, status=error.status)

    def _mint(self, owner: Pubkey, mint: Pubkey, amount: BaseUnits) -> Signature:
        payer = self._bank.faucet
        metas = [
            AccountMeta(mint, False, True),
            AccountMeta(associated(owner, mint), False, True),
            AccountMeta(payer.pubkey(), True, False),
        ]
        mint_to = Instruction(TOKEN_PROGRAM_ID, struct.pack("<BQ", MINT_TO, amount), metas)
        steps = [create_account_idempotent(payer.pubkey(), owner, mint), mint_to]
        blockhash, _ = self._bank.latest_blockhash("processed")
        transaction = VersionedTransaction(MessageV0.try_compile(payer.pubkey(), steps, [], blockhash), [payer])
        result = self._bank.execute(transaction, verified=True)
        if result.err is not None:  # the same request twice within a slot, or more than 64 bits of the token
            raise ApiError(409, {"error": f"nothing was minted: {result.err}"})
        return transaction.signatures[0]
