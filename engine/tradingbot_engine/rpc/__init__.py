"""JSON-RPC to Solana nodes: transport, failover, and what each error means."""
