"""How many requests are under way, against how many may be."""

from __future__ import annotations


class PermitMisused(RuntimeError):
    """A permit was given back that nobody held: a bug, since from here on the limit would not hold."""


class Permits:
    """`limit` permits; whoever takes one gives it back exactly once."""

    __slots__ = ("in_use", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_use = 0

    @property
    def free(self) -> bool:
        """Whether one is left."""
        return self.in_use < self.limit

    def take(self) -> None:
        """Take one; only where `free` said so."""
        if self.in_use >= self.limit:
            raise PermitMisused("no permit is left")
        self.in_use += 1

    def give_back(self) -> None:
        """Give one back."""
        if self.in_use <= 0:
            raise PermitMisused("no permit is out")
        self.in_use -= 1
