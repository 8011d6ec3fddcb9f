"""What a person reads of a bot: conditions with documented reasons, one word of phase, and a few numbers."""
