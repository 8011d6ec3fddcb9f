"""The HTTP server beside the nodes: faults and facts of localnet; the market's APIs are mounted on it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web
from pydantic import ValidationError

from tradingbot_engine.localnet.faults import FaultRefused, fault_schema, parse_fault, place_of

if TYPE_CHECKING:
    from tradingbot_engine.localnet.cluster import Cluster


class Gateway:
    """`/localnet/faults` (POST, GET, DELETE; `/schema` tells what there is) and `/localnet/info`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def mount(self, app: web.Application) -> None:
        """Add the routes to the gateway's application."""
        app.router.add_get("/localnet/info", self._info)
        app.router.add_get("/localnet/faults", self._list)
        app.router.add_get("/localnet/faults/schema", self._schema)
        app.router.add_post("/localnet/faults", self._add)
        app.router.add_delete("/localnet/faults", self._clear)
        app.router.add_delete("/localnet/faults/{id}", self._remove)

    async def _info(self, request: web.Request) -> web.Response:
        cluster, bank = self._cluster, self._cluster.bank
        clock = bank.clock
        return _json(
            {
                **cluster.described(),
                "slot": bank.slot,
                "block_height": bank.height,
                "finalized_slot": bank.finalized_slot,
                "slot_ms": cluster.slot_ms,
                "speed": cluster.speed,
                "seed": cluster.seed,
                "market_ms": clock.at_ms(bank.slot),
                "market_clock": {
                    "origin_slot": clock.origin_slot,
                    "origin_ms": clock.origin_ms,
                    "ms_per_slot": clock.ms_per_slot,
                },
            }
        )

    async def _list(self, request: web.Request) -> web.Response:
        return _json([outcome.as_json() for outcome in self._cluster.faults.active()])

    async def _schema(self, request: web.Request) -> web.Response:
        return _json(fault_schema())

    async def _add(self, request: web.Request) -> web.Response:
        try:
            outcome = self._cluster.faults.add(parse_fault(orjson.loads(await request.read())))
        except orjson.JSONDecodeError as error:
            return _json({"error": f"the body is not JSON: {error}"}, 400)
        except ValidationError as error:
            problems = [{"field": place_of(e), "message": e["msg"]} for e in error.errors()]
            return _json({"error": "not a fault that localnet knows", "problems": problems}, 422)
        except FaultRefused as error:
            return _json({"error": str(error)}, 409)
        return _json(outcome.as_json(), 201)

    async def _remove(self, request: web.Request) -> web.Response:
        fault_id = request.match_info["id"]
        if not self._cluster.faults.remove(fault_id):
            return _json({"error": f"there is no fault {fault_id}"}, 404)
        return _json({"removed": 1})

    async def _clear(self, request: web.Request) -> web.Response:
        return _json({"removed": self._cluster.faults.clear()})


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")
