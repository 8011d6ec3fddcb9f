"""`tradingbot-engine close-out`: what it prints of an engine's answers, and with which code it ends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tradingbot_engine.commands import close_out as command

LEFT = {
    "closing": {
        "done": False,
        "positionsLeft": 2,
        "openIntents": 1,
        "positions": [{"symbol": "BONK", "strategy": "momentum", "trouble": "ABANDONED: no route"}, {"trouble": ""}],
    },
    "reasons": [{"type": "ClosingOut", "message": "x"}, {"type": "NoEndpoint", "message": "all away"}],
}
DONE = {"closing": {"done": True}, "reasons": []}
UNDONE = {"closing": None, "reasons": []}


def run(monkeypatch: pytest.MonkeyPatch, answers: Iterable[Any], *options: str) -> tuple[Result, list[str]]:
    """Run the command against an engine that answers so, one after the other."""
    asked, script = [], iter(answers)

    def ask(settings: Any, method: str, path: str, *, body: Any = None, timeout_s: float) -> dict[str, Any]:
        asked.append(f"{method} {path} {json.dumps(body)}")
        answer = next(script)
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    monkeypatch.setattr(command, "ask", ask)
    monkeypatch.setattr(command, "load_settings", lambda path: None)
    monkeypatch.setattr(command, "EVERY_S", 0.0)
    return CliRunner().invoke(command.close_out, ["--config", str(Path("engine.json")), *options]), asked


def test_it_tells_each_change_once_and_ends_when_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds a sale up is told with it; a reason that only says what is going on is not."""
    result, asked = run(monkeypatch, [{"closing": True}, LEFT, LEFT, DONE])
    assert result.exit_code == 0
    assert result.output.splitlines() == [
        "positions left: 2, trades open: 1",
        "  BONK of momentum: ABANDONED: no route",
        "  NoEndpoint: all away",
        "closed out: nothing is held any more",
    ]
    assert asked[0] == 'POST /v1/close-out {"by": "close-out by hand"}'


def test_it_does_not_wait_for_what_somebody_has_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would wait for ever, for a bot that trades."""
    result, _ = run(monkeypatch, [{"closing": True}, LEFT, UNDONE])
    assert result.exit_code == 1
    assert "somebody let the bot trade again" in result.output


@pytest.mark.parametrize(
    ("answers", "options", "says"),
    [
        ([{"closing": True}, LEFT], ("--timeout", "0"), "it is not done yet"),
        ([{"error": "the engine is still starting"}], (), "the engine refuses: the engine is still starting"),
        ([ConnectionRefusedError("nobody listens")], (), "could not be asked: nobody listens"),
        ([{"error": "no"}], ("--undo",), "the engine refuses: no"),
    ],
    ids=["not in time", "refused", "unreachable", "undo refused"],
)
def test_what_did_not_come_about_is_told_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, answers: list[Any], options: tuple[str, ...], says: str
) -> None:
    """No zero while something may still be held."""
    result, _ = run(monkeypatch, answers, *options)
    assert result.exit_code == 1
    assert says in result.output
