"""The capabilities that this machine's root may have at most."""

from __future__ import annotations

import re
from pathlib import Path

CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24


def bounding_set(status: str | None = None) -> frozenset[int]:
    """Return the numbers of the capabilities in the bounding set, as `/proc/self/status` (or the text given) tells them."""
    text = Path("/proc/self/status").read_text() if status is None else status
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)", text, re.MULTILINE)
    bits = int(found.group(1), 16) if found else 0
    return frozenset(number for number in range(bits.bit_length()) if bits >> number & 1)
