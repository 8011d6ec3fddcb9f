"""What may be done with which method: repeat it early, share it, put it into a batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """
    A method's row.

    `hedged`: a second endpoint may be asked while the first is silent. `shared`: equal calls at one time may take one
    answer. `batched`: its answer is small enough to travel with others.
    """

    hedged: bool = False
    shared: bool = False
    batched: bool = False


_STATE = Kind(hedged=True, shared=True, batched=True)
_PROOF = Kind(hedged=True, batched=True)
"""What the proof of expiry and fills are made of is never shared: its moment of asking counts."""
_HISTORY = Kind(hedged=True)

KINDS: dict[str, Kind] = {
    "getAccountInfo": _STATE,
    "getBalance": _STATE,
    "getMinimumBalanceForRentExemption": _STATE,
    "getMultipleAccounts": Kind(hedged=True, shared=True),
    "getTokenAccountsByOwner": Kind(hedged=True, shared=True),
    "getLatestBlockhash": _STATE,
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
    "getRecentPrioritizationFees": _HISTORY,
    "sendTransaction": _HISTORY,  # identical bytes: a second copy is harmless, and never a second transaction
}
"""Heavy scans (getProgramAccounts, getSignaturesForAddress, getTokenLargestAccounts) are not in it on purpose."""

OTHER = Kind()
"""A method that is not in the table: asked once at a time, by itself."""
