"""What the bot may lose: limits, sizes, drawdown tiers, execution quality; pure functions over the persisted risk row."""
