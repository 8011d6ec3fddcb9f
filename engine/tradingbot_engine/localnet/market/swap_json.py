"""Parts of the swap API's bodies: instructions as JSON, wishes for priority, and what a landed swap moved."""

from __future__ import annotations

import base64
import re
from typing import Any

from solders.instruction import Instruction

from tradingbot_engine.domain.units import BaseUnits
from tradingbot_engine.localnet.market.swap_build import MICRO_LAMPORTS_PER_UNIT, BuiltSwap, PriorityFee
from tradingbot_engine.localnet.market.web_api import ApiError, whole_number

SWAP_LOG = re.compile(r"^Program log: (0x[0-9a-f]+), (0x[0-9a-f]+), 0x[0-9a-f]+, 0x[0-9a-f]+, 0x[0-9a-f]+$")
"""What the pool program logs of each hop: in, out, the reserves before, the fee."""


def instruction_json(instruction: Instruction) -> dict[str, Any]:
    """Return one instruction as Jupiter writes it; the data are base64."""
    return {
        "programId": str(instruction.program_id),
        "accounts": [
            {"pubkey": str(meta.pubkey), "isSigner": meta.is_signer, "isWritable": meta.is_writable}
            for meta in instruction.accounts
        ],
        "data": base64.b64encode(bytes(instruction.data)).decode(),
    }


def instruction_lists(built: BuiltSwap) -> dict[str, Any]:
    """Return the instructions of a swap, in the groups in which they belong into a transaction."""
    return {
        "computeBudgetInstructions": [instruction_json(one) for one in built.compute_budget],
        "setupInstructions": [instruction_json(one) for one in built.setup],
        "swapInstruction": instruction_json(built.swap),
        "cleanupInstruction": instruction_json(built.cleanup) if built.cleanup else None,
        "otherInstructions": [],
    }


def priority_fee(wish: object) -> PriorityFee:
    """
    Read `prioritizationFeeLamports`: absent or "auto", a number, or a level with a cap.

    Raises:
        ApiError: 400 for anything else.
    """
    if wish is None or wish == "auto":
        return PriorityFee()
    if isinstance(wish, dict):
        inner = wish.get("priorityLevelWithMaxLamports")
        if not isinstance(inner, dict):
            raise ApiError.bad_request("prioritizationFeeLamports: priorityLevelWithMaxLamports is expected")
        level = inner.get("priorityLevel", "medium")
        if level not in MICRO_LAMPORTS_PER_UNIT:
            raise ApiError.bad_request(f"prioritizationFeeLamports: unknown priorityLevel {level!r}")
        cap = inner.get("maxLamports")
        return PriorityFee(level=level, max_lamports=None if cap is None else whole_number(cap, "maxLamports"))
    return PriorityFee(lamports=whole_number(wish, "prioritizationFeeLamports", high=10**12))


def execute_body(signature: str, record: Any) -> dict[str, Any]:
    """Return `/execute`'s answer for a transaction that landed: amounts from the program's own log."""
    failed = record.error is not None
    code = _custom_error(record.error) if failed else 0
    taken, given = (0, 0) if failed else _moved(record.meta.logs())
    return {
        "status": "Failed" if failed else "Success",
        "signature": signature,
        "slot": str(record.slot),
        "code": code,
        "error": f"custom program error: {code:#x}" if failed else None,
        "totalInputAmount": str(taken),
        "totalOutputAmount": str(given),
        "inputAmountResult": str(taken),
        "outputAmountResult": str(given),
    }


def _moved(logs: list[str]) -> tuple[BaseUnits, BaseUnits]:
    hops = [match for match in map(SWAP_LOG.match, logs) if match]
    return (int(hops[0][1], 16), int(hops[-1][2], 16)) if hops else (0, 0)


def _custom_error(error: Any) -> int:
    """Return the program's own error number, else -1."""
    try:
        return int(error["InstructionError"][1]["Custom"])
    except (KeyError, TypeError, IndexError):
        return -1
