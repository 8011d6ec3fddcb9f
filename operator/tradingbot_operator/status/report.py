"""The status of a bot: from what there is, what is planned and what failed; pure, and the same for the same facts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tradingbot_operator.crd.v1alpha1 import TradingBotSpec, effective_risk
from tradingbot_operator.engines import PATIENCE_S
from tradingbot_operator.farewell import closing_of, has_drained, job_is, sells
from tradingbot_operator.observed import Observed, Pod
from tradingbot_operator.rollout import Trouble, rolled_out, troubles
from tradingbot_operator.status.reasons import BY_KEY
from tradingbot_operator.status.trading import trading
from tradingbot_operator.steps import Apply, Invalid, Step, Wait, Wanted

MESSAGE_CHARS = 4000
TROUBLE_CHARS = 300
"""Of what an engine says of one position, or of one reason, so that there is room for all."""
WAY_OUT = '; annotation tradingbot.dev/force-delete: "true" gives up waiting'
"""Ends every message of what a deletion waits for, however long the list before it is."""
NO_HINDRANCE = frozenset({"ClosingOut", "Paused"})
"""Reasons of an engine that do not keep it from selling."""
FROM_PLAN = ("InvalidSpec", "SecretMissing", "NamespaceTerminating", "SettleFailed")
"""Reasons to wait that are a person's to end."""


@dataclass(frozen=True)
class Condition:
    """One condition as it should stand."""

    type: str
    reason: str
    message: str = ""

    @property
    def status(self) -> str:
        return BY_KEY[self.type, self.reason].status


def conditions(
    observed: Observed, wanted: Wanted | Invalid, steps: Sequence[Step], failures: Sequence[Trouble]
) -> tuple[Condition, ...]:
    """
    Return all conditions.

    Args:
        observed: What there is, as of before the steps.
        wanted: What should be.
        steps: The plan that was carried out.
        failures: What of it did not succeed.
    """
    wrong = tuple(_wrong(observed, wanted, steps, failures))
    return (
        _ready(observed),
        _progressing(observed, wanted, steps, wrong),
        _degraded(wrong, wanted.notes if isinstance(wanted, Wanted) else ()),
        _trading(observed),
        drained(observed, wanted, steps),
        _drifted(observed),
    )


def _wrong(
    observed: Observed, wanted: Wanted | Invalid, steps: Sequence[Step], failures: Sequence[Trouble]
) -> Iterable[Trouble]:
    if isinstance(wanted, Invalid):
        yield Trouble("InvalidSpec", "\n".join(wanted.problems))
    yield from (Trouble(s.reason, s.why) for s in steps if isinstance(s, Wait) and s.reason in FROM_PLAN)
    yield from failures
    if not observed.deleting or any(pod.component == "settle" for pod in observed.pods):
        yield from troubles(observed)
    for pod in observed.engines:
        said = observed.said.get(pod.uid)
        # One that never answered may have become ready since it was last asked.
        if pod.ready and said is not None and said.error and (said.status or said.silent_s > PATIENCE_S):
            yield Trouble("EngineUnreachable", f"Pod {pod.name}: {said.error}")


def _ready(observed: Observed) -> Condition:
    if observed.deleting:
        return Condition("Ready", "Deleting")
    engines = [pod for pod in observed.engines if not pod.deleting]
    if not engines:
        return Condition("Ready", "NoPod")
    waiting = [pod.name for pod in engines if not pod.ready]
    if any(pod.ready for pod in engines):
        return Condition("Ready", "AllReady")  # a surge's new pod may still start
    return Condition("Ready", "PodNotReady", f"not ready: {', '.join(waiting)}")


def _progressing(
    observed: Observed, wanted: Wanted | Invalid, steps: Sequence[Step], wrong: Sequence[Trouble]
) -> Condition:
    if observed.deleting:
        return Condition("Progressing", "Deleting", drained(observed, wanted, steps).message)
    if wrong and not rolled_out(observed):
        return Condition("Progressing", "Blocked", f"see Degraded: {wrong[0].reason}")
    if wrong and any(isinstance(step, Wait) for step in steps):
        return Condition("Progressing", "Blocked", f"see Degraded: {wrong[0].reason}")
    if any(isinstance(step, Apply) and step.body["kind"] == "Deployment" for step in steps):
        return Condition("Progressing", "Applying")
    if not rolled_out(observed):
        return Condition("Progressing", "RollingOut", _pods_in_words(observed.engines))
    return Condition("Progressing", "UpToDate")


def _pods_in_words(pods: Sequence[Pod]) -> str:
    words = {True: "ending", False: "starting"}
    return ", ".join(
        f"{pod.name} is {'ready' if pod.ready and not pod.deleting else words[pod.deleting]}" for pod in pods
    )


def _degraded(wrong: Sequence[Trouble], notes: Sequence[str]) -> Condition:
    if not wrong:
        return Condition("Degraded", "NotInForce" if notes else "AsExpected", "\n".join(notes)[:MESSAGE_CHARS])
    first = wrong[0]
    todo = BY_KEY["Degraded", first.reason].todo
    others = [f"{trouble.reason}: {trouble.message}" for trouble in wrong[1:] if trouble.reason != first.reason]
    return Condition("Degraded", first.reason, "\n".join([first.message, f"To do: {todo}", *others])[:MESSAGE_CHARS])


def _trading(observed: Observed) -> Condition:
    known = observed.condition("Trading")
    if observed.unasked and ("Trading", known.get("reason")) in BY_KEY:
        return Condition("Trading", str(known["reason"]), str(known.get("message") or ""))
    reason, message = trading(observed)
    return Condition("Trading", reason, message)


def drained(observed: Observed, wanted: Wanted | Invalid, steps: Sequence[Step]) -> Condition:
    """Return the condition Drained; its status True, once written, is what lets the finalizer go."""
    if not observed.deleting:
        return Condition("Drained", "Running")
    waits = [step for step in steps if isinstance(step, Wait)]
    engines = observed.engines
    if engines:
        sale = sells(observed, wanted)
        if all(has_drained(observed, pod, sale=sale) for pod in engines):
            held = " and nothing held" if sale else ""
            return Condition("Drained", "NothingOpen", f"the engines stopped with nothing open in the ledger{held}")
        if _never_started(observed):
            return Condition("Drained", "NeverStarted", "no engine ever ran")
    elif (
        job_is(observed, "Complete") and not waits
    ):  # while a Job of a former deletionPolicy is waited for it proves nothing
        return Condition("Drained", "Settled", "the settle Job found nothing open any more")
    else:
        known = observed.condition("Drained")
        if known.get("status") == "True" and known.get("observedGeneration") == observed.generation:
            reason = str(known.get("reason"))
            known_word = reason if ("Drained", reason) in BY_KEY else "NothingOpen"
            return Condition("Drained", known_word, str(known.get("message") or ""))
    if not waits:
        return Condition("Drained", "PodStillRunning" if engines else "Draining", "its objects are being ended")
    return Condition("Drained", waits[0].reason, _with_progress(observed, waits[0]))


def _never_started(observed: Observed) -> bool:
    """Whether no pod's container ever ran, and no engine was ever heard of."""
    unknown = not observed.status.get("botId") and not any(said.status for said in observed.said.values())
    return unknown and not any(pod.started for pod in observed.engines)


def _with_progress(observed: Observed, wait: Wait) -> str:
    open_trades = [
        f"{pod.name}: {status.get('openIntents')} trades open, {status.get('inFlight')} in flight"
        for pod in observed.pods
        if pod.uid in observed.said and (status := observed.said[pod.uid].status)
    ]
    if wait.reason in ("ClosingPositions", "Settling"):
        for pod in observed.pods:
            open_trades.extend(_held_up(observed, pod))
    return "; ".join([wait.why, *open_trades])[: MESSAGE_CHARS - len(WAY_OUT)] + WAY_OUT


def _held_up(observed: Observed, pod: Pod) -> Iterable[str]:
    """Yield how far an engine is with selling everything, if it is to, and what holds it up."""
    said, closing = observed.said.get(pod.uid), closing_of(observed, pod)
    if isinstance(closing.get("positionsLeft"), int):
        yield f"{pod.name}: {closing['positionsLeft']} positions left"
    for position in _maps(closing.get("positions")):
        if position.get("trouble"):
            yield f"{position.get('symbol')} of {position.get('strategy')}: {str(position['trouble'])[:TROUBLE_CHARS]}"
    for reason in _maps(said.status.get("reasons") if said is not None else None):
        if reason.get("type") not in NO_HINDRANCE:
            yield f"{reason.get('type')}: {str(reason.get('message') or '')[:TROUBLE_CHARS]}"


def _maps(data: Any) -> Iterable[Mapping[str, Any]]:
    """Return the maps of a list that an engine sent; it may have sent anything."""
    return [item for item in data if isinstance(item, Mapping)] if isinstance(data, list) else []


def _drifted(observed: Observed) -> Condition:
    everything = sorted({**observed.children, **observed.localnet}.items())
    found = [
        f"{kind} {name}: {', '.join(child.stored.foreign)}"
        for (kind, name), child in everything
        if child.stored.foreign
    ]
    if not found:
        return Condition("Drifted", "InSync")
    return Condition("Drifted", "ForeignFields", "\n".join(found)[:MESSAGE_CHARS])


def phase(found: Sequence[Condition]) -> str:
    """Return the one word for people."""
    by_type = {condition.type: condition for condition in found}
    if by_type["Ready"].reason == "Deleting":
        return "Drained" if by_type["Drained"].status == "True" else by_type["Drained"].reason
    if by_type["Degraded"].reason == "InvalidSpec":
        return "Invalid"
    if by_type["Trading"].status == "True":
        return "Trading"
    if by_type["Trading"].reason in ("Paused", "Halted"):
        return by_type["Trading"].reason
    if by_type["Degraded"].status == "True":
        return "Degraded"
    return "Starting" if by_type["Progressing"].status == "True" else by_type["Trading"].reason


def effective(spec: TradingBotSpec) -> dict[str, Any]:
    """Return the risk numbers in force, as the status shows them."""
    numbers = effective_risk(spec)
    return {
        "maxPositionPercent": numbers.max_position_percent,
        "maxStrategyPercent": numbers.max_strategy_percent,
        "drawdownWarningPercent": numbers.drawdown_warning_percent,
        "drawdownHaltPercent": numbers.drawdown_halt_percent,
        "drawdownEmergencyPercent": numbers.drawdown_emergency_percent,
        "dailyLossWarningPercent": numbers.daily_loss_warning_percent,
        "dailyLossHaltPercent": numbers.daily_loss_halt_percent,
        "maxSlippageBps": numbers.max_slippage_bps,
    }


def merged(found: Iterable[Condition], old: Mapping[str, Any], *, generation: int, now: str) -> list[dict[str, Any]]:
    """Return conditions ready to be written; a time of transition stays while the status does."""
    known = {c["type"]: c for c in old.get("conditions") or () if isinstance(c, Mapping) and "type" in c}
    out = []
    for condition in found:
        before = known.get(condition.type, {})
        same = before.get("status") == condition.status and before.get("lastTransitionTime")
        out.append(
            {
                "type": condition.type,
                "status": condition.status,
                "observedGeneration": generation,
                "lastTransitionTime": before["lastTransitionTime"] if same else now,
                "reason": condition.reason,
                "message": condition.message,
            }
        )
    return out
