"""All faults of a cluster: asked for, listed and removed by id."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tradingbot_engine.localnet.bank import Bank
from tradingbot_engine.localnet.chain import BankError
from tradingbot_engine.localnet.faults.models import (
    AnyFault,
    DeadFork,
    Fork,
    Halt,
    MethodFaultModel,
    NodeFault,
    SwapFaultModel,
)
from tradingbot_engine.localnet.faults.node import NodeFaults
from tradingbot_engine.localnet.faults.swap import SwapFaults


class FaultRefused(Exception):
    """The fault is well formed but cannot be had: no such node, method or API, the audit's node, a fork of final blocks."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fault that was accepted; `dropped` are the signatures that a fork abandoned."""

    id: str
    fault: AnyFault
    dropped: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The form that the HTTP interface shows."""
        shown: dict[str, Any] = {"id": self.id, **self.fault.model_dump(mode="json")}
        return {**shown, "dropped": list(self.dropped)} if isinstance(self.fault, Fork) else shown


class Faults:
    """
    The cluster's faults.

    Args:
        bank: The bank.
        nodes: Each node's faults, by index.
        methods: Names of the methods that exist.
        audit_node: A node that stays free of faults, so that an audit can rely on it.
        swap: Faults of the swap, price and history APIs.
    """

    def __init__(
        self,
        *,
        bank: Bank,
        nodes: Sequence[NodeFaults],
        methods: Collection[str],
        audit_node: int | None = None,
        swap: SwapFaults | None = None,
    ) -> None:
        self._bank = bank
        self._nodes = nodes
        self._methods = frozenset(methods)
        self._audit_node = audit_node
        self.swap = swap or SwapFaults()
        self._ids = itertools.count(1)
        self._active: dict[str, Outcome] = {}

    def add(self, fault: AnyFault) -> Outcome:
        """
        Switch a fault on; a fork happens at once and is not listed afterwards.

        Raises:
            FaultRefused: It cannot be had.
        """
        if isinstance(fault, Fork):
            return self._fork(fault)
        if isinstance(fault, Halt):
            self._bank.halted = True
        elif isinstance(fault, SwapFaultModel):
            if not self.swap.served:
                raise FaultRefused("there is no swap API here")
            fault_id = f"f{next(self._ids)}"
            self.swap.add(fault_id, fault)
            return self._listed(Outcome(fault_id, fault))
        else:
            self._check(fault)
            fault_id = f"f{next(self._ids)}"
            for index in fault.nodes:
                self._nodes[index].add(fault_id, fault)
            return self._listed(Outcome(fault_id, fault))
        return self._listed(Outcome(f"f{next(self._ids)}", fault))

    def remove(self, fault_id: str) -> bool:
        """Switch a fault off; False if there is none of that id."""
        outcome = self._active.pop(fault_id, None)
        if outcome is None:
            return False
        for node in self._nodes:
            node.remove(fault_id)
        self.swap.remove(fault_id)
        if isinstance(outcome.fault, Halt):
            self._bank.halted = any(isinstance(o.fault, Halt) for o in self._active.values())
        return True

    def clear(self) -> int:
        """Switch all faults off; returns how many there were."""
        ids = list(self._active)
        for fault_id in ids:
            self.remove(fault_id)
        return len(ids)

    def active(self) -> list[Outcome]:
        """The faults that are on, oldest first."""
        return list(self._active.values())

    def _listed(self, outcome: Outcome) -> Outcome:
        self._active[outcome.id] = outcome
        return outcome

    def _check_nodes(self, nodes: Collection[int]) -> None:
        for index in nodes:
            if index >= len(self._nodes):
                raise FaultRefused(f"there is no node {index}: nodes are numbered 0 to {len(self._nodes) - 1}")
            if index == self._audit_node:
                raise FaultRefused(f"node {index} is kept free of faults for audits")

    def _check(self, fault: NodeFault) -> None:
        self._check_nodes(fault.nodes)
        if isinstance(fault, MethodFaultModel):
            unknown = sorted(set(fault.methods) - self._methods)
            if unknown:
                raise FaultRefused(f"there is no method {', '.join(unknown)}")

    def _fork(self, fault: Fork) -> Outcome:
        self._check_nodes(fault.stay)
        try:
            branch = self._bank.rollback(fault.slots, requeue=fault.requeue)
        except BankError as error:
            raise FaultRefused(str(error)) from error
        dropped = tuple(str(r.signature) for r in branch.records if not self._bank.is_vote(r))
        if fault.stay:
            stay = Outcome(f"f{next(self._ids)}", DeadFork(kind="dead_fork", nodes=fault.stay))
            for index in fault.stay:
                self._nodes[index].add(stay.id, stay.fault, branch)  # type: ignore[arg-type]  # a DeadFork
            self._listed(stay)
        return Outcome(f"f{next(self._ids)}", fault, dropped)
