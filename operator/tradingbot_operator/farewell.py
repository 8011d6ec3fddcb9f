"""
The plan for a bot that is being deleted: sell everything if it says so, drain, end the pods, settle what is left, let go.

Our finalizer holds the bot until it is known that no intent of it is open. What is known outlives the operator in the
condition Drained. A foreground deletion takes the owned children at once, whatever a finalizer says: the pods then drain in
their preStop hook, and a Job settles what that left open; unless an engine was heard to say that nothing is.

With deletionPolicy ClosePositions the engines sell first, while their pods run as ever; whatever becomes of these, the wish
is in the ledger, and the Job sells what they did not.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from tradingbot_operator.desired.names import close_out_by
from tradingbot_operator.desired.settle_job import command_of
from tradingbot_operator.engines import PATIENCE_S
from tradingbot_operator.kube.kinds import SECRET
from tradingbot_operator.observed import Child, Observed, Pod
from tradingbot_operator.steps import (
    Apply,
    CloseOut,
    Drain,
    Invalid,
    Make,
    Prune,
    Release,
    Step,
    Wait,
    Wanted,
    id_of,
    is_settle,
)


def farewell(observed: Observed, wanted: Wanted | Invalid) -> Iterator[Step]:
    """Yield the next steps."""
    if not observed.held:
        return
    if observed.forced:
        yield Release("tradingbot.dev/force-delete says so, whatever is open")
        yield from _end_engines(observed, "the bot goes by force")
        return
    orphan = isinstance(wanted, Wanted) and wanted.policy == "Orphan"
    sale = sells(observed, wanted)
    if observed.engines:
        selling = tuple(_close_out(observed)) if sale else ()
        yield from selling or _drain(observed)
        return
    yield from _end_engines(observed, "no pod of it runs")  # or it would make the next one
    if any(child.id[0] == "Deployment" and not child.deleting for child in observed.children.values()):
        return  # its next pod may be on its way: first it has to go
    if orphan:
        yield from _let_go(observed, wanted, "deletionPolicy Orphan: what is open on chain is left alone")
    elif isinstance(wanted, Wanted) and (other := _other_job(observed, wanted)) is not None:
        if not other.deleting:
            yield Prune.of(other, "the deletionPolicy was changed: it does something else")
        yield Wait("PodStillRunning", "the Job of the former deletionPolicy ends first")
    elif (known := known_drained(observed)) is not None:
        yield from _let_go(observed, wanted, known)
    elif isinstance(wanted, Invalid):
        yield Wait("InvalidSpec", "what is open cannot be settled by a manifest that is wrong: put it right")
    elif observed.namespace_ends:
        yield Wait("NamespaceTerminating", "trades may be open, and no Job that settles them can be made any more")
    else:
        yield from _settle(observed, wanted, sale=sale)


def sells(observed: Observed, wanted: Wanted | Invalid) -> bool:
    """Whether what the bot holds is to be sold before it goes; a manifest that is wrong elsewhere can still say so."""
    spec = observed.bot.get("spec") or {}
    return (wanted.policy if isinstance(wanted, Wanted) else spec.get("deletionPolicy")) == "ClosePositions"


def wish_of(observed: Observed) -> str:
    """Return on whose behalf the engines of this bot sell everything when it is deleted."""
    meta = observed.metadata
    return close_out_by(str(meta["namespace"]), str(meta["name"]), str(meta["uid"]))


def closing_of(observed: Observed, pod: Pod) -> Mapping[str, Any]:
    """Return how far an engine is with selling everything, as it said last; empty if it is not told to."""
    said = observed.said.get(pod.uid)
    found = said.status.get("closing") if said is not None else None
    return found if isinstance(found, Mapping) else {}


def known_drained(observed: Observed) -> str | None:
    """Return why nothing of the bot is open, None if that is not known."""
    if job_is(observed, "Complete"):
        return "the settle Job found nothing open any more"
    condition = observed.condition("Drained")
    if condition.get("status") == "True" and condition.get("observedGeneration") == observed.generation:
        return f"it is drained: {condition.get('message') or condition.get('reason')}"
    return None


def has_drained(observed: Observed, pod: Pod, *, sale: bool) -> bool:
    """Whether an engine said that it stopped, that nothing is open in the ledger and, if all was to be sold, that it is."""
    said = observed.said.get(pod.uid)
    if said is None or said.status.get("phase") != "STOPPED" or said.status.get("openIntents") != 0:
        return False
    return not sale or closing_of(observed, pod).get("done") is True


def job_is(observed: Observed, state: str) -> bool:
    """Whether the settle Job has ended this way: Complete or Failed."""
    jobs = [child for child in observed.children.values() if child.id[0] == "Job" and is_settle(child)]
    conditions = [c for job in jobs for c in (job.body.get("status") or {}).get("conditions") or ()]
    return any(c.get("type") == state and c.get("status") == "True" for c in conditions)


def _close_out(observed: Observed) -> Iterator[Step]:
    """Yield what has to happen before the engines may drain; nothing once all is sold, or no running engine can sell it."""
    waits = [pod for pod in observed.engines if not pod.deleting and _may_sell(observed, pod)]
    for pod in waits:
        if closing_of(observed, pod).get("by") != wish_of(observed):
            yield CloseOut(pod, wish_of(observed), "deletionPolicy ClosePositions: all that it holds is sold first")
    if waits:
        names = ", ".join(pod.name for pod in waits)
        yield Wait("ClosingPositions", f"every position is sold and nothing is bought any more by {names}")


def _may_sell(observed: Observed, pod: Pod) -> bool:
    """Whether an engine can be asked, and has still something to sell that another process could not sell better."""
    if not _may_answer(observed, pod):
        return False
    said, closing = observed.said.get(pod.uid), closing_of(observed, pod)
    if said is not None and said.status.get("phase") == "DRAINING":
        return False  # it takes no signal any more
    if closing.get("by") != wish_of(observed):
        return True
    return not closing.get("done") and not closing.get("stuck")


def _drain(observed: Observed) -> Iterator[Step]:
    waits = [pod for pod in observed.engines if not pod.deleting and _may_answer(observed, pod)]
    for pod in waits:
        yield Drain(pod, "the bot is being deleted")
    if waits:
        names = ", ".join(pod.name for pod in waits)
        yield Wait("Draining", f"trades in flight are followed to their end in {names}")
        return
    yield from _end_engines(observed, "its engine is drained, or cannot be asked")
    ending = ", ".join(f"{pod.name} (on {pod.node})" if pod.node else pod.name for pod in observed.engines)
    yield Wait("PodStillRunning", f"what a pod may still do is not known before it is gone: {ending}")


def _may_answer(observed: Observed, pod: Pod) -> bool:
    """Whether a running engine has still to drain, and can be asked to."""
    if not pod.started or not pod.serves:
        return False
    said = observed.said.get(pod.uid)
    if said is None or not said.asked_s:
        return True  # nobody asked it yet
    if said.status.get("phase") == "STOPPED":
        return False
    return not said.error or said.silent_s < PATIENCE_S


def _end_engines(observed: Observed, why: str) -> Iterator[Step]:
    for child in observed.children.values():
        if child.id[0] == "Deployment" and not child.deleting:
            yield Prune.of(child, why)


def _other_job(observed: Observed, wanted: Wanted) -> Child | None:
    """Return the settle Job if it runs another command than the one that is wanted: it sells, or does not, as it was told."""
    for body in wanted.settle(_unborn(observed)):
        there = observed.children.get(id_of(body))
        if body["kind"] == "Job" and there is not None and command_of(there.body) != command_of(body):
            return there
    return None


def _unborn(observed: Observed) -> bool:
    """Whether no engine of the bot ever had a ledger: it says its botId as soon as it has, and that is kept in the status."""
    return not observed.status.get("botId") and not any(said.status.get("botId") for said in observed.said.values())


def _settle(observed: Observed, wanted: Wanted, *, sale: bool) -> Iterator[Step]:
    for body in wanted.localnet:
        if id_of(body) not in observed.localnet:
            yield Apply(body, "the trades to settle are on it")
    for body in wanted.settle(_unborn(observed)):
        if body["kind"] == "Secret":
            if body["metadata"]["name"] not in observed.secrets:
                yield Make(body["metadata"]["name"], partial(dict, body), "for the Job that settles")
        elif id_of(body) not in observed.children:
            ending = [pod.name for pod in observed.pods if pod.component == "settle" and not pod.over]
            if body["kind"] == "Job" and ending:
                yield Wait("PodStillRunning", f"the former Job's pod is ending: {', '.join(ending)}")
                return
            yield Apply(
                body, f"nobody has said that nothing is {'held or ' if sale else ''}open", last=body["kind"] == "Job"
            )
    failed = job_is(observed, "Failed")
    if failed:
        yield Wait("SettleFailed", "the settle Job gave up with trades open")
    elif sale:
        yield Wait("ClosingPositions", "a Job sells what the bot still holds, and ends when nothing is left")
    else:
        yield Wait("Settling", "a Job resolves what the ledger still holds open; it trades nothing")


def _let_go(observed: Observed, wanted: Wanted | Invalid, why: str) -> Iterator[Step]:
    """Remove what has no owner to go with, then the finalizer: an operator that dies between begins here again."""
    done = "it has done its work"
    for child in observed.children.values():
        if is_settle(child) and not child.deleting:
            yield Prune.of(child, done)
    for body in wanted.settle(_unborn(observed)) if isinstance(wanted, Wanted) else ():
        name = body["metadata"]["name"]
        if body["kind"] == "Secret" and name in observed.secrets:
            yield Prune(SECRET, name, observed.secrets[name], done)
    if observed.localnet_users <= {observed.metadata["name"]}:
        for child in observed.localnet.values():
            if child.id[0] != "PersistentVolumeClaim" and not child.deleting:
                yield Prune.of(child, "no other bot trades on this localnet")
    yield Release(why)
