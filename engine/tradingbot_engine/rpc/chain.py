"""Whether an endpoint serves the chain that is traded on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tradingbot_engine.rpc.endpoint import Endpoint
from tradingbot_engine.rpc.errors import WRONG_GENESIS, Next, RpcUnavailable, Verdict, WrongChain
from tradingbot_engine.rpc.wire import Result, fault

GENESIS = "getGenesisHash"


class ChainCheck:
    """Compares genesis hashes, once per endpoint for all who want to know."""

    def __init__(
        self, endpoints: Sequence[Endpoint], ask: Callable[[Endpoint, float | None], Awaitable[Result | Verdict]]
    ) -> None:
        """Take how an endpoint is asked for its genesis hash: within so many seconds, or (None) a request's usual time."""
        self._endpoints, self._ask = endpoints, ask
        self._expected: str | None = None
        self._checks: dict[str, asyncio.Task[Verdict | None]] = {}
        self._closed = False

    def expect(self, genesis_hash: str) -> None:
        """From now on every endpoint has to show this hash before it is used."""
        self._expected = genesis_hash
        for endpoint in self._endpoints:
            endpoint.on_our_chain = False

    async def close(self) -> None:
        """End the checks under way."""
        self._closed = True
        checks = list(self._checks.values())
        for check in checks:
            check.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    def needed(self, endpoint: Endpoint, method: str) -> bool:
        """Return whether the endpoint has to be checked before this question."""
        return not endpoint.on_our_chain and self._expected is not None and method != GENESIS

    async def unfit(self, endpoint: Endpoint) -> Verdict | None:
        """Find out whether `endpoint` serves our chain; None if it does."""
        check = self._checks.get(endpoint.name)
        if check is None:
            check = asyncio.create_task(self._check(endpoint), name=f"rpc: chain of {endpoint.name}")
            self._checks[endpoint.name] = check
            check.add_done_callback(lambda _: self._checks.pop(endpoint.name, None))
        try:
            return await asyncio.shield(check)  # whoever gives up does not take the answer from the others
        except asyncio.CancelledError:
            if check.cancelled() and self._closed:
                raise RpcUnavailable("the pool is closed") from None
            raise

    async def look(self, endpoint: Endpoint, *, left_s: float) -> Verdict | None:
        """
        Find out the same for a health probe, which may take no longer than `left_s`.

        It is not shared: a check that is under way may hang since before the node was back.
        """
        return await self._check(endpoint, left_s)

    async def _check(self, endpoint: Endpoint, left_s: float | None = None) -> Verdict | None:
        expected = self._expected
        outcome = await self._ask(endpoint, left_s)
        if type(outcome) is not Result:
            assert isinstance(outcome, Verdict)
            return outcome if outcome.row.next is not Next.SURFACE else fault(endpoint.name, "no genesis hash")
        if not isinstance(outcome.value, str):
            return fault(endpoint.name, f"malformed answer to {GENESIS}")
        if outcome.value != expected:
            served = outcome.value[:64]
            error = WrongChain(f"WrongGenesis: it serves {served}, not {expected}", provider=endpoint.name)
            return Verdict(WRONG_GENESIS, error)
        endpoint.on_our_chain = expected == self._expected
        return None
