"""Live settings by the admin port, onto a real ledger: what is wrong is refused by name, and changes nothing."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from prometheus_client import CollectorRegistry
from support.ledgers import a_bot, a_risk
from support.places import sqlite_place

from tradingbot_engine.api.server import AdminServer, LiveSettings
from tradingbot_engine.book import Book
from tradingbot_engine.clock import ManualClock
from tradingbot_engine.domain.events import CloseOutChanged
from tradingbot_engine.ledger.port import Ledger
from tradingbot_engine.lifecycle import Lifecycle
from tradingbot_engine.live import Live
from tradingbot_engine.settings import AdminSettings, EngineSettings
from tradingbot_engine.settings.schema import leaves

KEY = "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
FILE: dict[str, Any] = {
    "bot": {"name": "first", "mode": "Paper", "generation": 1},
    "wallet": {"address": KEY},
    "rpc": {"endpoints": [{"name": "a", "url": "http://127.0.0.1:1"}]},
    "market": {"tokens": [{"mint": KEY}]},
    "strategies": [{"name": "m", "type": "momentum_5m"}],
    "ledger": {"sqlite_path": "ledger.db"},
    "risk": {"drawdown": {"warning_percent": 4, "halt_percent": 7, "emergency_percent": 12}, "max_open_intents": 9},
}
MOST = 2**63 - 1


@dataclass
class Control:
    """What of the engine the live settings reach; the rest is other tests' business."""

    live: Live
    drains: list[bool]

    def ready(self) -> tuple[bool, str]:
        return True, ""

    async def status(self) -> dict[str, Any]:
        return {}

    async def apply_live(self, live: LiveSettings) -> bool:
        return await self.live.apply(live)

    async def latch(self, latched: bool) -> None:
        await self.live.latch(latched)

    async def close_out(self, by: str) -> None:
        await self.live.close_out(by)

    async def reopen(self) -> None:
        await self.live.reopen()

    async def drain(self, *, wait: bool) -> dict[str, Any]:
        self.drains.append(wait)
        return {"drained": wait}


class Port:
    """The admin port, as a client has it."""

    def __init__(self, session: aiohttp.ClientSession, ledger: Ledger, control: Control) -> None:
        self._session, self._ledger, self.control = session, ledger, control
        self.told: list[Any] = []

    @property
    def risk(self) -> Any:
        return self.control.live.risk

    async def put(self, body: Any) -> tuple[int, str]:
        """Send a body (bytes as they are, all else as JSON); return status and error text."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self._session.put("/v1/live", data=data) as answer:
            text = await answer.text()
            return answer.status, orjson.loads(text).get("error", "") if text.startswith("{") else text

    async def post(self, path: str) -> tuple[int, str]:
        async with self._session.post(path) as answer:
            return answer.status, await answer.text()

    async def kept(self) -> tuple[Any, ...]:
        """Return all that live settings can change, in the ledger and in force."""
        bot = await self._ledger.bot()
        return bot.generation, bot.paused, bot.latch, await self._ledger.live_risk(), self.risk


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    async with sqlite_place(tmp_path) as place:
        ledger = await place.open()
        bot = await ledger.adopt_bot(a_bot(), risk=a_risk())
        told: list[Any] = []
        book = Book(ledger=ledger, bot=bot, risk=a_risk(), emit=told.append, event_time_ms=lambda: 0)
        live = Live(settings=EngineSettings(**FILE), ledger=ledger, book=book, lifecycle=Lifecycle(clock=ManualClock()))
        await live.load()
        control = Control(live, [])
        (tmp_path / "token").write_text("secret")
        settings = AdminSettings(port=0, token_file=tmp_path / "token")
        server = AdminServer(settings=settings, control=control, registry=CollectorRegistry())
        number = await server.start()
        headers = {"Authorization": "Bearer secret"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{number}", headers=headers) as session:
            port = Port(session, ledger, control)
            port.told = told
            yield port
        await server.stop()


BAD: list[tuple[Any, tuple[str, ...]]] = [
    ({"paused": True}, ("generation", "required")),
    ({"generation": 2}, ("paused", "required")),
    ({"generation": -1, "paused": True}, ("generation", "-1", "greater than or equal to 0")),
    ({"generation": MOST + 1, "paused": True}, ("generation", str(MOST))),
    (b'{"generation": 1180591620717411303424, "paused": true}', ("generation",)),
    ({"generation": 2.0, "paused": True}, ("generation", "integer")),
    ({"generation": True, "paused": True}, ("generation", "integer")),
    ({"generation": "2", "paused": True}, ("generation", "'2'", "integer")),
    ({"generation": None, "paused": True}, ("generation", "integer")),
    ({"generation": 2, "paused": "false"}, ("paused", "'false'", "boolean")),
    ({"generation": 2, "paused": 0}, ("paused", "boolean")),
    ({"generation": 2, "paused": True, "pauesd": True}, ("pauesd", "no such setting")),
    ({"generation": 2, "paused": True, "risk": [1]}, ("risk", "dictionary")),
    ({"generation": 2, "paused": True, "risk": {"capitol": 5}}, ("risk.capitol", "no such setting")),
    (
        {"generation": 2, "paused": True, "risk": {"max_position_percent": 0}},
        ("risk.max_position_percent", "(value 0)"),
    ),
    ({"generation": 2, "paused": True, "risk": {"max_position_percent": True}}, ("risk.max_position_percent",)),
    ({"generation": 2, "paused": True, "risk": {"drawdown": 3}}, ("risk.drawdown",)),
    (
        {"generation": 2, "paused": True, "risk": {"drawdown": {"halt_percent": 100}}},
        ("risk.drawdown.halt_percent", "less than 100"),
    ),
    (
        {"generation": 2, "paused": True, "risk": {"drawdown": {"halt_percent": 13}}},
        ("risk.drawdown", "warning < halt < emergency"),
    ),
    (
        {"generation": 2, "paused": True, "risk": {"max_position_percent": 50, "max_strategy_percent": 10}},
        ("risk.max_position_percent: 50 must be at most risk.max_strategy_percent, which is 10",),
    ),
    (
        {"generation": 2, "paused": True, "risk": {"max_open_intents": 0, "fee_reserve_lamports": -1}},
        ("risk.max_open_intents", "risk.fee_reserve_lamports"),
    ),
    ([], ("settings", "LiveSettings")),
    ("x", ("settings", "LiveSettings")),
    (None, ("settings", "LiveSettings")),
    (b"", ("not JSON",)),
    (b"{", ("not JSON",)),
    (b'{"generation":2,"paused":true,"risk":{"max_position_percent":NaN}}', ("not JSON",)),
    (b"\xff\xfe", ("not JSON",)),
    (b"[" * 60_000, ("not JSON",)),
    (b'{"a":' * 10_000, ("not JSON",)),
    (b" " * 70_000, ("65536",)),
]


async def test_bad_live_settings_are_refused_with_field_value_and_what_would_be_right(port: Port) -> None:
    """400 (413 for a body without end), never a 500 or a 503; neither the ledger nor what is in force changes."""
    before = await port.kept()
    for body, says in BAD:
        status, error = await port.put(body)
        assert status in (400, 413), (body, error)
        assert [part for part in says if part not in error] == [], (body, error)
        assert await port.kept() == before, body


RISK = [leaf for leaf in leaves() if leaf.name.startswith("risk.")]


@pytest.mark.parametrize("leaf", RISK, ids=lambda leaf: leaf.name)
async def test_every_field_of_live_risk_out_of_range_or_of_another_type_is_refused_by_its_name(
    port: Port, leaf
) -> None:
    """Nothing of it is applied; a number is told with its value and the bound that would be right."""
    before = await port.kept()
    low = leaf.schema.get("minimum", leaf.schema.get("exclusiveMinimum"))
    high = leaf.schema.get("maximum", leaf.schema.get("exclusiveMaximum"))
    bounds = {} if low is None else {low - 1: low, high * 2 + 1: high}
    odd = [[], {}, ["a"], "", "many", "x" * 50_000] + ([True] if bounds else [7, -1.5])
    for wrong in [*bounds, *odd]:
        risk: Any = wrong
        for step in reversed(leaf.name.split(".")[1:]):
            risk = {step: risk}
        status, error = await port.put({"generation": before[0] + 1, "paused": True, "risk": risk})
        assert (status, len(error) < 2000) == (400, True), (str(wrong)[:40], error[:400])
        told = [line for line in error.split("; ") if line.startswith(f"{leaf.name}: ")]
        assert told, (str(wrong)[:40], error)
        if not isinstance(wrong, str | list | dict | bool) and wrong in bounds:
            said = {float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", told[0])}
            assert {float(wrong), float(bounds[wrong])} <= said, told
    assert await port.kept() == before


async def test_what_live_risk_does_not_mention_stays_as_the_file_says(port: Port) -> None:
    """Inside a group too: a new halt must not put the warning and the emergency back to their defaults."""
    status, error = await port.put({"generation": 2, "paused": False, "risk": {"drawdown": {"halt_percent": 8}}})
    assert (status, error) == (200, "")
    drawdown = port.risk.drawdown
    assert (drawdown.warning_percent, drawdown.halt_percent, drawdown.emergency_percent) == (4, 8, 12)
    assert port.risk.max_open_intents == 9
    assert (await port.put({"generation": 3, "paused": False}))[0] == 200
    assert port.risk.drawdown.halt_percent == 7, "a newer generation without risk is the file's again"


async def test_the_greatest_generation_is_kept_and_none_passes_it(port: Port) -> None:
    """The ledger holds 63 bits: one more is refused at the door and not by the database."""
    assert (await port.put({"generation": MOST, "paused": True}))[0] == 200
    assert (await port.kept())[:2] == (MOST, True)
    assert (await port.put({"generation": MOST - 1, "paused": False}))[0] == 409
    assert (await port.kept())[:2] == (MOST, True)


@pytest.mark.parametrize("wait", ["", "banana", "TRUE", "1", "x" * 500])
async def test_a_drain_is_not_begun_by_a_word_that_says_neither_yes_nor_no(port: Port, wait: str) -> None:
    """Whoever did not mean it cannot take it back."""
    status, text = await port.post(f"/v1/drain?wait={wait}")
    assert status == 400
    assert "wait: must be true or false" in text
    assert len(text) < 300
    assert port.control.drains == []


def _junk(dice: random.Random, depth: int = 0) -> Any:
    plain: list[Any] = [
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        MOST,
        MOST + 1,
        2**64,
        1.5,
        -0.0,
        1e308,
        "",
        "1",
        "nan",
        "x" * 300,
    ]
    if depth < 3:
        plain.append([_junk(dice, depth + 1) for _ in range(dice.randrange(3))])
        names = ("drawdown", "halt_percent", "capital", "generation", "max_open_intents", "\u0000", "é" * 90)
        plain += [{dice.choice(names): _junk(dice, depth + 1) for _ in range(2)} for _ in range(3)]
    return dice.choice(plain)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_put_is_applied_whole_or_refused_whole(port: Port, seed: int) -> None:
    """Any junk at any place: 200 and in force, 409 and not, or 400 with words; the port always answers, in its own way."""
    dice = random.Random(seed)
    seen: set[int] = set()
    for _ in range(120):
        before = await port.kept()
        generation = min(MOST, max(0, before[0] + dice.randrange(-1, 2)))
        body: dict[str, Any] = {"generation": generation, "paused": dice.random() < 0.5, "risk": {}}
        for _ in range(dice.randrange(1, 3)):
            name = dice.choice(
                ["generation", "paused", "risk", "risk.drawdown", "risk.capital", "risk.daily_loss", "extra"]
            )
            inside = body if "." not in name else body["risk"] if isinstance(body["risk"], dict) else body
            inside[name.split(".")[-1]] = _junk(dice)
        if dice.random() < 0.9:
            status, error = await port.put(body)
        else:
            status, error = await port.put(dice.randbytes(dice.randrange(300)))
        seen.add(status)
        after = await port.kept()
        assert status in (200, 400, 409), error
        if status == 200:
            assert after[:2] == (body["generation"], body["paused"])
        else:
            assert after == before
            assert bool(error) is (status == 400)
    assert {200, 400} <= seen


async def test_closing_out_is_in_the_ledger_before_it_is_answered_and_outlives_a_restart(port: Port) -> None:
    """The core is told to sell, and what stops trading says for whom; resuming by hand does not end it, reopening does."""
    async with port._session.post("/v1/close-out", json={"by": "the deletion"}) as answer:
        assert answer.status == 200
    live = port.control.live
    row = await port._ledger.bot()
    assert row.closing_by == "the deletion"
    assert [e for e in port.told if isinstance(e, CloseOutChanged)] == [CloseOutChanged(0, row.closing_since_ms)]
    assert reasons(live) == {"ClosingOut": "closing out for the deletion"}
    assert (await port.post("/v1/resume"))[0] == 200
    assert reasons(live) == {"ClosingOut": "closing out for the deletion"}

    book = Book(ledger=port._ledger, bot=row, risk=a_risk(), emit=lambda _: None, event_time_ms=lambda: 0)
    lifecycle = Lifecycle(clock=ManualClock())
    again = Live(settings=EngineSettings(**FILE), ledger=port._ledger, book=book, lifecycle=lifecycle)
    await again.load()
    assert "ClosingOut" in reasons(again)

    assert (await port.post("/v1/reopen"))[0] == 200
    assert reasons(live) == {}
    assert [e.since_ms for e in port.told if isinstance(e, CloseOutChanged)] == [row.closing_since_ms, 0]


def reasons(live: Live) -> dict[str, str]:
    return {reason.type: reason.message for reason in live._lifecycle.reasons}
