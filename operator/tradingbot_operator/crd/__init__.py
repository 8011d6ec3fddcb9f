"""The TradingBot resource: one module per API version."""
