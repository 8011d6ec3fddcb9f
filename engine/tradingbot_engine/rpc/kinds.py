"""What may be done with which method: repeat it early, share it, put it into a batch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Pace(IntEnum):
    """For how long an answer is of use: see `rpc.urgent_timeout_s`, `rpc.request_timeout_s` and `rpc.history_timeout_s`."""

    URGENT = 0
    STEADY = 1
    HISTORY = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A method's row.

    `hedged`: a second endpoint may be asked while the first is silent. `shared`: equal calls at one time may take one
    answer. `batched`: its answer is small enough to travel with others. `pace`: how long one request may take.
    """

    hedged: bool = False
    shared: bool = False
    batched: bool = False
    pace: Pace = Pace.STEADY


_STATE = Kind(hedged=True, shared=True, batched=True)
_PROOF = Kind(hedged=True, batched=True)
"""What the proof of expiry and fills are made of is never shared: its moment of asking counts."""
_HISTORY = Kind(hedged=True, pace=Pace.HISTORY)

KINDS: dict[str, Kind] = {
    "getAccountInfo": _STATE,
    "getBalance": _STATE,
    "getMinimumBalanceForRentExemption": _STATE,
    "getMultipleAccounts": Kind(hedged=True, shared=True),
    "getTokenAccountsByOwner": Kind(hedged=True, shared=True),
    "getLatestBlockhash": Kind(hedged=True, shared=True, batched=True, pace=Pace.URGENT),
    "getBlockHeight": _PROOF,
    "getEpochInfo": _PROOF,
    "getFirstAvailableBlock": _PROOF,
    "getGenesisHash": _PROOF,
    "getSignatureStatuses": _PROOF,
    "getSlot": _PROOF,
    "getHealth": Kind(batched=True),
    "getTransaction": _HISTORY,
    "getBlock": _HISTORY,
    "getBlocks": _HISTORY,
    "getBlockTime": _HISTORY,
    "getSignaturesForAddress": Kind(pace=Pace.HISTORY),  # a heavy scan: one node at a time
    "getRecentPrioritizationFees": Kind(hedged=True),
    "sendTransaction": Kind(
        hedged=True, pace=Pace.URGENT
    ),  # identical bytes: a second copy is harmless, and never a second transaction
}
"""Heavy scans (getProgramAccounts, getTokenLargestAccounts) are not in it on purpose, and none is hedged."""

OTHER = Kind()
"""A method that is not in the table: asked once at a time, by itself."""
