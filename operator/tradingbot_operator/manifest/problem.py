"""A problem of a manifest: where it is, what stands there, and what would be right."""

from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]

SECRET_WORDS = ("secret", "apikey", "password", "token", "privatekey", "url", "settings")
SHOWN_CHARS = 48


@dataclass(frozen=True)
class Problem:
    """
    One thing to be put right.

    Attributes:
        path: Keys and indices from the document's root.
        message: What would be right.
        value: What stands there, fit to be shown (secrets are not); empty when it is missing or says nothing.
    """

    path: Path
    message: str
    value: str = ""

    def __str__(self) -> str:
        where = path_text(self.path)
        return f"{where}: value {self.value}: {self.message}" if self.value else f"{where}: {self.message}"


def path_text(path: Path) -> str:
    """Return a path as people write it: spec.rpc.endpoints[0].url."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.isidentifier() or step.replace("-", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += f"[{shown_text(step)}]"
    return text or "the document"


def shown(value: Any, path: Path) -> str:
    """
    Return a value as a problem may show it: short, and never a secret.

    Addresses keep scheme and host only, since providers put keys into path and query. Long strings and lists are cut:
    a private key pasted into the wrong field must not reach a terminal or a CI log.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return shown_text(str(value)) if _says_secret(path) else _short(str(value))
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a map"
    if _says_secret(path):
        return _address_only(str(value))
    return shown_text(str(value))


def shown_text(text: str) -> str:
    """Return a string in quotes, without control characters, cut when it is long."""
    return '"' + _short("".join(c if c.isprintable() else "�" for c in text)) + '"'


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:8]}… ({len(text)} characters)"


def _says_secret(path: Path) -> bool:
    words = "".join(str(step).lower() for step in path if isinstance(step, str))
    return any(word in words.replace("markettokens", "") for word in SECRET_WORDS)


def _address_only(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    if not mark or not scheme.isalnum():
        return "(not shown)"
    host = rest.split("/", 1)[0].split("?", 1)[0].split("#", 1)[0].rpartition("@")[2]
    return shown_text(f"{scheme}://{host}/…" if rest != host else text)
