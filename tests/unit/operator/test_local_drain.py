"""What the runner makes of the last status that a drained engine left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tradingbot_operator.local.board import Board
from tradingbot_operator.local.drain import take_last


def board() -> Board:
    """A board whose engine told of one filled trade, and could then not be asked any more."""
    board = Board(bot="b", mode="Live", cluster="localnet", quote="SOL", speed=1.0, scenario=None, state_dir="/x")
    board.take({"phase": "READY", "intents": {"DONE": 3}, "atStart": {"intents": {"DONE": 2}, "equity": 5}})
    return board


def test_the_last_numbers_count(tmp_path: Path) -> None:
    """Those that the runner asked for before are older; the engine that left them answers no more."""
    file = tmp_path / "last-status.json"
    file.write_text('{"phase": "STOPPED", "intents": {"DONE": 6}, "openIntents": 0}')
    told = board()
    take_last(told, file)
    assert told.intents == {"DONE": 4}
    assert told.status["phase"] == "STOPPED"
    assert not told.answers


@pytest.mark.parametrize("left", [None, "", "{", "[]", "7"])
def test_what_no_engine_wrote_changes_nothing(tmp_path: Path, left: str | None) -> None:
    """One that was killed leaves no file, and a file may be anybody's."""
    file = tmp_path / "last-status.json"
    if left is not None:
        file.write_text(left)
    told = board()
    take_last(told, file)
    assert told.intents == {"DONE": 1}
    assert told.status["phase"] == "READY"
