"""What each `tradingbot …` command does."""
