"""Market data: feeds, history, and their translation into events."""
