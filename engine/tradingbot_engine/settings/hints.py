"""What would be right, where a setting's file says something that cannot be meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Any

from tradingbot_engine.settings.schema import leaves

_SHOWN_CHARS = 80
_WANTED = {"integer": "a whole number", "number": "a number", "boolean": "true or false"}


def misread(data: Any, path: str = "") -> Iterator[str]:
    """
    Yield one line for each number or switch of a settings file that is written as something else.

    Texts are numbers only in the environment, which knows nothing else: `"off"` in a file would switch a protection off.
    """
    if isinstance(data, dict):
        for name, value in data.items():
            yield from misread(value, f"{path}.{name}" if path else str(name))
        return
    if isinstance(data, list):
        for index, value in enumerate(data):
            yield from misread(value, f"{path}.{index}")
        return
    kind = _kinds().get(_general(path), "")
    wrong = isinstance(data, str) or (isinstance(data, bool) != (kind == "boolean") and data is not None)
    if kind in _WANTED and wrong:
        shown = repr(data)
        yield f"{path}: must be {_WANTED[kind]}, without quotes (value {shown[:_SHOWN_CHARS]})"


def nearest(path: str) -> str:
    """Return " (did you mean …?)" for a setting that does not exist, or "" if none has a name like it."""
    group, _, name = _general(path).rpartition(".")
    there = {known.removeprefix(f"{group}.").split(".")[0].removesuffix("[]") for known in _in_group(group)}
    close = difflib.get_close_matches(name, sorted(there), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _in_group(group: str) -> list[str]:
    return [known for known in _kinds() if not group or known.startswith(f"{group}.")]


@cache
def _kinds() -> dict[str, str]:
    return {leaf.name: str(leaf.schema.get("type", "")) for leaf in leaves()}


def _general(path: str) -> str:
    """Return a path as the reference names it: `[]` for each element of a list."""
    out: list[str] = []
    for step in path.split("."):
        if step.isdecimal() and out:
            out[-1] += "[]"
        else:
            out.append(step)
    return ".".join(out)
