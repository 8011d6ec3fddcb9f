"""The terminal view: what an operator wants to see of a bot, from one board; and plain lines where there is no terminal."""

import sys
import time
from typing import Any, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tradingbot_operator.local.board import Board
from tradingbot_operator.local.text import amount, clock, lasting, price, signed, token_amount, whole

SHOWN_FILLS, SHOWN_NEWS, SHOWN_TOKENS, LEFT_NEWS = 6, 5, 20, 20
HEARTBEAT_S = 10.0
ONE_LINE: dict[str, Any] = {"no_wrap": True, "overflow": "ellipsis"}
PHASE_STYLES = {"READY": "bold green", "STARTING": "yellow", "DRAINING": "bold yellow", "STOPPED": "dim"}
TIER_STYLES = {"NORMAL": "green", "WARNING": "yellow", "HALT": "bold red", "EMERGENCY": "bold white on red"}


class View(Protocol):
    """Shows a board again and again."""

    def show(self, board: Board) -> None:
        """Show the board as it stands; raise OSError if nobody can see it any more."""

    def close(self) -> None:
        """Give the screen back."""


class TerminalView:
    """Redraws the whole picture on a screen of its own, and leaves the last news on the one before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = Live(console=Console(file=stream), auto_refresh=False, screen=True)
        self._live.start()
        self._news: list[str] = []

    def show(self, board: Board) -> None:
        self._news = list(board.news)[-LEFT_NEWS:]
        self._live.update(picture(board), refresh=True)

    def close(self) -> None:
        self._live.stop()
        self._stream.write("".join(f"{line}\n" for line in self._news))
        self._stream.flush()


class LinesView:
    """Prints what is new, and a line of numbers every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told = 0
        self._spoken = time.monotonic()
        self._last: tuple[Any, ...] = ()
        self._fills: set[Any] | None = None

    def show(self, board: Board) -> None:
        fresh = board.told - self._told
        self._told = board.told
        lines = list(board.news)[-fresh:] if fresh else []
        lines += self._new_fills(board)
        facts = (board.status.get("phase"), board.status.get("tier"), why_not(board))
        if facts != self._last or time.monotonic() - self._spoken >= HEARTBEAT_S:
            self._last = facts
            lines.append(one_line(board))
        if lines:
            self._spoken = time.monotonic()
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def _new_fills(self, board: Board) -> list[str]:
        if "fills" not in board.status:  # the engine does not know yet
            return []
        fills = _list(board.status.get("fills"))
        known, self._fills = self._fills, {(fill.get("signature"), fill.get("side")) for fill in fills}
        if known is None:  # fills of earlier runs are no news
            return []
        fresh = [f for f in fills if (f.get("signature"), f.get("side")) not in known]
        return ["fill: " + "  ".join(fill_cells(f, board.quote)) for f in reversed(fresh)]

    def close(self) -> None:
        return None


class NoView:
    """Shows nothing on standard output; news and new reasons go to standard error, where logs are looked for."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream, self._told, self._types = stream, 0, set[Any]()

    def show(self, board: Board) -> None:
        fresh = board.told - self._told
        self._told = board.told
        lines = list(board.news)[-fresh:] if fresh else []
        types = {str(r.get("type")) for r in _list(board.status.get("reasons"))}
        if types - self._types and board.answers and not board.stopping:
            lines.append(f"{phase(board)}: {why_not(board)}")
        self._types = types
        if lines:
            self._stream.write("".join(f"{line}\n" for line in lines))
            self._stream.flush()

    def close(self) -> None:
        return None


def phase(board: Board) -> str:
    """Return the phase in the engine's word, or what the runner knows better."""
    if not board.status:
        return "STARTING"
    if not board.answers and not board.stopping:
        return "UNREACHABLE"
    word = str(board.status.get("phase") or "STARTING")
    # An engine that does not answer any more cannot say itself that it drains.
    return "DRAINING" if board.stopping and word in ("STARTING", "READY") else word


def why_not(board: Board) -> str:
    """Return in one sentence why the bot does not trade, or trades less; empty if nothing holds it back."""
    reasons = [f"{r.get('type')}: {r.get('message')}" for r in _list(board.status.get("reasons"))]
    tier, why = board.status.get("tier"), board.status.get("tierReason")
    if tier not in (None, "NORMAL") and why:
        reasons.append(f"tier {tier}: {why}")
    if board.stopping:
        reasons.insert(0, f"{'Stopped' if phase(board) == 'STOPPED' else 'Draining'}: {board.stopping}")
    elif not board.status:
        reasons.insert(0, "Starting")
    elif not board.answers:
        reasons.insert(0, "Unreachable: the engine's admin port does not answer")
    return "; ".join(reasons)


def one_line(board: Board) -> str:
    """Return the board on one line."""
    status = board.status
    equity = _map(status.get("equity"))
    parts = [
        f"[{lasting(board.seconds)}] {phase(board)}",
        f"equity {amount(equity.get('now'), board.quote)}",
        f"signals {board.signals}",
        f"intents {_counts(board)}",
        f"tier {status.get('tier') or '–'}",
    ]
    held = [t for t in _list(status.get("tokens")) if t.get("position")]
    parts.append(f"positions {', '.join(str(t.get('symbol')) for t in held) or 'none'}")
    if board.restarts:
        parts.append(f"restarts {board.restarts}")
    if why := why_not(board):
        parts.append(f"not trading: {why}" if not status.get("trading") else why)
    return "  ".join(parts)


def picture(board: Board) -> RenderableType:
    """Return the whole view of a board; anything that the engine does not tell is a dash."""
    blocks: list[RenderableType] = [_head(board)]
    if board.news:  # before the tables: on a small terminal the end is cut off
        lines = [Text(line, **ONE_LINE) for line in list(board.news)[-SHOWN_NEWS:]]
        blocks.append(Panel(Group(*lines), title="news", title_align="left"))
    blocks += [_tokens(board), _fills(board), _nodes(board), Text(f"logs in {board.state_dir}/logs", style="dim")]
    return Group(*blocks)


def _head(board: Board) -> Panel:
    status, quote = board.status, board.quote
    wallet, equity, market = _map(status.get("wallet")), _map(status.get("equity")), _map(status.get("market"))
    latency = board.latency
    grid = Table.grid(padding=(0, 2))
    for _ in range(4):
        grid.add_column()
    word = phase(board)
    tier = str(status.get("tier") or "–")
    grid.add_row("phase", Text(word, PHASE_STYLES.get(word, "bold red")), "wallet", str(wallet.get("address") or "–"))
    grid.add_row("mode", f"{board.mode} on {board.cluster}", "balance", _balance(wallet, quote))
    drawdown = equity.get("drawdownBps")
    fallen = f"{drawdown / 100:.2f} % below its peak" if isinstance(drawdown, int | float) else ""
    grid.add_row(
        "tier", Text(tier, TIER_STYLES.get(tier.upper(), "")), "equity", f"{amount(equity.get('now'), quote)}  {fallen}"
    )
    grid.add_row("signals", _signals(board), "this run", signed(_difference(board), quote) + f" {quote}")
    grid.add_row("intents", _counts(board), "signal → send", _latency(latency))
    speed = (
        f"{board.speed:g} × wall time" + (f", {board.scenario}" if board.scenario else "")
        if board.speed
        else "wall time"
    )
    grid.add_row("market", speed, "its clock", clock(market.get("timeMs")))
    grid.add_row("running", lasting(board.seconds), "restarts", str(board.restarts))
    if why := why_not(board):
        grid.add_row("why", Text(why, "yellow"), "", "")
    leave = "Ctrl-\\ leaves at once, trades stay journalled" if board.stopping else "Ctrl-C drains and ends"
    return Panel(
        grid, title=f"[bold]{board.bot}[/bold]", title_align="left", subtitle=Text(leave), subtitle_align="left"
    )


def _tokens(board: Board) -> Table:
    table = Table(expand=True, title_justify="left", box=None)
    for name, side in (
        ("token", "left"),
        (f"price ({board.quote})", "right"),
        ("held", "right"),
        ("cost", "right"),
        ("unrealized", "right"),
        ("last refusal", "left"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left", no_wrap=name != "last refusal")
    tokens = _list(board.status.get("tokens"))
    held_first = sorted(tokens, key=lambda t: not t.get("position"))
    for token in held_first[:SHOWN_TOKENS]:
        position, refusal = _map(token.get("position")), _map(token.get("lastRefusal"))
        symbol = str(token.get("symbol") or str(token.get("mint"))[:6])
        unrealized = position.get("unrealizedLamports")
        style = "" if not isinstance(unrealized, int) else ("green" if unrealized >= 0 else "red")
        table.add_row(
            symbol,
            price(token.get("price")),
            token_amount(position.get("baseUnits"), token.get("decimals")) if position else "–",
            amount(position.get("costLamports"), board.quote) if position else "–",
            Text(signed(unrealized, board.quote), style),
            Text(f"{refusal.get('reason')}: {refusal.get('message')}" if refusal else "", **ONE_LINE),
        )
    if len(tokens) > SHOWN_TOKENS:
        table.add_row(f"… and {len(tokens) - SHOWN_TOKENS} more", "", "", "", "", "")
    return table


def _fills(board: Board) -> Table:
    table = Table(expand=True, box=None)
    for name in ("last fills", "token", "side", "tokens", "for", "slippage", "latency", "signature"):
        table.add_column(name, no_wrap=True)
    fills = _list(board.status.get("fills"))
    for fill in fills[:SHOWN_FILLS]:
        table.add_row(*fill_cells(fill, board.quote))
    if not fills:
        table.add_row("none yet", *[""] * 7)
    return table


def fill_cells(fill: dict[str, Any], quote: str) -> list[str]:
    """Return a fill's time, token, side, amounts, slippage, latency and signature; paper fills say so."""
    signature = str(fill.get("signature") or "")
    if fill.get("paper"):
        signature = "PAPER"
    return [
        clock(fill.get("atMs")),
        str(fill.get("symbol") or "–"),
        str(fill.get("side") or "–"),
        token_amount(fill.get("baseUnits"), fill.get("decimals")),
        amount(fill.get("quoteLamports"), quote),
        whole(fill.get("slippageBps"), " bps"),
        whole(fill.get("latencyMs"), " ms"),
        signature[:16] + ("…" if len(signature) > 16 else ""),
    ]


def _nodes(board: Board) -> Table:
    table = Table(expand=True, box=None)
    for name in ("RPC node", "health", "slot", "latency", "error"):
        table.add_column(name, no_wrap=name != "error")
    for node in _list(board.status.get("rpc")):
        healthy = node.get("healthy")
        health = Text("healthy", "green") if healthy else Text("unhealthy" if healthy is False else "–", "bold red")
        table.add_row(
            str(node.get("name") or "–"),
            health,
            whole(node.get("slot")),
            whole(node.get("latencyMs"), " ms"),
            str(node.get("error") or ""),
        )
    return table


def _signals(board: Board) -> str:
    refused = _map(_map(board.status.get("signals")).get("refused"))
    worst = sorted(((n, str(r)) for r, n in refused.items() if isinstance(n, int)), reverse=True)[:3]
    total = sum(n for n in refused.values() if isinstance(n, int))
    told = f", refused {total} ({', '.join(f'{reason} {n}' for n, reason in worst)})" if total else ""
    return f"{board.signals}{told}"


def _counts(board: Board) -> str:
    return ", ".join(f"{state} {n}" for state, n in board.intents.items()) or "none"


def _balance(wallet: dict[str, Any], quote: str) -> str:
    lamports = amount(wallet.get("lamports"), "SOL")
    return lamports if quote == "SOL" else f"{lamports}, {amount(wallet.get('quote'), quote)}"


def _latency(latency: dict[str, Any]) -> str:
    p50, p99 = latency.get("p50SignalToSendMs"), latency.get("p99SignalToSendMs")
    return f"p50 {whole(p50, ' ms')}, p99 {whole(p99, ' ms')}"


def _difference(board: Board) -> int | None:
    start, now = board.equity_start, board.equity_now
    return now - start if start is not None and now is not None else None


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
