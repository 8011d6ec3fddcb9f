"""The strategies that this engine offers: one line each."""

from __future__ import annotations

from collections.abc import Mapping

from tradingbot_engine.core.strategies.base import Strategy
from tradingbot_engine.core.strategies.mean_revert_1h import MeanRevert1h
from tradingbot_engine.core.strategies.momentum_5m import Momentum5m

STRATEGIES: Mapping[str, type[Strategy]] = {
    s.name: s
    for s in (
        Momentum5m,
        MeanRevert1h,
    )
}
"""Type in a manifest → class."""
