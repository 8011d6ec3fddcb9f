"""
What to do next for one bot: pure, from what there is and what should be, to steps that each say why.

The same plan is carried out by the operator and printed by `tradingbot plan`. It is made anew from the cluster's state at
every pass, so that nothing depends on which event came, came twice, or never came:

    being deleted?          → sell all if it says so, drain, end the pods, settle what is left, let go   (farewell.py)
    manifest is wrong?      → touch nothing; what runs goes on running
    otherwise               → hold → what may change in running engines → secrets made once → objects → what is in the way
"""

from collections.abc import Iterator

from tradingbot_operator.desired.names import DELETION
from tradingbot_operator.drift import differs
from tradingbot_operator.engine_port import Live
from tradingbot_operator.farewell import closing_of, farewell, wish_of
from tradingbot_operator.kube.kinds import SECRET
from tradingbot_operator.observed import Observed
from tradingbot_operator.steps import (
    Apply,
    Hold,
    Invalid,
    Make,
    Prune,
    PutLive,
    Reopen,
    Step,
    Wait,
    Wanted,
    id_of,
    is_settle,
)


def plan(observed: Observed, wanted: Wanted | Invalid) -> tuple[Step, ...]:
    """Return the steps of the next pass, in order."""
    if observed.deleting:
        return tuple(farewell(observed, wanted))
    if isinstance(wanted, Invalid):
        return (Wait("InvalidSpec", "the manifest is wrong: nothing is touched, what runs goes on running"),)
    return tuple(_towards(observed, wanted))


def _towards(observed: Observed, wanted: Wanted) -> Iterator[Step]:
    if observed.namespace_ends:
        yield Wait("NamespaceTerminating", "the namespace is being deleted: nothing can be made in it any more")
        return
    if not observed.held:
        yield Hold("before the first pod exists, so that no deletion can lose an open trade")
    yield from behind(observed, wanted.live)
    yield from _closed_before(observed)
    for name, body in wanted.secrets.items():
        if name not in observed.secrets:
            yield Make(name, body, "it does not exist yet")
    yield from _objects(observed, wanted)
    yield from _leftovers(observed, wanted)


def behind(observed: Observed, live: Live) -> Iterator[PutLive]:
    """Yield a step for each engine that runs under older pause and risk numbers; nothing else comes before these."""
    for pod in observed.engines:
        known = observed.said[pod.uid].status.get("generation") if pod.uid in observed.said else None
        if pod.address is not None and isinstance(known, int) and known < live.generation:
            yield PutLive(pod, live, f"{pod.name} runs under generation {known}")


def _closed_before(observed: Observed) -> Iterator[Reopen]:
    """Yield a step for each engine whose ledger was closed out when another bot of this name was deleted."""
    for pod in observed.engines:
        by = str(closing_of(observed, pod).get("by") or "")
        if pod.address is not None and by.startswith(DELETION) and by != wish_of(observed):
            yield Reopen(pod, f"{by} closed its ledger out: this bot was made after that, to trade")


def _objects(observed: Observed, wanted: Wanted) -> Iterator[Step]:
    for body in wanted.localnet:
        if why := differs(body, observed.localnet.get(id_of(body)), observed.confirmed.get(id_of(body))):
            yield Apply(body, why)
    for body in wanted.objects:
        why = differs(body, observed.children.get(id_of(body)), observed.confirmed.get(id_of(body)))
        if why and body["kind"] == "Deployment" and observed.missing:
            listed = "; ".join(str(missing) for missing in observed.missing)
            yield Wait("SecretMissing", f"no pod can start, and none that runs is ended for it: {listed}")
        elif why:
            yield Apply(body, why, last=body["kind"] == "Deployment")


def _leftovers(observed: Observed, wanted: Wanted) -> Iterator[Step]:
    """Yield what is ours and wanted no more; what has no owner, such as a ledger's volume, is nobody's leftover."""
    ids = {id_of(body) for body in wanted.objects}
    uid = observed.metadata["uid"]
    for child in observed.children.values():
        if child.id not in ids and child.owner == uid and child.stored.kind is not SECRET and not child.deleting:
            yield Prune.of(child, "the manifest asks for it no more")
        elif is_settle(child) and not child.deleting:
            yield Prune.of(child, "it settled a bot of this name that is gone")
