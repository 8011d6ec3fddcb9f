"""Why a bot trades or does not, from what its engines say."""

from collections.abc import Mapping
from typing import Any

from tradingbot_operator.engines import Said
from tradingbot_operator.observed import Observed
from tradingbot_operator.status.reasons import REASONS

STOPS = tuple(r.name for r in REASONS if r.condition == "Trading" and r.status == "False")
"""What an engine may say for not trading, the most telling first by the order of the table."""
TELLS = frozenset({"Halted", "StaleMarketData", "StaleEquity", "NoShards", "WalletEmpty"})
"""Reasons that stop entries at their own place on the trade path, while the engine's own flag still says that it trades."""


def trading(observed: Observed) -> tuple[str, str]:
    """Return reason and message of the condition Trading."""
    engines = observed.engines
    if not engines:
        return ("NoPod", "")
    heard = [
        (pod, observed.said[pod.uid])
        for pod in engines
        if pod.uid in observed.said and not observed.said[pod.uid].error
    ]
    if not heard:
        if not any(pod.started for pod in engines) or all(not pod.ready for pod in engines):
            return ("Starting", "no engine answers yet")
        return ("EngineUnreachable", "; ".join(f"{pod.name}: {_error(observed, pod.uid)}" for pod in engines))
    answers = [_of(said.status) for _, said in heard]
    return next((answer for answer in answers if answer[0] == "Trading"), answers[0])


def _error(observed: Observed, uid: str) -> str:
    return observed.said.get(uid, Said()).error or "not asked yet"


def _of(status: Mapping[str, Any]) -> tuple[str, str]:
    phase = status.get("phase")
    if phase in ("DRAINING", "STOPPED"):
        return ("Draining", "it stopped" if phase == "STOPPED" else "it finishes what is in flight")
    listed = status.get("reasons")
    said = {
        str(reason.get("type")): str(reason.get("message") or "")
        for reason in (listed if isinstance(listed, list) else [])
        if isinstance(reason, dict)
    }
    stopped = not status.get("trading")
    known = next((name for name in STOPS if name in said and (stopped or name in TELLS)), None)
    if known is not None:
        return (known, said[known])
    if not stopped:
        return ("Trading", "")
    if said:
        return ("NotTrading", "; ".join(f"{name}: {message}" for name, message in said.items()))
    return ("Starting", "") if phase == "STARTING" else ("NotTrading", "the engine gives no reason")
