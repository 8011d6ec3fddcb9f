"""JSON-RPC errors with the codes and words of validators."""

from __future__ import annotations

from typing import Any


class RpcError(Exception):
    """An error answer; `data` is left out of the answer when None."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def body(self) -> dict[str, Any]:
        """The `error` member of the answer."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


def parse_error() -> RpcError:
    """The body is no JSON."""
    return RpcError(-32700, "Parse error")


def invalid_request(message: str = "Invalid request") -> RpcError:
    """The body is JSON but no request."""
    return RpcError(-32600, message)


def method_not_found() -> RpcError:
    """No such method."""
    return RpcError(-32601, "Method not found")


def invalid_params(message: str) -> RpcError:
    """A parameter is missing or wrong."""
    return RpcError(-32602, message)


def internal_error(message: str = "Internal error") -> RpcError:
    """The node failed."""
    return RpcError(-32603, message)


def block_cleaned_up(slot: int, first: int) -> RpcError:
    """The block is older than the node's history."""
    return RpcError(-32001, f"Block {slot} cleaned up, does not exist on node. First available block: {first}")


def preflight_failed(message: str, data: Any) -> RpcError:
    """The simulation before sending failed."""
    return RpcError(-32002, f"Transaction simulation failed: {message}", data)


def signature_failed() -> RpcError:
    """A signature is missing or wrong."""
    return RpcError(-32003, "Transaction signature verification failure")


def block_not_available(slot: int) -> RpcError:
    """The block is newer than what the node has at that commitment."""
    return RpcError(-32004, f"Block not available for slot {slot}")


def unhealthy(slots_behind: int | None) -> RpcError:
    """The node is behind, or does not know how far."""
    message = "Node is unhealthy" if slots_behind is None else f"Node is behind by {slots_behind} slots"
    return RpcError(-32005, message, {"numSlotsBehind": slots_behind})


def slot_skipped(slot: int) -> RpcError:
    """There is no block of that slot."""
    return RpcError(-32007, f"Slot {slot} was skipped, or missing due to ledger jump to recent snapshot")


def version_not_supported(version: int) -> RpcError:
    """The client did not say that it reads transactions of that version."""
    return RpcError(
        -32015,
        f"Transaction version ({version}) is not supported by the requesting client. Please try the request again with"
        f' the following configuration parameter: "maxSupportedTransactionVersion": {version}',
    )


def min_context_slot(slot: int) -> RpcError:
    """The node has not reached the slot that the client asked for."""
    return RpcError(-32016, "Minimum context slot has not been reached", {"contextSlot": slot})
