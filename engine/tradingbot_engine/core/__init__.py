"""Pure and synchronous: the same state and the same events give the same effects, live, on paper, in backtests and in recovery."""
