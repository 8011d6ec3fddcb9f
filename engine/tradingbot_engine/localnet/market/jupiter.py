"""The swap API in Jupiter's shape: v1 quote, swap, swap-instructions; v2 order, execute, build."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections import OrderedDict
from typing import Any

from aiohttp import web
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from tradingbot_engine.domain.units import BaseUnits, Slot
from tradingbot_engine.localnet.market import quotes
from tradingbot_engine.localnet.market.accounts import associated
from tradingbot_engine.localnet.market.ports import Bank
from tradingbot_engine.localnet.market.routes import Reserves
from tradingbot_engine.localnet.market.swap_build import (
    BuiltSwap,
    PriorityFee,
    build,
    lookup_tables,
    unsigned_transaction,
)
from tradingbot_engine.localnet.market.swap_json import execute_body, instruction_lists, priority_fee
from tradingbot_engine.localnet.market.tokens import SOL
from tradingbot_engine.localnet.market.web_api import (
    ApiError,
    Gate,
    flag,
    json_body,
    json_response,
    pubkey,
)
from tradingbot_engine.localnet.market.world import Pool, World, reserves
from tradingbot_engine.market.layouts import token_amount

KEPT_ORDERS = 4096
EXECUTE_SLOTS = 150
"""How long `/execute` waits for the transaction to be confirmed."""
LAMPORTS_FOR_FEES = 3_000_000
"""What an order wants the taker to have beside the amount: fees, and rent of new accounts."""
MAX_TRANSACTION_BYTES = 1232


class SwapApi:
    """Handlers over one world and its bank; quotes come from the processed view."""

    def __init__(self, *, world: World, bank: Bank, gate: Gate) -> None:
        self._world = world
        self._bank = bank
        self._gate = gate
        self._orders: OrderedDict[str, bytes] = OrderedDict()
        self._waiting: set[asyncio.Event] = set()
        bank.on_slot(self._wake)

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        guard = self._gate.guard
        app.router.add_get("/swap/v1/quote", guard(self._quote))
        app.router.add_post("/swap/v1/swap", guard(self._swap))
        app.router.add_post("/swap/v1/swap-instructions", guard(self._swap_instructions))
        app.router.add_get("/swap/v2/order", guard(self._order))
        app.router.add_post("/swap/v2/execute", guard(self._execute))
        app.router.add_get("/swap/v2/build", guard(self._build))

    def _view(self, path: str) -> tuple[Reserves, Slot]:
        """Return reserves by pool in the view that is quoted from, each read once, and its slot."""
        slot = self._bank.view_slot("processed")
        stale = self._gate.faults.stale_slots(path)
        slot = self._bank.block_at(slot - stale).slot if stale else slot
        known: dict[Pubkey, tuple[BaseUnits, BaseUnits]] = {}

        def at(pool: Pool) -> tuple[BaseUnits, BaseUnits]:
            if pool.address not in known:
                known[pool.address] = reserves(self._bank, pool, slot if stale else None)
            return known[pool.address]

        return at, slot

    def _quoted(self, request: web.Request) -> quotes.Quote:
        view, slot = self._view(request.path)
        modes = quotes.SWAP_MODES if "/v1/" in request.path else quotes.SWAP_MODES[:1]
        return quotes.quote(self._world, view, slot, request.query, modes=modes)

    async def _quote(self, request: web.Request) -> web.Response:
        return json_response(self._quoted(request).body())

    async def _built_from(self, request: web.Request) -> tuple[BuiltSwap, Pubkey]:
        body = await json_body(request)
        view, _ = self._view(request.path)
        asked = quotes.asked(self._world, view, body.get("quoteResponse"))
        if "userPublicKey" not in body:
            raise ApiError.bad_request("Failed to deserialize the JSON body: missing field `userPublicKey`")
        user = pubkey(body["userPublicKey"], "userPublicKey")
        destination = body.get("destinationTokenAccount")
        built = build(
            asked.route,
            user=user,
            order=asked.order,
            wrap_sol=flag(body.get("wrapAndUnwrapSol"), default=True),
            dynamic_units=flag(body.get("dynamicComputeUnitLimit"), default=False),
            fee=priority_fee(body.get("prioritizationFeeLamports")),
            destination=pubkey(destination, "destinationTokenAccount") if destination is not None else None,
        )
        return built, user

    async def _swap(self, request: web.Request) -> web.Response:
        built, user = await self._built_from(request)
        blockhash, last_valid = self._bank.latest_blockhash("confirmed")
        transaction = bytes(unsigned_transaction(built, user=user, blockhash=blockhash))
        return json_response(
            {
                "swapTransaction": base64.b64encode(transaction).decode(),
                "lastValidBlockHeight": last_valid,
                "prioritizationFeeLamports": built.priority_fee,
                "computeUnitLimit": built.units,
                "prioritizationType": {
                    "computeBudget": {"microLamports": built.priority_fee * 1_000_000 // built.units}
                },
                "dynamicSlippageReport": None,
                "simulationError": None,
            }
        )

    async def _swap_instructions(self, request: web.Request) -> web.Response:
        built, _ = await self._built_from(request)
        return json_response(
            {
                "tokenLedgerInstruction": None,
                **instruction_lists(built),
                "addressLookupTableAddresses": [str(pool.lookup_table) for pool in built.pools],
                "prioritizationFeeLamports": built.priority_fee,
                "computeUnitLimit": built.units,
                "simulationError": None,
            }
        )

    async def _build(self, request: web.Request) -> web.Response:
        query = request.query
        if "taker" not in query:
            raise ApiError.bad_request("Failed to deserialize query string: missing field `taker`")
        quote = self._quoted(request)
        built = build(
            quote.route,
            user=pubkey(query["taker"], "taker"),
            order=quote.order,
            wrap_sol=flag(query.get("wrapAndUnwrapSol"), default=True),
            dynamic_units=False,
            fee=PriorityFee(),
        )
        blockhash, last_valid = self._bank.latest_blockhash("confirmed")
        return json_response(
            {
                **quote.body(),
                **instruction_lists(built),
                "tipInstruction": None,
                "addressesByLookupTableAddress": {
                    str(table.key): [str(address) for address in table.addresses]
                    for table in lookup_tables(built.pools)
                },
                "blockhashWithMetadata": {"blockhash": list(bytes(blockhash)), "lastValidBlockHeight": last_valid},
            }
        )

    async def _order(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            quote = self._quoted(request)
        except ApiError as error:
            if error.body.get("errorCode") in ("COULD_NOT_FIND_ANY_ROUTE", "NO_ROUTES_FOUND", "TOKEN_NOT_TRADABLE"):
                raise ApiError.bad_request("Failed to get quotes", error.body["errorCode"]) from error
            raise
        request_id = str(uuid.uuid4())
        body = {
            **quote.body(),
            "swapType": "aggregator",
            "mode": "manual",
            "router": "localnet",
            "requestId": request_id,
            "transaction": None,
            "taker": query.get("taker"),
            "gasless": False,
            "signatureFeeLamports": 5000,
            "prioritizationFeeLamports": 0,
            "rentFeeLamports": 0,
            "lastValidBlockHeight": None,
        }
        if "taker" in query:
            taker = pubkey(query["taker"], "taker")
            if not self._can_pay(taker, quote):
                return json_response({**body, "transaction": "", "errorCode": 1, "errorMessage": "Insufficient funds"})
            built = build(
                quote.route, user=taker, order=quote.order, wrap_sol=True, dynamic_units=False, fee=PriorityFee()
            )
            blockhash, last_valid = self._bank.latest_blockhash("confirmed")
            transaction = unsigned_transaction(built, user=taker, blockhash=blockhash)
            self._orders[request_id] = bytes(transaction.message)
            while len(self._orders) > KEPT_ORDERS:
                self._orders.popitem(last=False)
            body["transaction"] = base64.b64encode(bytes(transaction)).decode()
            body["prioritizationFeeLamports"] = built.priority_fee
            body["lastValidBlockHeight"] = str(last_valid)
        return json_response(body)

    def _can_pay(self, taker: Pubkey, quote: quotes.Quote) -> bool:
        wallet = self._bank.account(taker)
        lamports = wallet.lamports if wallet else 0
        mint_in, amount = quote.route.hops[0].mint_in, quote.route.amount_in
        if mint_in == SOL.mint:
            return lamports >= amount + LAMPORTS_FOR_FEES
        held = self._bank.account(associated(taker, mint_in))
        return lamports >= LAMPORTS_FOR_FEES and held is not None and token_amount(bytes(held.data)) >= amount

    async def _execute(self, request: web.Request) -> web.Response:
        body = await json_body(request)
        request_id = str(body.get("requestId"))
        ordered = self._orders.get(request_id)
        if ordered is None:
            raise ApiError.bad_request("Order not found, it may have expired: requestId is unknown")
        try:
            raw = base64.b64decode(str(body.get("signedTransaction")), validate=True)
            transaction = VersionedTransaction.from_bytes(raw)
            signed = all(transaction.verify_with_results())
        except ValueError as error:
            raise ApiError.bad_request("signedTransaction cannot be decoded") from error
        if len(raw) > MAX_TRANSACTION_BYTES or bytes(transaction.message) != ordered:
            raise ApiError.bad_request("signedTransaction is not the transaction of this order")
        if not signed:
            raise ApiError.bad_request("signedTransaction is not signed by its taker")
        return json_response(await self._land(transaction))

    async def _land(self, transaction: VersionedTransaction) -> dict[str, Any]:
        signature = transaction.signatures[0]
        self._bank.submit(transaction)
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            for _ in range(EXECUTE_SLOTS):
                changed.clear()
                await changed.wait()
                record = self._landed(signature)
                if record is None or record.slot > self._bank.view_slot("confirmed"):
                    continue
                return execute_body(str(signature), record)
        finally:
            self._waiting.discard(changed)
        return {"status": "Failed", "signature": str(signature), "slot": "0", "code": -1005, "error": "Expired"}

    def _landed(self, signature: Signature) -> Any:
        return self._bank.history.recent(signature)

    def _wake(self, slot: Slot) -> None:
        for event in self._waiting:
            event.set()
