"""Randomness that needs no memory: the value at a time depends on the seed and that time alone."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from math import cos, pi


@lru_cache(maxsize=65_536)
def unit(*parts: object) -> float:
    """Return a number in [-1, 1) that follows from `parts`, evenly spread."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 2**55 - 1


def wander(key: str, minutes: float, octaves: tuple[tuple[int, float], ...]) -> float:
    """
    Return a smooth bounded wandering: the sum over `octaves` (length in minutes, amplitude) of interpolated noise.

    With amplitudes that grow with the root of the length it looks like a random walk, yet any moment is found at once.
    """
    total = 0.0
    for length, amplitude in octaves:
        step = int(minutes // length)
        share = (1 - cos(pi * (minutes / length - step))) / 2
        left, right = unit(key, length, step), unit(key, length, step + 1)
        total += amplitude * (left + (right - left) * share)
    return total
