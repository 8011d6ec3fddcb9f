"""Frozen vocabulary of the engine: what everybody means by an event, a signal, an intent and a fill."""
