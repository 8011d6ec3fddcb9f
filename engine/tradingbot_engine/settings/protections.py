"""Switches that protect trading: told loudly while they are off."""

from __future__ import annotations

from tradingbot_engine.settings.engine import EngineSettings
from tradingbot_engine.settings.schema import leaves, value_at

PROTECTIONS = {
    "idempotency.enabled": "repeated signals reach the ledger, which alone refuses them",
    "health.enabled": "nobody is told when the engine is ill",
    "shutdown.graceful": "trades in flight are left to the next start instead of being followed",
}
"""Setting → what is lost while it is false, where its field does not state it itself."""


def switched_off(settings: EngineSettings) -> tuple[tuple[str, str], ...]:
    """Return (setting, what is lost) of every protection that these settings switch off; for status, logs and metrics."""
    out = []
    for leaf in leaves():
        lost = leaf.protection or PROTECTIONS.get(leaf.name)
        if lost and value_at(settings, leaf.name) is False:
            out.append((leaf.name, lost))
    return tuple(out)
