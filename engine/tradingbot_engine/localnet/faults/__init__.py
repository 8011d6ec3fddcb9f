"""Faults that production has, on purpose and on demand: per node, per method, and for the bank."""

from tradingbot_engine.localnet.faults.models import (
    BankFault,
    Fault,
    NodeFault,
    fault_schema,
    parse_fault,
    parse_faults,
)
from tradingbot_engine.localnet.faults.node import NodeFaults
from tradingbot_engine.localnet.faults.registry import FaultRefused, Faults

__all__ = [
    "BankFault",
    "Fault",
    "FaultRefused",
    "Faults",
    "NodeFault",
    "NodeFaults",
    "fault_schema",
    "parse_fault",
    "parse_faults",
]
