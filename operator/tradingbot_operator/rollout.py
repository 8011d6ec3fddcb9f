"""Where a bot's pods stand: what keeps them from running, in the order in which a person would look; pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tradingbot_operator.observed import Observed, Pod

BAD_SETTINGS_EXIT = 2
"""The engine's exit code when it refuses its settings."""
LOOPS = 3
"""Restarts from which on an engine that is not ready counts as crash-looping, whatever the kubelet's back-off says just now."""
IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})


@dataclass(frozen=True)
class Trouble:
    """Something that a person has to look at; `reason` is one of status/reasons.py."""

    reason: str
    message: str


def troubles(observed: Observed) -> tuple[Trouble, ...]:
    """Return what is wrong with the pods and their Deployment, the most telling first; each reason once."""
    found: dict[str, Trouble] = {}
    for check in CHECKS:
        for trouble in check(observed):
            found.setdefault(trouble.reason, trouble)
    return tuple(found.values())


def _image(observed: Observed) -> Iterator[Trouble]:
    for pod in _live(observed):
        if pod.waiting[0] in IMAGE:
            yield _of("ImagePullFailed", pod, *pod.waiting)


def _secret(observed: Observed) -> Iterator[Trouble]:
    for pod in _live(observed):
        if pod.waiting[0] == "CreateContainerConfigError":
            reason = "SecretMissing" if "secret" in pod.waiting[1].lower() else "PodNotStarting"
            yield _of(reason, pod, *pod.waiting)
        elif pod.waiting[0] in ("CreateContainerError", "RunContainerError", "CreatePodSandboxError"):
            yield _of("PodNotStarting", pod, *pod.waiting)


def _crash(observed: Observed) -> Iterator[Trouble]:
    for pod in _live(observed):
        reason, code, message = pod.ended
        if pod.ready or not reason or not (pod.waiting[0] == "CrashLoopBackOff" or pod.restarts >= LOOPS):
            continue
        if reason == "OOMKilled":
            yield _of("OutOfMemory", pod, "OOMKilled", f"{pod.restarts} restarts")
        elif code == BAD_SETTINGS_EXIT:
            yield _of("SettingsRefused", pod, "exit code 2", message)
        else:
            yield _of("CrashLooping", pod, f"{reason}, exit code {code}, {pod.restarts} restarts", message)


def _unscheduled(observed: Observed) -> Iterator[Trouble]:
    for pod in _live(observed):
        if pod.unscheduled:
            yield Trouble("Unschedulable", f"Pod {pod.name}: {pod.unscheduled}")


def _deployment(observed: Observed) -> Iterator[Trouble]:
    conditions = {c.get("type"): c for c in deployment_status(observed).get("conditions") or ()}
    failure = conditions.get("ReplicaFailure") or {}
    if failure.get("status") == "True":
        message = str(failure.get("message") or failure.get("reason") or "")
        yield Trouble("QuotaExceeded" if "exceeded quota" in message else "PodRefused", message)
    progress = conditions.get("Progressing") or {}
    if progress.get("status") == "False":
        yield Trouble("RolloutStuck", str(progress.get("message") or progress.get("reason") or ""))


CHECKS: tuple[Callable[[Observed], Iterator[Trouble]], ...] = (_image, _secret, _crash, _unscheduled, _deployment)


def deployment_status(observed: Observed) -> Mapping[str, Any]:
    """Return the status of the engine's Deployment if it is about its newest spec; else empty."""
    for (kind, _), child in observed.children.items():
        if kind == "Deployment":
            status = child.body.get("status") or {}
            current = status.get("observedGeneration") == child.body["metadata"].get("generation")
            return status if current else {}
    return {}


def rolled_out(observed: Observed) -> bool:
    """Whether every pod that should be is there, of the newest template, and ready."""
    deployments = [child for child in observed.children.values() if child.id[0] == "Deployment"]
    if len(deployments) != 1 or deployments[0].deleting:
        return False
    status, wanted = deployment_status(observed), int(deployments[0].body["spec"].get("replicas") or 0)
    counts = [int(status.get(name) or 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    return counts == [wanted] * 3


def _live(observed: Observed) -> Iterator[Pod]:
    return (pod for pod in observed.pods if not pod.deleting and not pod.over)


def _of(reason: str, pod: Pod, word: str, message: str) -> Trouble:
    return Trouble(reason, f"Pod {pod.name}: {word}{': ' + message if message else ''}"[:1000])
