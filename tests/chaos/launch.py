"""The engine's own command line with one strategy more, so that a chaos run has something to break."""

from __future__ import annotations

from chaos.metronome import Metronome

from tradingbot_engine.__main__ import main
from tradingbot_engine.core.strategies import registry

registry.STRATEGIES[Metronome.name] = Metronome  # type: ignore[index]

if __name__ == "__main__":
    main()
