"""What the core asks the outside to do; the only things that leave `decide`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tradingbot_engine.domain.events import Bar
from tradingbot_engine.domain.signals import Signal
from tradingbot_engine.domain.units import Mint


@dataclass(frozen=True, slots=True)
class EmitSignal:
    """Take this wish through risk to an intent."""

    signal: Signal


@dataclass(frozen=True, slots=True)
class SaveBar:
    """Keep a closed bar in the ledger."""

    mint: Mint
    bar: Bar


@dataclass(frozen=True, slots=True)
class NoteRefusal:
    """A strategy would have acted but for `reason` (CamelCase): counted and shown, so that silence can be explained."""

    strategy: str
    mint: Mint
    reason: str
    message: str


Effect: TypeAlias = EmitSignal | SaveBar | NoteRefusal
