"""The same desired state as processes of this machine: `tradingbot run -f bot.yaml`."""
