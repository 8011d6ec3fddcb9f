"""JSON-RPC methods of a localnet node, grouped by noun."""
