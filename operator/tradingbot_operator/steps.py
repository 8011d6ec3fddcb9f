"""The steps that a plan is made of, and what a sound manifest asks for: plain frozen data, each step with its why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tradingbot_operator.engine_port import Live
from tradingbot_operator.kube.gateway import Object
from tradingbot_operator.kube.kinds import Kind
from tradingbot_operator.observed import FINALIZER, Child, Pod


@dataclass(frozen=True)
class Hold:
    """Put our finalizer on the bot."""

    why: str


@dataclass(frozen=True)
class Release:
    """Take our finalizer off the bot."""

    why: str


@dataclass(frozen=True)
class PutLive:
    """Hand pause and risk numbers to a running engine."""

    pod: Pod
    live: Live
    why: str


@dataclass(frozen=True)
class CloseOut:
    """Ask a running engine to sell all that it holds and to buy nothing any more; `by` says for whom, and stays in the ledger."""

    pod: Pod
    by: str
    why: str


@dataclass(frozen=True)
class Reopen:
    """Let a running engine trade again whose ledger was closed out."""

    pod: Pod
    why: str


@dataclass(frozen=True)
class Drain:
    """Ask a running engine to take no new signal and finish what is in flight."""

    pod: Pod
    why: str


@dataclass(frozen=True)
class Make:
    """Create a Secret whose content is random, unless it exists; `body` makes it."""

    name: str
    body: Callable[[], Object] = field(compare=False)
    why: str


@dataclass(frozen=True)
class Apply:
    """Apply an object, our fields forced; `last` ones only after all others succeeded."""

    body: Object
    why: str
    last: bool = False


@dataclass(frozen=True)
class Prune:
    """Delete an object that should not be."""

    kind: Kind
    name: str
    uid: str
    why: str

    @classmethod
    def of(cls, child: Child, why: str) -> "Prune":
        return cls(child.stored.kind, child.stored.name, child.stored.uid, why)


@dataclass(frozen=True)
class Wait:
    """Do nothing more until something else has happened; `reason` is one of status/reasons.py."""

    reason: str
    why: str


Step = Hold | Release | PutLive | CloseOut | Reopen | Drain | Make | Apply | Prune | Wait


# --- what should be
@dataclass(frozen=True)
class Invalid:
    """A manifest that cannot be followed: all of its problems, one line each."""

    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    What a sound manifest asks for.

    Attributes:
        objects: In the order in which to apply them; the Deployment is the last.
        localnet: Objects of the localnet that it trades on, if any.
        secrets: What makes each Secret that is made once, by its name.
        settle: Makes the objects of the Job that settles what a deletion left open; told whether the bot never had a ledger.
        live: What may change without a restart.
        policy: Drain, ClosePositions or Orphan.
        notes: What the manifest asks for and does not get (yet).
        selector: Of the engine's pods, as text.
    """

    objects: tuple[Object, ...]
    localnet: tuple[Object, ...] = ()
    secrets: Mapping[str, Callable[[], Object]] = field(default_factory=dict)
    settle: Callable[[bool], tuple[Object, ...]] = lambda unborn: ()
    live: Live = field(default_factory=lambda: Live(0, False, {}))
    policy: str = "Drain"
    notes: tuple[str, ...] = ()
    selector: str = ""


def is_settle(child: Child) -> bool:
    """Whether an object belongs to the Job that settles a deletion."""
    return (child.body["metadata"].get("labels") or {}).get("app.kubernetes.io/component") == "settle"


def id_of(body: Object) -> tuple[str, str]:
    """Return kind and name of an object."""
    return (body["kind"], body["metadata"]["name"])


def in_words(step: Step) -> str:
    """Return a step as one line for people."""
    match step:
        case Hold(why):
            return f"hold      finalizer {FINALIZER}: {why}"
        case Release(why):
            return f"release   finalizer {FINALIZER}: {why}"
        case PutLive(pod, live, why):
            state = "paused" if live.paused else "not paused"
            return f"live      Pod {pod.name}: generation {live.generation}, {state}: {why}"
        case CloseOut(pod, _, why):
            return f"close-out Pod {pod.name}: {why}"
        case Reopen(pod, why):
            return f"reopen    Pod {pod.name}: {why}"
        case Drain(pod, why):
            return f"drain     Pod {pod.name}: {why}"
        case Make(name, why=why):
            return f"make      Secret {name}: {why}"
        case Apply(body, why):
            return f"apply     {' '.join(id_of(body))}: {why}"
        case Prune(kind, name, why=why):
            return f"prune     {kind.name} {name}: {why}"
        case Wait(reason, why):
            return f"wait      {reason}: {why}"


def as_data(step: Step) -> dict[str, Any]:
    """Return a step as plain data for `--output json`."""
    word, _, rest = in_words(step).partition(" ")
    return {"step": word, "text": rest.strip(), "why": step.why}
