"""Quotes in Jupiter's shape: from query to route, from route to body, and back from a body to a route."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

from tradingbot_engine.domain.units import BPS_ONE, BaseUnits, Bps, Slot
from tradingbot_engine.localnet.market import routes
from tradingbot_engine.localnet.market.orders import ExactIn, ExactOut, Order
from tradingbot_engine.localnet.market.routes import Reserves, Route
from tradingbot_engine.localnet.market.web_api import ApiError, flag, pubkey, whole_number
from tradingbot_engine.localnet.market.world import World

SWAP_MODES = ("ExactIn", "ExactOut")
ACCOUNTS_OF_TWO_HOPS = 20
"""A client that allows fewer accounts gets direct routes only."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A route at a slot, with the client's slippage."""

    route: Route
    slippage_bps: Bps
    context_slot: Slot
    time_taken_s: float
    exact_out: BaseUnits | None = None
    """What the client wants to get, where it named that and not what it pays."""

    @property
    def threshold(self) -> BaseUnits:
        """Least amount out that the client accepts, or the most that it pays where it named the amount out."""
        if self.exact_out is not None:
            return -(-self.route.amount_in * (BPS_ONE + self.slippage_bps) // BPS_ONE)
        return self.route.amount_out * (BPS_ONE - self.slippage_bps) // BPS_ONE

    @property
    def order(self) -> Order:
        """What the swap is to do."""
        if self.exact_out is not None:
            return ExactOut(self.exact_out, self.threshold)
        return ExactIn(self.route.amount_in, self.threshold)

    def body(self) -> dict[str, Any]:
        """Return the quote as Jupiter writes it; amounts are strings."""
        first, last = self.route.hops[0], self.route.hops[-1]
        return {
            "inputMint": str(first.mint_in),
            "inAmount": str(self.route.amount_in),
            "outputMint": str(last.mint_out),
            "outAmount": str(self.exact_out or self.route.amount_out),
            "otherAmountThreshold": str(self.threshold),
            "swapMode": "ExactIn" if self.exact_out is None else "ExactOut",
            "slippageBps": self.slippage_bps,
            "platformFee": None,
            "priceImpactPct": f"{self.route.impact:.10f}".rstrip("0").rstrip(".") or "0",
            "routePlan": [
                {
                    "swapInfo": {
                        "ammKey": str(hop.pool.address),
                        "label": "Localnet Pool",
                        "inputMint": str(hop.mint_in),
                        "outputMint": str(hop.mint_out),
                        "inAmount": str(hop.amount_in),
                        "outAmount": str(hop.amount_out),
                        "feeAmount": str(hop.fee),
                        "feeMint": str(hop.mint_in),
                    },
                    "percent": 100,
                    "bps": BPS_ONE,
                }
                for hop in self.route.hops
            ],
            "contextSlot": self.context_slot,
            "timeTaken": self.time_taken_s,
        }


def quote(
    world: World, reserves: Reserves, slot: Slot, query: Mapping[str, Any], *, modes: Collection[str] = SWAP_MODES
) -> Quote:
    """
    Return the best quote for a query of Jupiter's API.

    Raises:
        ApiError: 400, with the reason and Jupiter's error code.
    """
    started = time.perf_counter()
    for name in ("inputMint", "outputMint", "amount"):
        if name not in query:
            raise ApiError.bad_request(f"Failed to deserialize query string: missing field `{name}`")
    mint_in, mint_out = pubkey(query["inputMint"], "inputMint"), pubkey(query["outputMint"], "outputMint")
    amount = whole_number(query["amount"], "amount")
    slippage_bps = whole_number(query.get("slippageBps", 50), "slippageBps", high=BPS_ONE)
    mode = query.get("swapMode", "ExactIn")
    if mode not in modes:
        raise ApiError.bad_request(f"Only swapMode {' or '.join(modes)} is supported", "NOT_SUPPORTED")
    for mint in (mint_in, mint_out):
        if mint not in world.by_mint:
            raise ApiError.bad_request(f"The token {mint} is not tradable", "TOKEN_NOT_TRADABLE")
    if mint_in == mint_out:
        raise ApiError.bad_request(
            "Input and output mints are not allowed to be equal", "CIRCULAR_ARBITRAGE_IS_DISABLED"
        )
    direct_only = flag(query.get("onlyDirectRoutes"), default=False)
    if "maxAccounts" in query and whole_number(query["maxAccounts"], "maxAccounts", high=256) < ACCOUNTS_OF_TWO_HOPS:
        direct_only = True
    best = routes.best_exact_out if mode == "ExactOut" else routes.best_exact_in
    route = best(world, reserves, mint_in=mint_in, mint_out=mint_out, amount=amount, direct_only=direct_only)
    if route is None:
        code = "NO_ROUTES_FOUND" if direct_only else "COULD_NOT_FIND_ANY_ROUTE"
        raise ApiError.bad_request("No routes found" if direct_only else "Could not find any route", code)
    taken_s = round(time.perf_counter() - started, 9)
    return Quote(route, slippage_bps, slot, taken_s, amount if mode == "ExactOut" else None)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a client sent back of a quote: the way, and the order with its own limit."""

    route: Route
    order: Order


def asked(world: World, reserves: Reserves, body: object) -> Asked:
    """
    Read a quote that a client sends back with its wish to swap.

    Raises:
        ApiError: 400 where the quote is not one of ours, or not whole.
    """
    if not isinstance(body, dict):
        raise ApiError.bad_request("Failed to deserialize the JSON body: missing field `quoteResponse`")
    try:
        plan = [Pubkey.from_string(step["swapInfo"]["ammKey"]) for step in body["routePlan"]]
        mint_in, mint_out = Pubkey.from_string(body["inputMint"]), Pubkey.from_string(body["outputMint"])
        amount = whole_number(body["inAmount"], "inAmount", low=1)
        limit = whole_number(body["otherAmountThreshold"], "otherAmountThreshold")
        mode = body.get("swapMode", "ExactIn")
        if mode not in SWAP_MODES:
            raise ApiError.bad_request(f"Failed to deserialize quoteResponse: unknown swapMode {mode!r}")
        wanted = whole_number(body["outAmount"], "outAmount", low=1) if mode == "ExactOut" else 0
        route = routes.route_through(world, reserves, plan, mint_in, amount)
    except (KeyError, TypeError) as error:
        raise ApiError.bad_request(f"Failed to deserialize quoteResponse: {error}") from error
    except ValueError as error:
        raise ApiError.bad_request(str(error)) from error
    if route.hops[-1].mint_out != mint_out:
        raise ApiError.bad_request("routePlan does not lead to outputMint")
    return Asked(route, ExactOut(wanted, limit) if wanted else ExactIn(amount, limit))
