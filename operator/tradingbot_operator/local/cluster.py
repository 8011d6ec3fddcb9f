"""The embedded cluster of one bot: started, started again on the same ports, and with play money for the bot's wallet."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import aiohttp

from tradingbot_operator.crd.v1alpha1 import TradingBot
from tradingbot_operator.local import faucet
from tradingbot_operator.local.board import Board
from tradingbot_operator.local.localnet import LocalnetOptions, ask_info, localnet_command, remember, wait_for_line
from tradingbot_operator.local.process import Child
from tradingbot_operator.local.state_dir import StateDir, write_private
from tradingbot_operator.wire.chain import Chain, localnet_chain, same_time
from tradingbot_operator.wire.render import base_units

LEAST_FUNDS: dict[str, float] = {"SOL": 100, "USDC": 15_000}
FUND_S = 30.0
LOCALNET_END_S = 15.0


class LocalCluster:
    """Localnet as a child, and the chain that it serves once it has started."""

    def __init__(
        self,
        options: LocalnetOptions,
        *,
        state: StateDir,
        board: Board,
        session: aiohttp.ClientSession,
        engine: tuple[str, ...],
    ) -> None:
        self._options, self._state, self._board = options, state, board
        self._session, self._engine = session, engine
        self._child: Child | None = None
        self._chain: Chain | None = None

    @property
    def chain(self) -> Chain:
        """The chain; only after `start`."""
        assert self._chain is not None
        return self._chain

    @property
    def audit_node(self) -> str:
        """The last node, which faults leave alone."""
        return self.chain.nodes[-1].url

    async def start(self) -> None:
        """
        Start localnet, and wait until it serves: on the ports of its first start, which it keeps in its state directory.

        Raises:
            BadInput: A token or a file that it was given is wrong.
            Failed: It did not start.
        """
        command = localnet_command(
            self._options, state_dir=self._state.localnet, parent_pid=os.getpid(), port=None, engine=self._engine
        )
        self._child = Child.start("localnet", command, state=self._state, stdout=self._state.localnet_out)
        line = await wait_for_line(self._child, self._state.localnet_out)
        remember(self._state, self._options)
        chain = localnet_chain(line, await ask_info(self._session, line))
        if self._chain is not None and same_time(self._chain.event_time, chain.event_time):
            chain = replace(chain, event_time=self._chain.event_time)
        self._chain = chain
        self._board.say(f"localnet serves {len(chain.nodes)} nodes, the first at {chain.nodes[0].url}")

    async def wait(self) -> int:
        """Wait for localnet's end; return its exit code."""
        assert self._child is not None
        return await self._child.wait()

    async def end(self) -> None:
        """End localnet, if it runs."""
        if self._child is not None and not self._child.ended:
            await self._child.end(patience_s=LOCALNET_END_S)

    async def fund(self, bot: TradingBot, wallet: str) -> None:
        """
        Give a wallet that has nothing its play money; one that traded keeps what it has.

        Raises:
            Failed: The money did not arrive in time.
        """
        quote = bot.spec.market.quote
        wanted = {"SOL": LEAST_FUNDS["SOL"], quote: LEAST_FUNDS[quote]}  # SOL pays the fees whatever is traded
        wanted[quote] = max(wanted[quote], (bot.spec.risk.capital or 0) * 1.5)
        missing = {name: whole for name, whole in wanted.items() if not self._funded(name).exists()}
        if missing:
            self._board.say(f"asking the faucet for play money, and waiting until it is final: wallet {wallet}")
            await asyncio.gather(*(self._give(wallet, name, whole) for name, whole in missing.items()))
            self._board.say(f"the faucet gave {' and '.join(f'{n:g} {name}' for name, n in missing.items())}")

    async def _give(self, wallet: str, name: str, whole: float) -> None:
        url, units = self.chain.nodes[0].url, base_units(whole, name) or 1
        if name == "SOL":
            await faucet.fund(self._session, url, wallet, lamports=units, patience_s=FUND_S)
        else:
            await faucet.fund_token(
                self._session,
                url,
                str(self.chain.swap_url),
                wallet,
                mint=faucet.USDC_MINT,
                base_units=units,
                patience_s=FUND_S,
            )
        write_private(self._funded(name), wallet)

    def _funded(self, name: str) -> Path:
        """Return the file that says that the wallet was given SOL, or USDC."""
        return self._state.path / ("funded" if name == "SOL" else f"funded-{name}")


def same_nodes(one: Chain | None, other: Chain | None) -> bool:
    """Return whether two chains are served at the same addresses."""
    return one is not None and other is not None and (one.nodes, one.swap_url) == (other.nodes, other.swap_url)
