"""Units as names; money is always an integer of the smallest unit."""

from __future__ import annotations

from typing import TypeAlias

Lamports: TypeAlias = int
"""10⁻⁹ SOL."""
BaseUnits: TypeAlias = int
"""Smallest unit of a token: 10^-decimals of one token."""
QuoteUnits: TypeAlias = int
"""Smallest unit of the bot's quote currency: lamports for SOL, 10⁻⁶ USDC for USDC."""
Bps: TypeAlias = int
"""Basis points: 1/10,000."""
Slot: TypeAlias = int
BlockHeight: TypeAlias = int
"""Number of blocks below a block; grows more slowly than the slot, since slots may be skipped."""
Mint: TypeAlias = str
"""Base58 address of a token's mint."""
Address: TypeAlias = str
"""Base58 public key."""
Signature: TypeAlias = str
"""Base58 transaction signature."""
UnixMs: TypeAlias = int
"""Milliseconds since the Unix epoch."""
IntentId: TypeAlias = str
"""32 hexadecimal characters."""
Epoch: TypeAlias = int
"""Issued by the ledger, one higher at each take-over of a shard."""

LAMPORTS_PER_SOL = 1_000_000_000
BPS_ONE = 10_000
SOL_MINT: Mint = "So11111111111111111111111111111111111111112"
USDC_MINT: Mint = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"

VALID_BLOCKS = 150
"""A transaction may be in a block as long as at most so many stand above its blockhash's: L is that block's height + 150."""
