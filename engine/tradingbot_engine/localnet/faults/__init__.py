"""Faults that production has, on purpose and on demand: per node, per method, and for the bank."""

from tradingbot_engine.localnet.faults.models import (
    AnyFault,
    BankFault,
    Fault,
    NodeFault,
    SwapFault,
    fault_schema,
    parse_fault,
    parse_faults,
    place_of,
)
from tradingbot_engine.localnet.faults.node import NodeFaults
from tradingbot_engine.localnet.faults.registry import FaultRefused, Faults
from tradingbot_engine.localnet.faults.swap import SWAP_FAULTS, SwapFaults

__all__ = [
    "SWAP_FAULTS",
    "AnyFault",
    "BankFault",
    "Fault",
    "FaultRefused",
    "Faults",
    "NodeFault",
    "NodeFaults",
    "SwapFault",
    "SwapFaults",
    "fault_schema",
    "parse_fault",
    "parse_faults",
    "place_of",
]
