"""Ports that nobody else takes between their choice and their use."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tradingbot_engine.localnet import ports


def test_no_port_of_outgoing_connections_is_chosen(monkeypatch, tmp_path: Path):
    """A client that looks for a node which is away could be given the node's own port."""
    told = tmp_path / "range"
    monkeypatch.setattr(ports, "OUTGOING", told)
    told.write_text("20040\t60999\n")
    for _ in range(50):
        first = ports.free_run(4)
        assert first >= ports.FIRST
        assert first + 4 <= 20_040


@pytest.mark.parametrize("taken", [0, 3])
def test_a_run_in_which_one_port_is_taken_is_passed_over(monkeypatch, taken: int):
    """Neighbours are wanted, so the first or the last that is taken spoils all."""
    free = ports.free_run(8)
    with socket.socket() as other:
        other.bind((ports.HOST, free + taken))
        other.listen()
        chosen = iter([free, free + 4])
        monkeypatch.setattr(ports.random, "randrange", lambda *_: next(chosen))
        assert ports.free_run(4) == free + 4


def test_the_end_of_all_tries_is_an_error(monkeypatch):
    """Rather than a port that is somebody else's."""
    with socket.socket() as other:
        other.bind((ports.HOST, 0))
        other.listen()
        monkeypatch.setattr(ports.random, "randrange", lambda *_: other.getsockname()[1])
        with pytest.raises(OSError, match="no 1 neighbouring"):
            ports.free_run(1)
