"""What the API server refuses, named for what the operator does next."""

from collections.abc import Mapping
from typing import Any


class KubeError(Exception):
    """
    A request that did not succeed.

    Attributes:
        what: The request in words: "apply ConfigMap trading/bonk".
        message: The server's words, or the network's.
    """

    passes_by_itself = False
    """Whether the same request may succeed later with nobody doing anything."""

    def __init__(self, message: str, *, what: str = "") -> None:
        super().__init__(f"{what}: {message}" if what else message)
        self.what, self.message = what, message


class NotFound(KubeError):
    """No such object, or no such kind."""


class Conflict(KubeError):
    """The object is another one, or another version, than the request was made for: look again."""

    passes_by_itself = True


class AlreadyExists(Conflict):
    """Somebody made it first."""


class Refused(KubeError):
    """The object is wrong in itself: only another request can succeed."""


class Forbidden(KubeError):
    """The operator's ServiceAccount lacks a right."""


class QuotaExceeded(Forbidden):
    """The namespace's quota is used up."""


class NamespaceTerminating(Forbidden):
    """The namespace is being deleted: nothing can be made in it any more."""


class LoginRefused(KubeError):
    """The credentials are not accepted (any more)."""

    passes_by_itself = True


class Throttled(KubeError):
    """The server wants fewer requests; `retry_after_s` is its own wish."""

    passes_by_itself = True

    def __init__(self, message: str, *, what: str = "", retry_after_s: float = 1.0) -> None:
        super().__init__(message, what=what)
        self.retry_after_s = retry_after_s


class Unavailable(KubeError):
    """The server could not be asked, or failed; whether it acted is not known."""

    passes_by_itself = True


def error_of(code: int, status: Mapping[str, Any], *, what: str, retry_after: str | None = None) -> KubeError:
    """Return the error that an answer means; `status` is its `Status` object, empty if there was none."""
    message = str(status.get("message") or status.get("reason") or f"HTTP {code}")[:2000]
    reason = status.get("reason")
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    cause = {c.get("reason") for c in causes or () if isinstance(c, Mapping)}
    if code == 404:
        return NotFound(message, what=what)
    if code == 422 and "metadata.uid" in message and "immutable" in message:
        return Conflict(message, what=what)  # so server-side apply says that the object is another one
    if code == 409:
        return (AlreadyExists if reason == "AlreadyExists" else Conflict)(message, what=what)
    if code == 401:
        return LoginRefused(message, what=what)
    if code == 403:
        if "NamespaceTerminating" in cause or "because it is being terminated" in message:
            return NamespaceTerminating(message, what=what)
        return (QuotaExceeded if "exceeded quota" in message else Forbidden)(message, what=what)
    if code == 429:
        return Throttled(message, what=what, retry_after_s=_seconds(retry_after))
    if code >= 500:
        return Unavailable(message, what=what)
    return Refused(message, what=what)


def _seconds(text: str | None) -> float:
    try:
        return min(60.0, max(0.1, float(text or 1)))
    except ValueError:
        return 1.0
