"""`tradingbot run`: a manifest as processes of this machine, until told to stop."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import click

from tradingbot_operator.catalogue import catalogue
from tradingbot_operator.commands.validate import tell
from tradingbot_operator.crd.v1alpha1 import TradingBot, effective_cluster
from tradingbot_operator.errors import BadInput, Failed
from tradingbot_operator.local.board import Board
from tradingbot_operator.local.localnet import LocalnetOptions
from tradingbot_operator.local.state_dir import StateDir, default_path
from tradingbot_operator.local.summary import proven_wrong, summary
from tradingbot_operator.local.supervisor import Outcome, Supervisor
from tradingbot_operator.local.supplies import supply
from tradingbot_operator.local.view import LinesView, NoView, TerminalView, View
from tradingbot_operator.manifest.load import Bundle, load

REFRESH_S = 0.5
NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the command line says besides the manifest; absent values are the manifest's."""

    files: tuple[str, ...]
    speed: float | None = None
    duration_s: float | None = None
    output: str = "text"
    seed: int | None = None
    replay: str | None = None
    state_dir: str | None = None
    secrets: str | None = None
    scenario: str | None = None
    slot_ms: int | None = None
    faults: str | None = None


def run(options: RunOptions) -> int:
    """
    Run one bot and print its summary.

    Returns:
        0 drained; 1 failed, or the audit found a trade doubled, lost or phantom; 3 stopped with trades still open.

    Raises:
        BadInput: The manifest, a Secret or an option is wrong.
        Failed: Something needed cannot be had.
    """
    bundle = load(options.files, catalogue())
    tell(bundle)
    if bundle.problems:
        raise BadInput(f"{len(bundle.problems)} problem(s) in the manifest, nothing was started")
    bot = the_bot(bundle)
    check_for_a_laptop(bot, options)
    if options.secrets is not None:
        bundle.secrets.directory = Path(options.secrets)
    meta = bot.metadata
    state = StateDir(Path(options.state_dir) if options.state_dir else default_path(meta.namespace, meta.name))
    state.open()
    try:
        outcome, board = asyncio.run(_run(bot, bundle, state, options))
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        why = f"cannot be written ({error.strerror}): make room, and run again"
        raise Failed(f"the state directory {state.path} {why}; what it already journalled is safe") from None
    finally:
        state.close()
    line = json.dumps(summary(board, outcome.audit))
    with contextlib.suppress(OSError):
        click.echo(line)
    return 1 if proven_wrong(outcome.audit) else outcome.exit_code


def the_bot(bundle: Bundle) -> TradingBot:
    """Return the one bot of the files; raise BadInput if there is none, or more than one."""
    if len(bundle.bots) != 1:
        names = ", ".join(f"{b.bot.metadata.namespace}/{b.bot.metadata.name}" for b in bundle.bots)
        found = f"the files hold {len(bundle.bots)} bots ({names})" if names else "the files hold no TradingBot"
        raise BadInput(f"{found}: one is needed")
    return bundle.bots[0].bot


def check_for_a_laptop(bot: TradingBot, options: RunOptions) -> None:
    """Refuse what this machine cannot do yet, all at once."""
    spec, localnet = bot.spec, effective_cluster(bot.spec) == "localnet"
    problems = []
    if spec.replicas > 1:
        problems.append(f"spec.replicas: value {spec.replicas}: one engine runs here: set replicas: 1")
    if not spec.market.tokens:
        problems.append("spec.market.tokens: the screen finds no tokens yet: name at least one")
    if localnet and len(spec.rpc.endpoints) > 0:
        problems.append("spec.rpc.endpoints: localnet provides its own nodes")
    only_localnet = ("speed", "seed", "replay", "scenario", "slot_ms", "faults")
    stated = [name.replace("_", "-") for name in only_localnet if getattr(options, name) is not None]
    problems += [f"--{name} needs cluster: localnet" for name in stated if not localnet]
    for name in ("replay", "faults"):
        value = getattr(options, name)
        if value is not None and not Path(value).is_file():
            problems.append(f"--{name}: there is no file {value}")
    if options.secrets is not None and not Path(options.secrets).is_dir():
        problems.append(f"--secrets: there is no directory {options.secrets}")
    if problems:
        raise BadInput("\n".join(problems))


async def _run(bot: TradingBot, bundle: Bundle, state: StateDir, options: RunOptions) -> tuple[Outcome, Board]:
    spec = bot.spec
    state.check_owner(bot)
    supplies = supply(bot, bundle.secrets, state)
    localnet = localnet_options(bot, options)
    board = Board(
        bot=f"{bot.metadata.namespace}/{bot.metadata.name}",
        mode=spec.mode,
        cluster=effective_cluster(spec),
        quote=spec.market.quote,
        speed=localnet.speed if localnet else None,
        scenario=(f"replay of {options.replay}" if options.replay else localnet.scenario) if localnet else None,
        state_dir=str(state.path),
    )
    if localnet:
        board.say(f"the market plays {localnet.speed:g} times as fast as wall time ({board.scenario})")
    async with aiohttp.ClientSession() as session:
        supervisor = Supervisor(
            bot=bot,
            supplies=supplies,
            state=state,
            localnet=localnet,
            duration_s=options.duration_s,
            board=board,
            session=session,
            reload=Reload(options.files, board.say).changed,
        )
        _listen(supervisor)
        showing = asyncio.create_task(_show(_view(options), board, supervisor))
        try:
            outcome = await supervisor.run()
        finally:
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
    return outcome, board


def localnet_options(bot: TradingBot, options: RunOptions) -> LocalnetOptions | None:
    """Return how localnet is to be started, the command line before the manifest; None on another cluster."""
    from tradingbot_operator.crd.v1alpha1.chain import Localnet

    if effective_cluster(bot.spec) != "localnet":
        return None
    stated = bot.spec.localnet or Localnet()
    return LocalnetOptions(
        nodes=stated.nodes,
        scenario=options.scenario or stated.scenario,
        speed=options.speed or stated.speed,
        tokens=tuple(token.mint for token in bot.spec.market.tokens),
        seed=options.seed,
        replay=str(Path(options.replay).absolute()) if options.replay else None,
        slot_ms=options.slot_ms,
        faults=str(Path(options.faults).absolute()) if options.faults else None,
    )


def _listen(supervisor: Supervisor) -> None:
    loop = asyncio.get_running_loop()
    why = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the terminal closed"}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # nohup: to go on without a terminal is what was asked for
        del why[signal.SIGHUP]
    for number, text in why.items():
        loop.add_signal_handler(number, supervisor.stop, text)
    loop.add_signal_handler(signal.SIGQUIT, supervisor.quit)


def _view(options: RunOptions) -> View:
    if options.output == "json":
        return NoView()
    return (
        TerminalView(sys.stdout) if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else LinesView(sys.stdout)
    )


async def _show(view: View, board: Board, supervisor: Supervisor) -> None:
    """Show the board until cancelled; when nobody can see it any more, drain as if the terminal had closed."""
    try:
        while True:
            view.show(board)
            await asyncio.sleep(REFRESH_S)
    except OSError:
        supervisor.stop("standard output was closed")
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            view.show(board)
        raise
    finally:
        with contextlib.suppress(OSError):
            view.close()


class Reload:
    """Reads the manifest anew when one of its files changed; a manifest with problems changes nothing."""

    def __init__(self, sources: tuple[str, ...], say: Callable[[str], None]) -> None:
        self._sources, self._say = tuple(s for s in sources if s != "-"), say
        self._seen = self._stamp()

    def changed(self) -> TradingBot | None:
        """Return the bot if its files changed since the last question and are sound."""
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        bundle = load(self._sources, catalogue())
        if bundle.problems or len(bundle.bots) != 1:
            why = str(bundle.problems[0]) if bundle.problems else f"it holds {len(bundle.bots)} bots"
            self._say(f"the changed manifest is not used, the bot goes on as it was: {why}")
            return None
        return bundle.bots[0].bot

    def _stamp(self) -> tuple[tuple[str, int, int], ...]:
        stamps = []
        for source in self._sources:
            with contextlib.suppress(OSError):
                stat = os.stat(source)
                stamps.append((source, stat.st_mtime_ns, stat.st_size))
        return tuple(stamps)
