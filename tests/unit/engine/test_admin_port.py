"""The admin port: health for anybody, control for whoever holds the token."""

import stat
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from tradingbot_engine.api.server import AdminServer, LiveSettings
from tradingbot_engine.errors import LedgerUnavailable
from tradingbot_engine.settings import AdminSettings


class Told:
    """Answers like an engine and remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.is_ready = True
        self.newest = 3

    def ready(self) -> tuple[bool, str]:
        return self.is_ready, "DRAINING"

    async def status(self) -> dict[str, Any]:
        if not self.is_ready:
            raise LedgerUnavailable("the ledger is locked")
        return {"phase": "READY"}

    async def apply_live(self, live: LiveSettings) -> bool:
        self.calls.append(live)
        return live.generation >= self.newest

    async def latch(self, latched: bool) -> None:
        self.calls.append(("latch", latched))

    async def close_out(self, by: str) -> None:
        self.calls.append(("close-out", by))

    async def reopen(self) -> None:
        self.calls.append("reopen")

    async def drain(self, *, wait: bool) -> dict[str, Any]:
        self.calls.append(("drain", wait))
        return {"drained": wait}


@pytest.fixture
async def port(tmp_path):
    told = Told()
    settings = AdminSettings(port=0, port_file=tmp_path / "port", token_file=tmp_path / "token")
    server = AdminServer(settings=settings, control=told, registry=CollectorRegistry())
    number = await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{number}") as session:
        yield session, told, tmp_path
    await server.stop()


def bearer(folder) -> dict[str, str]:
    return {"Authorization": f"Bearer {(folder / 'token').read_text()}"}


async def test_health_and_metrics_need_no_token(port):
    session, told, _ = port
    for path in ("/livez", "/readyz", "/metrics"):
        assert (await session.get(path)).status == 200
    told.is_ready = False
    answer = await session.get("/readyz")
    assert (answer.status, await answer.text()) == (503, "DRAINING\n")
    assert (await session.get("/livez")).status == 200


async def test_control_without_the_token_is_refused(port):
    """Neither none, nor a wrong, nor a half one, nor one of odd bytes opens anything."""
    session, told, folder = port
    token = (folder / "token").read_text()
    for header in (
        {},
        {"Authorization": "Bearer x"},
        {"Authorization": f"Bearer {token[:-1]}"},
        {"Authorization": "Bearer é"},
    ):
        assert (await session.get("/v1/status", headers=header)).status == 401
        assert (await session.post("/v1/drain", headers=header)).status == 401
    assert told.calls == []


async def test_token_and_port_files_are_for_the_owner_only(port):
    _, _, folder = port
    for name in ("token", "port"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


async def test_live_settings_are_validated_and_an_older_generation_is_told_so(port):
    session, told, folder = port
    good = {"generation": 4, "paused": True, "risk": {"max_position_percent": 1}}
    assert (await session.put("/v1/live", json=good, headers=bearer(folder))).status == 200
    assert told.calls == [LiveSettings(**good)]
    assert (await session.put("/v1/live", json={**good, "generation": 2}, headers=bearer(folder))).status == 409
    for bad in ({"generation": -1, "paused": True}, {"generation": 4}, {**good, "extra": 1}, [], "x"):
        assert (await session.put("/v1/live", json=bad, headers=bearer(folder))).status == 400
    assert (await session.put("/v1/live", data=b"{", headers=bearer(folder))).status == 400


async def test_pause_resume_and_drain_reach_the_engine(port):
    session, told, folder = port
    for path, status in (("/v1/pause", 200), ("/v1/resume", 200), ("/v1/drain", 200), ("/v1/drain?wait=false", 202)):
        assert (await session.post(path, headers=bearer(folder))).status == status
    assert told.calls == [("latch", True), ("latch", False), ("drain", True), ("drain", False)]


@pytest.mark.parametrize("path", ["/v1/pause", "/v1/resume", "/v1/reopen", "/v1/drain"])
@pytest.mark.parametrize("body", [b'{"until": "tomorrow"}', b"[1]", b"true", b"\xff", b"{", b"x" * 90_000])
async def test_what_takes_no_body_refuses_one(port, path, body):
    """Somebody meant something by it; doing the plain thing instead would not be that."""
    session, told, folder = port
    async with session.post(path, data=body, headers=bearer(folder)) as answer:
        assert answer.status in (400, 413)
        if answer.status == 400:
            assert "takes none" in (await answer.json())["error"]
    assert told.calls == []


@pytest.mark.parametrize("path", ["/v1/pause", "/v1/resume", "/v1/reopen", "/v1/drain"])
@pytest.mark.parametrize("body", [b"", b"{}", b"null\n"])
async def test_an_empty_body_is_none(port, path, body):
    """Clients that always send JSON send these."""
    session, told, folder = port
    async with session.post(path, data=body, headers=bearer(folder)) as answer:
        assert answer.status == 200
    assert len(told.calls) == 1


async def test_an_engine_that_cannot_answer_says_why(port):
    session, told, folder = port
    told.is_ready = False
    answer = await session.get("/v1/status", headers=bearer(folder))
    assert answer.status == 503
    assert "locked" in (await answer.json())["error"]


async def test_a_body_without_end_is_cut_off(port):
    session, _, folder = port
    assert (await session.put("/v1/live", data=b"x" * 200_000, headers=bearer(folder))).status == 413


async def test_who_wants_everything_sold_is_said_in_words(port):
    """They are kept in the ledger and shown to people: no empty text, nothing that a terminal would act on."""
    session, told, folder = port
    for body, status in (
        ({"by": "the deletion of bonk"}, 200),
        ({"by": ""}, 400),
        ({"by": "x" * 201}, 400),
        ({"by": "a\x1b[2J"}, 400),
        ({"by": 5}, 400),
        ({}, 400),
        ({"by": "a", "more": 1}, 400),
    ):
        async with session.post("/v1/close-out", json=body, headers=bearer(folder)) as answer:
            assert answer.status == status, body
    async with session.post("/v1/reopen", headers=bearer(folder)) as answer:
        assert answer.status == 200
    for path in ("/v1/close-out", "/v1/reopen"):
        async with session.post(path, json={"by": "a stranger"}) as answer:
            assert answer.status == 401
    assert told.calls == [("close-out", "the deletion of bonk"), "reopen"]
