"""Signals that were taken before, as far as memory reaches: a repeated one need not ask the ledger."""

from __future__ import annotations

from collections import OrderedDict

from tradingbot_engine.domain.units import IntentId


class SeenSignals:
    """
    The newest ids of intents that were claimed for sure; the oldest is forgotten first.

    Only a spared question: the ledger's unique id is what keeps one signal to one intent, also beyond this memory and after
    a restart. An id whose claim had no clear answer is never remembered, since that claim may still have to be followed.
    """

    def __init__(self, *, size: int) -> None:
        self._size = size
        self._ids: OrderedDict[IntentId, None] = OrderedDict()
        self.repeated = 0
        """How often a signal came again."""

    def __len__(self) -> int:
        return len(self._ids)

    def remember(self, intent_id: IntentId) -> None:
        """Note that this intent is in the ledger, and followed."""
        if self._size:
            self._ids[intent_id] = None
            if len(self._ids) > self._size:
                self._ids.popitem(last=False)

    def has(self, intent_id: IntentId) -> bool:
        """Return whether the intent was claimed lately; counts it."""
        if intent_id not in self._ids:
            return False
        self.repeated += 1
        return True
