"""One file per strategy, one line per strategy in `registry`."""
