"""The admin port of a running engine."""
