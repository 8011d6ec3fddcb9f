"""Independent proof from the chain: was any trade doubled, lost, or invented? Shares no code with what it checks."""
