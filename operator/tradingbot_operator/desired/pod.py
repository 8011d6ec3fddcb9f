"""What every pod of ours has in common: the restricted security context, the image, and the engine's container."""

from typing import Any

from tradingbot_operator.desired.bot import Context

IMAGE_USER = 65532
"""User and group of the image; a volume's files belong to the group."""
TMP_DIR = "/tmp"  # noqa: S108  # the pod's own


def pod_security() -> dict[str, Any]:
    """Return the security context of a pod under the profile `restricted`."""
    return {
        "runAsNonRoot": True,
        "runAsUser": IMAGE_USER,
        "runAsGroup": IMAGE_USER,
        "fsGroup": IMAGE_USER,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """Return the security context of a container under the profile `restricted`, with a root that cannot be written."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def image(context: Context, stated: str | None, pull_policy: str | None) -> dict[str, Any]:
    """Return the image of a container: the bot's word before the operator's."""
    policy = pull_policy or context.pull_policy
    return {"image": stated or context.engine_image} | ({"imagePullPolicy": policy} if policy else {})


def pull_secrets(context: Context) -> dict[str, Any]:
    """Return where the registry's credentials are, for a pod's spec."""
    return {"imagePullSecrets": [{"name": name} for name in context.pull_secrets]} if context.pull_secrets else {}


def resources(*, cpu: str, memory: str, memory_limit: str) -> dict[str, Any]:
    """Return requests and a limit of memory; no limit of CPU, which would throttle a trade in the middle."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory_limit}}
