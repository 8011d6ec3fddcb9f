"""The capabilities that this machine's root may have at most, and what follows for containers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24


def bounding_set(status: str | None = None) -> frozenset[int]:
    """Return the numbers of the capabilities in the bounding set, as `/proc/self/status` (or the text given) tells them."""
    text = Path("/proc/self/status").read_text() if status is None else status
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)", text, re.MULTILINE)
    bits = int(found.group(1), 16) if found else 0
    return frozenset(number for number in range(bits.bit_length()) if bits >> number & 1)


def without(document: Any, name: str) -> Any:
    """Return a runtime's JSON document (a bundle's `config.json`, or a process) with a capability taken out of every list."""
    if isinstance(document, Mapping):
        return {key: without(value, name) for key, value in document.items()}
    if isinstance(document, list):
        return [without(value, name) for value in document if value != name]
    return document
