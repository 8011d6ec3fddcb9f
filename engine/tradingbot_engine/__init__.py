"""The trading engine: market events become signals, intents, signed attempts and fills, each exactly once."""

__version__ = "0.1.0"
