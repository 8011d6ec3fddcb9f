"""The operator of TradingBot resources and `tradingbot`, the command people type."""

__version__ = "0.1.0"
