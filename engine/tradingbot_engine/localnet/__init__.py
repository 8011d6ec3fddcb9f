"""Solana in a box: a bank, RPC nodes, a pool program and a market to trade on."""
