"""The manifest that `tradingbot init` writes."""
